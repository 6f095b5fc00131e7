//! A subscription's messages on their way to the client, through whatever goes wrong meanwhile.

use std::future::pending;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::body::Messages;
use crate::faults::{Event, EventFault, FaultInjector, Interruption, Loss};
use crate::wire::{Encoding, event_stream};

/// What carries the messages of one subscription.
pub(super) struct Carrier {
    pub(super) faults: Arc<dyn FaultInjector>,
    pub(super) client: String,
    /// The stream that was subscribed to.
    pub(super) stream: Option<String>,
    pub(super) encoding: Encoding,
    /// How many bytes arrive in a second, if that is limited.
    pub(super) bytes_per_second: Option<NonZeroU64>,
    /// What happens when, whatever comes until then.
    pub(super) interruption: Option<(Instant, Interruption)>,
}

struct Way {
    messages: Messages,
    carrier: Carrier,
    /// The first message opens the stream and is no event.
    is_open: bool,
    is_over: bool,
}

/// The messages as they arrive.
pub(super) fn carried(messages: Messages, carrier: Carrier) -> Messages {
    let way = Way {
        messages,
        carrier,
        is_open: false,
        is_over: false,
    };
    Box::pin(unfold(way, |mut way| async move {
        let message = way.next().await?;
        way.is_over |= message.is_err();
        Some((message, way))
    }))
}

/// The messages until `stop`; then they end in order.
pub(super) fn until(messages: Messages, stop: CancellationToken) -> Messages {
    Box::pin(unfold((messages, stop), |(mut messages, stop)| async move {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            message = messages.next() => message,
        };
        Some((message?, (messages, stop)))
    }))
}

impl Way {
    async fn next(&mut self) -> Option<Result<Bytes, Loss>> {
        if self.is_over {
            return None;
        }
        // A network always lets other tasks run; without this, a backlog would be taken in one go.
        tokio::task::yield_now().await;
        let due = self.carrier.interruption.as_ref().map(|(due, _)| *due);
        tokio::select! {
            biased;
            () = reached(due) => {}
            message = self.arrival() => return message,
        }
        let (_, interruption) = self.carrier.interruption.take()?;
        self.interrupt(interruption).await
    }

    async fn arrival(&mut self) -> Option<Result<Bytes, Loss>> {
        let message = match self.messages.next().await? {
            Ok(message) => message,
            lost => return Some(lost),
        };
        let payload = event_stream::payload(&message).filter(|_| self.is_open);
        self.is_open = true;
        let fault = payload.as_ref().map_or_else(EventFault::none, |payload| {
            self.carrier.faults.event(&self.carrier.event(payload))
        });
        if let Some(freeze) = &fault.freeze {
            freeze.thawed().await;
        }
        let carried = self.carrier.bytes_per_second.map_or(Duration::ZERO, |rate| {
            Duration::from_micros((message.len() as u64).saturating_mul(1_000_000) / rate.get())
        });
        let delay = fault.delay + carried;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if let Some(interruption) = fault.interruption {
            return self.interrupt(interruption).await;
        }
        if let Some(payload) = &payload {
            self.carrier.faults.event_arrived(&self.carrier.event(payload));
        }
        Some(Ok(message))
    }

    async fn interrupt(&mut self, interruption: Interruption) -> Option<Result<Bytes, Loss>> {
        self.is_over = true;
        match interruption {
            Interruption::Cut => Some(Err(Loss::Reset)),
            Interruption::Stall => pending().await,
            Interruption::End => None,
            Interruption::Exception { code, message } => Some(Ok(event_stream::exception(
                self.carrier.encoding,
                &code,
                &message,
            ))),
        }
    }
}

impl Carrier {
    fn event<'a>(&'a self, payload: &'a Bytes) -> Event<'a> {
        Event {
            client: &self.client,
            payload,
            stream: self.stream.as_deref(),
        }
    }
}

/// Completes when the time has come; never, if there is none.
async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}
