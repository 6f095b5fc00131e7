//! Streams as errors name them.

use std::fmt;
use std::sync::Arc;

/// A stream's name with its account, as in `orders under account 123456789012`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamLabel {
    name: Arc<str>,
    account: Arc<str>,
}

impl StreamLabel {
    pub(crate) fn new(name: impl Into<Arc<str>>, account: Arc<str>) -> Self {
        Self {
            name: name.into(),
            account,
        }
    }
}

impl fmt::Display for StreamLabel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} under account {}", self.name, self.account)
    }
}
