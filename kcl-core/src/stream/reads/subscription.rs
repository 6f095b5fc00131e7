//! The events of one subscription, as they come.

use std::collections::VecDeque;
use std::time::Duration;

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::Answer;
use super::event::{self, OPERATION};
use crate::aws::{CallError, ErrorClass};

/// A subscription of which nothing is heard for so long is broken: Kinesis sends an event every 5 s, if only to say that there is
/// nothing. An event may take longer, as long as it gets on.
const SILENCE: Duration = Duration::from_secs(12);
/// The length of a message that stands before it, in bytes.
const LENGTH: usize = 4;
/// The shortest message: lengths, checksums, and nothing between them.
const SHORTEST: u32 = 16;
/// The longest message that is believed: an event has 10 MiB of records at most, which base 64 makes a third longer.
const LONGEST: u32 = 24 << 20;

/// A subscription to a shard. Whoever does not ask for events holds back whoever sends them.
#[derive(Debug)]
pub(crate) struct Subscription {
    body: ByteStream,
    /// What came and was not read yet.
    chunks: VecDeque<Bytes>,
    buffered: usize,
}

impl Subscription {
    pub(super) fn new(body: SdkBody) -> Self {
        Self {
            body: ByteStream::new(body),
            chunks: VecDeque::new(),
            buffered: 0,
        }
    }

    /// Waits until a message begins to come, and tells its size in bytes; `None` when the subscription is over. Nothing is lost if
    /// it is not waited for to the end.
    pub(crate) async fn announced(&mut self) -> Result<Option<usize>, CallError> {
        while self.buffered < LENGTH {
            if !self.receive().await? {
                return match self.buffered {
                    0 => Ok(None),
                    _ => Err(cut_off()),
                };
            }
        }
        let length = self.chunks.iter().flatten().take(LENGTH);
        let length = length.fold(0, |length: u32, byte| length << 8 | u32::from(*byte));
        if (SHORTEST..=LONGEST).contains(&length) {
            Ok(Some(length as usize))
        } else {
            let text = format!("a message of the event stream says that it has {length} bytes");
            Err(CallError::new(ErrorClass::Transient, OPERATION, text))
        }
    }

    /// The next message, once all of it came: its records, if it brings any. `None` when the subscription is over.
    pub(crate) async fn event(&mut self) -> Result<Option<Option<Answer>>, CallError> {
        let Some(length) = self.announced().await? else {
            return Ok(None);
        };
        while self.buffered < length {
            if !self.receive().await? {
                return Err(cut_off());
            }
        }
        let message = read_message_from(self.take(length)).map_err(|error| {
            let text = format!("a message of the event stream cannot be read: {error}");
            CallError::new(ErrorClass::Transient, OPERATION, text)
        })?;
        event::read(&message).map(Some)
    }

    /// Whether anything came.
    async fn receive(&mut self) -> Result<bool, CallError> {
        let Ok(received) = timeout(SILENCE, self.body.next()).await else {
            let text = format!("nothing was heard of the subscription for {SILENCE:?}");
            return Err(CallError::new(ErrorClass::Transient, OPERATION, text));
        };
        match received {
            Some(Ok(chunk)) => {
                self.buffered += chunk.len();
                self.chunks.push_back(chunk);
                Ok(true)
            }
            Some(Err(error)) => {
                let text = format!("the event stream broke off: {error}");
                Err(CallError::new(ErrorClass::Transient, OPERATION, text))
            }
            None => Ok(false),
        }
    }

    /// The first of what came. Copies nothing that is in one chunk.
    fn take(&mut self, length: usize) -> Bytes {
        self.buffered -= length;
        if let Some(first) = self.chunks.front_mut().filter(|first| first.len() > length) {
            return first.split_to(length);
        }
        let mut taken = BytesMut::with_capacity(length);
        while let Some(mut chunk) = self.chunks.pop_front() {
            if taken.is_empty() && chunk.len() == length {
                return chunk;
            }
            let rest = chunk.split_off(chunk.len().min(length - taken.len()));
            taken.extend_from_slice(&chunk);
            if !rest.is_empty() {
                self.chunks.push_front(rest);
            }
            if taken.len() == length {
                break;
            }
        }
        taken.freeze()
    }
}

fn cut_off() -> CallError {
    CallError::new(
        ErrorClass::Transient,
        OPERATION,
        "the event stream ended within a message",
    )
}

#[cfg(test)]
mod tests;
