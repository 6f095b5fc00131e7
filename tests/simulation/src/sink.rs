//! What processors write to, in the histories of some seeds: at times it is away, it never takes some records, and sometimes it
//! takes very long. The workers of such a history give up what it never takes: they skip it, or write it to the dead letters.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kcl_core::dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
use kcl_core::{ExtendedSequenceNumber, FailurePolicy, LastResort, async_trait};
use tokio::time::Instant;

use crate::history::{History, Name, What};
use crate::seeds::Dice;

/// A sink with its moods. Clones are the same.
#[derive(Debug, Clone)]
pub struct Sink {
    began: Instant,
    /// When it is away, after the beginning.
    away: Vec<(Duration, Duration)>,
    /// What it never takes is written to the dead letters.
    pub is_kept: bool,
    /// Processors tell which record it did not take.
    pub is_named: bool,
}

impl Sink {
    /// Of a thousand records that follow one of the same key, those that it never takes.
    pub const BAD: u64 = 200;
    /// At most so many in a history: each costs its shard some seconds.
    pub const MOST_BAD: u64 = 8;
    /// How often it is away.
    pub const TIMES_AWAY: u64 = 3;
    /// Records of a thousand that have the key of the one before.
    pub const IN_ROW: u64 = 60;
    /// Calls of a thousand that take longer than a worker may take to stop.
    pub const LONG_CALLS: u64 = 4;
    /// How long these take, at least and at most, in milliseconds.
    pub const LONG_CALL: (u64, u64) = (20_000, 29_999);

    /// Whether there is one in the history of a seed.
    #[must_use]
    pub fn is_in(seed: u64) -> bool {
        seed % 10 == 8
    }

    /// A sink for a history that is disturbed for so long, and is away so often.
    #[must_use]
    pub fn drawn(seed: u64, disturbed: Duration, times: u64) -> Self {
        let mut dice = Dice::of(seed, "sink");
        let most = u64::try_from(disturbed.as_millis()).unwrap_or(u64::MAX).max(1);
        let away = (0..times).map(|_| {
            let from = Duration::from_millis(dice.roll(most));
            // Longer than the rule takes to be sure of a record.
            (from, from + Duration::from_millis(dice.between(500, 15_000)))
        });
        let away = away.collect();
        let mut dice = Dice::of(seed, "giving up");
        Self {
            away,
            began: Instant::now(),
            is_kept: dice.happens(600),
            is_named: dice.happens(500),
        }
    }

    /// When the workers give up a record.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn policy(&self) -> FailurePolicy {
        let attempts = NonZeroU32::new(3).expect("not zero");
        let resort = if self.is_kept {
            LastResort::DeadLetter
        } else {
            LastResort::Skip
        };
        FailurePolicy::after(attempts, Duration::from_secs(2)).then(resort)
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

/// The dead letters of one worker. They cannot be written while the sink is away, and some are refused at first.
#[derive(Debug)]
pub struct Letters {
    history: History,
    who: Name,
    sink: Sink,
    refused: Mutex<BTreeSet<String>>,
}

impl Letters {
    /// Those of a worker, which are noted in the history.
    #[must_use]
    pub fn new(history: History, who: Name, sink: Sink) -> Self {
        Self {
            history,
            who,
            sink,
            refused: Mutex::default(),
        }
    }

    fn refuses(&self, letter: &DeadLetter) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let last = letter.sequence_number.as_str().bytes().last();
        last.is_some_and(|digit| digit % 4 == 0) && refused.insert(letter.id().to_owned())
    }
}

#[async_trait]
impl DeadLetters for Letters {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        if self.sink.is_away() || letters.iter().any(|letter| self.refuses(letter)) {
            return Err(DeadLetterError::failed("the dead letters", "they are away"));
        }
        for letter in letters {
            let text = String::from_utf8_lossy(&letter.data);
            let counter = text.split(' ').next().and_then(|number| number.parse().ok());
            let sub_sequence = if letter.is_aggregated {
                letter.sub_sequence_number
            } else {
                0
            };
            let what = What::DeadLettered {
                key: letter.partition_key.as_str().into(),
                counter: counter.unwrap_or(u64::MAX),
                position: ExtendedSequenceNumber::new(letter.sequence_number.clone(), sub_sequence),
            };
            self.history.record(&self.who, what);
        }
        Ok(())
    }
}
