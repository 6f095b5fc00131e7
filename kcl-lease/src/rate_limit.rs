//! Keeps a failing loop visible without flooding the log.

use std::time::Duration;

use tokio::time::Instant;

const SILENCE: Duration = Duration::from_secs(30);

/// Says whether a repeated event should be logged now: the first time, then every 30 s.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    /// The number of events suppressed since the last one that was logged, if this one should be.
    pub(crate) fn allow(&mut self) -> Option<u64> {
        if self.last.is_some_and(|at| at.elapsed() < SILENCE) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn logs_the_first_event_and_then_one_in_thirty_seconds() {
        let mut limit = RateLimit::default();
        assert_eq!(limit.allow(), Some(0));
        assert_eq!(limit.allow(), None);
        assert_eq!(limit.allow(), None);
        tokio::time::advance(SILENCE).await;
        assert_eq!(limit.allow(), Some(2));
    }
}
