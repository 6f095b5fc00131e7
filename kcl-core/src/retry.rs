//! Growing pauses between attempts.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use kcl_lease::Environment;

/// A jittered pause is shortened by at most this share.
const JITTER: f64 = 0.5;

/// Pauses that double from `first` to `longest`, each shortened by a random share of up to a half.
///
/// There is no limit to the number of attempts or to their duration: whoever retries decides when to stop.
#[derive(Debug)]
pub(crate) struct Retry {
    intervals: ExponentialBackoff,
    env: Environment,
    attempts: u32,
}

impl Retry {
    pub(crate) fn new(env: Environment, first: Duration, longest: Duration) -> Self {
        let intervals = ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            max_interval: longest,
            multiplier: 2.0,
            // Chance and time come from the environment and from tokio, so that runs can be repeated.
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self {
            intervals,
            env,
            attempts: 0,
        }
    }

    /// The pause before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        let interval = self
            .intervals
            .next_backoff()
            .unwrap_or(self.intervals.max_interval);
        // `backoff` adds up to a nanosecond of ambient randomness.
        let whole = Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX));
        let jittered = self.env.jittered(whole, JITTER);
        Duration::from_millis(u64::try_from(jittered.as_millis()).unwrap_or(u64::MAX))
    }

    /// Failed attempts since the last success.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The attempt succeeded: the next pause is the first one again.
    pub(crate) fn succeeded(&mut self) {
        if self.attempts > 0 {
            self.intervals.reset();
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn retry(seed: u64) -> Retry {
        let env = Environment::seeded(seed, || UNIX_EPOCH);
        Retry::new(env, Duration::from_millis(100), Duration::from_secs(2))
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_jitter_shortens_them() {
        let mut retry = retry(3);
        for longest in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            let pause = retry.pause().as_millis();
            assert!(
                pause * 2 >= longest - 1 && pause <= longest,
                "{pause} ms for {longest} ms"
            );
        }
        assert_eq!(retry.attempts(), 8);
    }

    #[test]
    fn a_success_starts_over() {
        let mut retry = retry(3);
        for _ in 0..6 {
            retry.pause();
        }
        retry.succeeded();
        assert_eq!(retry.attempts(), 0);
        assert!(retry.pause() <= Duration::from_millis(100));
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let pauses = |seed| {
            let mut retry = retry(seed);
            std::iter::repeat_with(|| retry.pause())
                .take(10)
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
    }
}
