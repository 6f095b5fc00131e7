//! A subscription as messages of an event stream.

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;

use crate::faults::Loss;
use crate::kinesis::Subscription;
use crate::wire::{Cbor, Encoding, Json, event_stream};

struct Events {
    subscription: Subscription,
    encoding: Encoding,
    is_open: bool,
}

/// The messages of a subscription, each made when it is asked for.
pub(super) fn events(
    subscription: Subscription,
    encoding: Encoding,
) -> impl Stream<Item = Result<Bytes, Loss>> {
    let events = Events {
        subscription,
        encoding,
        is_open: false,
    };
    unfold(events, |mut events| async move {
        let message = events.next().await?;
        Some((Ok(message), events))
    })
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        let encoding = self.encoding;
        if !self.is_open {
            self.is_open = true;
            return Some(event_stream::initial_response(encoding));
        }
        let payload = match encoding {
            Encoding::Cbor11 => self.subscription.next(&Cbor).await?,
            Encoding::Json10 | Encoding::Json11 | Encoding::PlainJson => {
                self.subscription.next(&Json).await?
            }
        };
        Some(match payload {
            Ok(payload) => event_stream::event(encoding, "SubscribeToShardEvent", payload),
            Err(error) => event_stream::exception(encoding, event_stream::name_of(&error), &error.message),
        })
    }
}
