//! Requests and events that stand still, and go on later as if nothing had been.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What holds requests back. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Freeze {
    thaw: Arc<CancellationToken>,
    until: Option<Instant>,
}

impl Freeze {
    /// Holds until it is [thawed](Self::thaw), or until a time, if one is given.
    pub fn until(until: Option<Instant>) -> Self {
        Self {
            thaw: Arc::default(),
            until,
        }
    }

    /// Lets go on what it holds, and holds nothing from now on.
    pub fn thaw(&self) {
        self.thaw.cancel();
    }

    /// Completes when it holds no more.
    pub async fn thawed(&self) {
        let due = async {
            match self.until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.thaw.cancelled() => {}
            () = due => {}
        }
    }
}

impl PartialEq for Freeze {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.thaw, &other.thaw)
    }
}

impl Eq for Freeze {}
