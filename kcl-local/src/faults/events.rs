//! What goes wrong with a subscription after it was opened.

use std::time::Duration;

use bytes::Bytes;

use super::Freeze;

/// How a subscription ends, or seems to, before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// The connection breaks.
    Cut,
    /// Nothing comes any more, and the connection stays: only the client's own watch tells that.
    Stall,
    /// It ends in order, as after its five minutes.
    End,
    /// The service ends it with an exception.
    Exception {
        /// The exception's name, such as `InternalFailureException`.
        code: String,
        /// The exception's text.
        message: String,
    },
}

impl Interruption {
    /// The service ends the subscription with the exception `code`.
    pub fn exception(code: impl Into<String>) -> Self {
        Self::Exception {
            code: code.into(),
            message: "injected fault".to_owned(),
        }
    }
}

/// An event of a subscription on its way to a client.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The client's name, as with a [`Call`](super::Call).
    pub client: &'a str,
    /// The event itself, a `SubscribeToShardEvent` or an exception, in the encoding of the request.
    pub payload: &'a Bytes,
    /// The stream that was subscribed to, if the request named one.
    pub stream: Option<&'a str>,
}

/// What happens to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFault {
    /// How long it is under way. What comes after it waits as well.
    pub delay: Duration,
    /// What happens in its place; it is lost then.
    pub interruption: Option<Interruption>,
    /// What holds it back first.
    pub freeze: Option<Freeze>,
}

impl EventFault {
    /// The event arrives at once.
    pub const fn none() -> Self {
        Self {
            delay: Duration::ZERO,
            interruption: None,
            freeze: None,
        }
    }

    /// The event arrives after `delay`.
    pub const fn delayed(delay: Duration) -> Self {
        Self {
            delay,
            interruption: None,
            freeze: None,
        }
    }

    /// The subscription is interrupted in place of the event.
    pub const fn interrupted(interruption: Interruption) -> Self {
        Self {
            delay: Duration::ZERO,
            interruption: Some(interruption),
            freeze: None,
        }
    }
}
