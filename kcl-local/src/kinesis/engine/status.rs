//! The life of a stream as its status tells it.

use std::fmt;

/// What a stream is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamStatus {
    /// Has no shards yet.
    Creating,
    /// Takes any request.
    Active,
    /// Is being resharded or reconfigured; records flow.
    Updating,
    /// Is about to disappear; records no longer flow.
    Deleting,
}

impl StreamStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

impl fmt::Display for StreamStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
