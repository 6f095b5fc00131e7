//! The backend's clock, as the database wants it.

use std::time::{Duration, UNIX_EPOCH};

use dynoxide::storage_backend;

use crate::clock::Clock;

/// Feeds the database's time to live and streams with the backend's time.
#[derive(Debug)]
pub(super) struct DatabaseClock(pub(super) Clock);

impl DatabaseClock {
    fn since_epoch(&self) -> Duration {
        self.0.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
    }
}

impl storage_backend::Clock for DatabaseClock {
    fn now_unix_secs(&self) -> u64 {
        self.since_epoch().as_secs()
    }

    fn now_unix_secs_f64(&self) -> f64 {
        self.since_epoch().as_secs_f64()
    }
}
