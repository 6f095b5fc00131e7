//! What carries an answer out of the handler.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use crate::faults::Loss;

/// The messages of an answer that does not come at once; an error breaks the connection that carries it.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<Bytes, Loss>> + Send + Sync>>;

/// The body of an answer: all at once, or message after message while a subscription lasts.
///
/// A message is made when the transport asks for it, and not before: what a slow client has not taken is not made.
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Messages(Messages),
}

impl Body {
    pub(crate) fn messages(
        messages: impl Stream<Item = Result<Bytes, Loss>> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Messages(Box::pin(messages)))
    }

    /// The bytes of a body that comes at once; empty if it has been taken.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Whole(bytes) => Some(bytes),
            Kind::Messages(_) => None,
        }
    }

    /// The bytes of a body that comes at once, or the messages of another.
    pub(crate) fn into_whole(self) -> Result<Bytes, Messages> {
        match self.0 {
            Kind::Whole(bytes) => Ok(bytes),
            Kind::Messages(messages) => Err(messages),
        }
    }

    /// The same, but its messages go through `through` first.
    pub(crate) fn map_messages(self, through: impl FnOnce(Messages) -> Messages) -> Self {
        match self.0 {
            Kind::Whole(_) => self,
            Kind::Messages(messages) => Self(Kind::Messages(through(messages))),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Whole(bytes))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => formatter.debug_tuple("Whole").field(bytes).finish(),
            Kind::Messages(_) => formatter.write_str("Messages"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Loss;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Loss>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Messages(messages) => {
                let message = ready!(messages.as_mut().poll_next(context));
                if !matches!(message, Some(Ok(_))) {
                    // Some ask again after the end.
                    self.0 = Kind::Whole(Bytes::new());
                }
                Poll::Ready(message.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Messages(_) => SizeHint::default(),
        }
    }
}
