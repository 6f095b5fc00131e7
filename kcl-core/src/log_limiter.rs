//! Log lines that do not flood.

use std::time::Duration;

use tokio::time::Instant;

/// Lets the first of a run of log lines through, then one every half minute.
#[derive(Debug, Default)]
pub(crate) struct LogLimiter {
    last: Option<Instant>,
}

impl LogLimiter {
    const PERIOD: Duration = Duration::from_secs(30);

    /// Whether to log now.
    pub(crate) fn may_log(&mut self) -> bool {
        let now = Instant::now();
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= Self::PERIOD);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// The run is over: the next line is a first one.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_loop_speaks_first_and_then_every_half_minute() {
        let mut log_limiter = LogLimiter::default();
        let mut lines = 0;
        for _ in 0..61 {
            lines += u32::from(log_limiter.may_log());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, 3, "at 0, 30 and 60 s");
        log_limiter.reset();
        assert!(log_limiter.may_log());
    }
}
