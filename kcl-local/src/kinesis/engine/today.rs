//! What may be done only so often in a day.

use std::collections::VecDeque;
use std::time::Duration;

use super::error::EngineError;
use super::label::StreamLabel;
use super::time::EpochMillis;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When things were done to a stream that are limited.
#[derive(Debug, Default)]
pub(crate) struct Today {
    pub(crate) shard_count_updates: Times,
    pub(crate) mode_changes: Times,
    pub(crate) encryption_starts: Times,
    pub(crate) encryption_stops: Times,
}

/// When one thing was done, in the last 24 hours.
#[derive(Debug, Default)]
pub(crate) struct Times(VecDeque<EpochMillis>);

impl Times {
    /// Fails if it was done as often as it may be in any 24 hours.
    pub(crate) fn admit(
        &mut self,
        limit: Option<u32>,
        what: &str,
        stream: &StreamLabel,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        while self.0.front().is_some_and(|then| now.since(*then) >= DAY) {
            self.0.pop_front();
        }
        match limit {
            Some(limit) if self.0.len() >= limit as usize => Err(EngineError::LimitExceeded(format!(
                "{what} can be called {limit} times in 24 hours for stream {stream}."
            ))),
            _ => Ok(()),
        }
    }

    /// Remembers that it was done now, if that is limited.
    pub(crate) fn note(&mut self, limit: Option<u32>, now: EpochMillis) {
        if limit.is_some() {
            self.0.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_24_hours_have_a_limit() {
        let (mut times, hour) = (Times::default(), |hours: u64| EpochMillis::new(hours * 3_600_000));
        let stream = StreamLabel::new("orders", "0".into());
        let tries = |times: &mut Times, hours: u64| {
            let outcome = times.admit(Some(2), "UpdateStreamMode", &stream, hour(hours));
            if outcome.is_ok() {
                times.note(Some(2), hour(hours));
            }
            outcome.is_ok()
        };
        assert!(tries(&mut times, 0));
        assert!(tries(&mut times, 10));
        assert!(!tries(&mut times, 23));
        assert!(tries(&mut times, 24), "the first is a day ago");
        assert!(!tries(&mut times, 33));
        assert!(tries(&mut times, 34));
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let mut times = Times::default();
        times.note(None, EpochMillis::new(0));
        assert!(times.0.is_empty());
    }
}
