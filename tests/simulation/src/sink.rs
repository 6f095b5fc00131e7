//! What processors write to, in the histories of some seeds: at times it is away, it never takes some records, and sometimes it
//! takes very long. The workers of such a history skip what it never takes.

use std::num::NonZeroU32;
use std::time::Duration;

use kcl_core::{FailurePolicy, SkipRule};
use tokio::time::Instant;

use crate::seeds::Dice;

/// A sink with its moods. Clones are the same.
#[derive(Debug, Clone)]
pub struct Sink {
    began: Instant,
    /// When it is away, after the beginning.
    away: Vec<(Duration, Duration)>,
}

impl Sink {
    /// Of a thousand records that follow one of the same key, those that it never takes.
    pub const BAD: u64 = 200;
    /// At most so many in a history: each costs its shard some seconds.
    pub const MOST_BAD: u64 = 8;
    /// Records of a thousand that have the key of the one before.
    pub const IN_ROW: u64 = 60;
    /// Calls of a thousand that take longer than a worker may take to stop.
    pub const LONG_CALLS: u64 = 4;

    /// Whether there is one in the history of a seed.
    #[must_use]
    pub fn is_in(seed: u64) -> bool {
        seed % 10 == 8
    }

    /// A sink for a history that is disturbed for so long.
    #[must_use]
    pub fn drawn(seed: u64, disturbed: Duration) -> Self {
        let mut dice = Dice::of(seed, "sink");
        let most = u64::try_from(disturbed.as_millis()).unwrap_or(u64::MAX).max(1);
        let away = (0..3).map(|_| {
            let from = Duration::from_millis(dice.roll(most));
            // Longer than the rule takes to be sure of a record.
            (from, from + Duration::from_millis(dice.between(500, 15_000)))
        });
        Self {
            away: away.collect(),
            began: Instant::now(),
        }
    }

    /// When the workers skip a record.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn policy() -> FailurePolicy {
        let attempts = NonZeroU32::new(3).expect("not zero");
        FailurePolicy::SkipAfter(SkipRule::new(attempts, Duration::from_secs(2)))
    }

    /// Whether it takes nothing now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        let now = self.began.elapsed();
        self.away.iter().any(|(from, to)| (*from..*to).contains(&now))
    }

    /// What a record holds that it never takes; others hold their counter.
    #[must_use]
    pub fn unreadable(counter: u64) -> String {
        format!("{counter} is unreadable")
    }
}
