//! Wall-clock time that follows tokio's clock, so that it can be paused and advanced.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// The backend's only source of time.
///
/// Wall-clock time is an epoch chosen at construction plus the time that tokio's clock has counted
/// since, so under `tokio::time::pause` every timestamp, retention period and iterator expiry runs in virtual
/// time. Clones share the epoch.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Arc<(Instant, SystemTime)>,
}

impl Clock {
    /// A clock that shows `epoch` now.
    pub fn starting_at(epoch: SystemTime) -> Self {
        Self {
            origin: Arc::new((Instant::now(), epoch)),
        }
    }

    /// A clock that shows the machine's time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine's time enters"
    )]
    pub fn system() -> Self {
        Self::starting_at(SystemTime::now())
    }

    /// The current time.
    pub fn now(&self) -> SystemTime {
        let (origin, epoch) = *self.origin;
        epoch + origin.elapsed()
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_millis(&self) -> u64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
