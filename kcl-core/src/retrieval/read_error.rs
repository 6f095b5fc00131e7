//! Why a shard cannot be read, and what follows from it.

use crate::aws::{CallError, ErrorClass};

/// Why a shard cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(
        "its lease is of another stream: {0}; nothing is read, ended or deleted. Check the names of the stream and of the \
         application. If the stream was made anew under its name, use another application name, or delete the leases"
    )]
    Foreign(String),
}

impl ReadError {
    /// Codes do not change: alarms may rely on them.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "leases-of-another-stream",
            Self::Call(error) => error.code(),
        }
    }

    /// Whether the next try may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if matches!(error.class, ErrorClass::Transient | ErrorClass::InUse | ErrorClass::Expired))
    }

    /// Whether it would be explained by a stream that was deleted and made anew.
    pub(crate) fn questions_the_stream(&self) -> bool {
        match self {
            Self::Foreign(_) => true,
            Self::Call(error) => matches!(error.class, ErrorClass::InvalidArgument | ErrorClass::NotFound),
        }
    }

    /// Whether another worker might fare better.
    pub(crate) fn is_of_the_worker(&self) -> bool {
        matches!(self, Self::Call(error) if error.class.is_of_the_worker())
    }

    /// Whether Kinesis says that this is too much, not that it is wrong.
    pub(crate) fn is_throttling(&self) -> bool {
        matches!(self, Self::Call(error) if error.class == ErrorClass::Throttled)
    }
}
