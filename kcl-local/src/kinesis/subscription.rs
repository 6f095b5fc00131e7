//! A subscription to a shard, as a transport serves it: events one by one, each when it is asked for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::api::SubscribeToShardEvent;
use super::engine::{EngineError, Push, Subscription as Place};
use super::{ApiError, Codec, Kinesis};

/// A consumer's subscription to a shard. See [`Kinesis::subscribe`].
///
/// Nothing is read ahead: an event has what there is when it is asked for, so a subscriber that takes its time holds no
/// memory here.
#[derive(Debug)]
pub struct Subscription {
    kinesis: Kinesis,
    place: Place,
    news: Arc<Notify>,
    failed: bool,
}

/// What came of a look at the engine.
enum Look {
    Event(SubscribeToShardEvent),
    Wait(Duration),
    Over,
}

impl Subscription {
    pub(super) fn new(kinesis: Kinesis, place: Place, news: Arc<Notify>) -> Self {
        Self {
            kinesis,
            place,
            news,
            failed: false,
        }
    }

    /// The payload of the next event, as soon as there is one; none when the subscription is over. Whoever stops waiting
    /// loses nothing.
    ///
    /// # Errors
    /// The exception that ends the subscription: `ResourceInUseException` if the consumer has subscribed again,
    /// `ResourceNotFoundException` if the stream, the shard or the consumer is gone. Nothing comes after it.
    pub async fn next<C: Codec>(&mut self, codec: &C) -> Option<Result<bytes::Bytes, ApiError>> {
        if self.failed {
            return None;
        }
        loop {
            // Made before the look, so that no news is missed in between.
            let news = self.news.clone();
            let mut news = pin!(news.notified());
            let found = match self.look() {
                Ok(Look::Event(event)) => codec.encode(&event),
                Ok(Look::Over) => return None,
                Ok(Look::Wait(wait)) => {
                    // What has no time left is looked at again, but others come first.
                    let wait = wait.max(Duration::from_millis(1));
                    tokio::select! {
                        biased;
                        () = news.as_mut() => {}
                        () = self.kinesis.clock().sleep(wait) => {}
                    }
                    continue;
                }
                Err(error) => Err(error.into()),
            };
            self.failed = found.is_err();
            return Some(found);
        }
    }

    fn look(&mut self) -> Result<Look, EngineError> {
        self.kinesis.with_engine(|engine, now| {
            Ok(match engine.push(&mut self.place, now)? {
                Push::Event(event) => Look::Event(event.into()),
                Push::Wait(until) => Look::Wait(until.since(now)),
                Push::Over => Look::Over,
            })
        })
    }
}
