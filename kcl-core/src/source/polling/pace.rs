//! How long to wait between two reads of a shard. Pure.

use std::time::Duration;

use crate::source::feed::Pause;

/// What one read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) records: usize,
    /// Payloads and partition keys.
    pub(crate) bytes: u64,
    /// `None` when Kinesis did not say.
    pub(crate) millis_behind_latest: Option<u64>,
}

/// Reads as fast as Kinesis allows while there is something to read, and ever more rarely while there is nothing.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Kinesis allows 5 `GetRecords` per second and shard, for all readers together.
    fastest: Duration,
    slowest: Duration,
    idle: Option<Duration>,
    /// Answers without records since the last one with some, or since the lag was last as small as never before.
    fruitless: u32,
    smallest_lag: u64,
    /// The pause that the shard's other readers leave, while they are noticed.
    shared: Option<Duration>,
}

impl Pace {
    /// The first pause of an idle shard, unless reads are closer than that anyway.
    const FIRST_IDLE: Duration = Duration::from_millis(200);
    /// The longest pause because of other readers.
    const MOST_SHARED: Duration = Duration::from_secs(5);
    /// Kinesis allows 2 MB per second and shard, for all readers together.
    const BYTES_PER_SECOND: u64 = 2_000_000;
    /// Answers without records in which the lag may stay as it is before the shard counts as idle.
    const PATIENCE: u32 = 10;

    pub(crate) fn new(min_read_interval: Duration, idle_time: Duration) -> Self {
        Self {
            fastest: min_read_interval,
            slowest: idle_time.max(min_read_interval),
            idle: None,
            fruitless: 0,
            smallest_lag: u64::MAX,
            shared: None,
        }
    }

    /// How long to wait after a read that `found` something.
    pub(crate) fn after(&mut self, found: Found) -> Pause {
        self.shared = self
            .shared
            .map(|shared| shared * 7 / 8)
            .filter(|shared| *shared > self.fastest);
        let regular = if self.is_idle(found) {
            let next = match self.idle {
                None => self.fastest.max(Self::FIRST_IDLE),
                Some(last) => last.saturating_mul(2),
            };
            *self.idle.insert(next.min(self.slowest))
        } else {
            self.idle = None;
            self.fastest
        };
        let bytes = if self.fastest.is_zero() { 0 } else { found.bytes };
        Pause {
            after_asking: regular.max(self.shared.unwrap_or_default()),
            after_answer: Duration::from_millis(bytes.saturating_mul(1000).div_ceil(Self::BYTES_PER_SECOND)),
        }
    }

    /// How long to wait after a read that was over a limit of Kinesis: others read the shard, too. Reads are spaced out, and
    /// creep up again when they succeed.
    pub(crate) fn throttled(&mut self) -> Duration {
        let before = self.shared.unwrap_or(self.fastest).max(Self::FIRST_IDLE);
        let longest = Self::MOST_SHARED.max(self.fastest);
        *self.shared.insert(before.saturating_mul(2).min(longest))
    }

    /// Whether there is nothing to read. Kinesis answers without records also while it passes stretches that hold none; then
    /// the lag falls. Of some shards it never becomes zero.
    fn is_idle(&mut self, found: Found) -> bool {
        let lag = found.millis_behind_latest.unwrap_or(0);
        if found.records > 0 {
            self.fruitless = 0;
            self.smallest_lag = u64::MAX;
            return false;
        }
        if lag < self.smallest_lag {
            self.fruitless = 0;
            self.smallest_lag = lag;
        }
        self.fruitless = self.fruitless.saturating_add(1);
        lag == 0 || self.fruitless > Self::PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Found = behind(0);

    /// An answer without records.
    const fn behind(millis: u64) -> Found {
        Found {
            records: 0,
            bytes: 0,
            millis_behind_latest: Some(millis),
        }
    }

    fn millis(pace: &mut Pace, found: &[Found]) -> Vec<u128> {
        let pause = |found: &Found| pace.after(*found).after_asking.as_millis();
        found.iter().map(pause).collect()
    }

    fn usual() -> Pace {
        Pace::new(Duration::from_millis(200), Duration::from_secs(1))
    }

    #[test]
    fn an_idle_shard_is_read_ever_more_rarely() {
        assert_eq!(millis(&mut usual(), &[NOTHING; 5]), [200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn new_data_brings_back_the_full_pace() {
        let some = Found {
            records: 1,
            bytes: 1,
            millis_behind_latest: Some(0),
        };
        let pauses = millis(&mut usual(), &[NOTHING, NOTHING, NOTHING, some, NOTHING, NOTHING]);
        assert_eq!(pauses, [200, 400, 800, 200, 200, 400]);
    }

    #[test]
    fn while_the_lag_falls_a_shard_is_not_idle_however_many_answers_hold_nothing() {
        let falling: Vec<_> = (1..=1_000).rev().map(|lag| behind(lag * 1_000)).collect();
        assert_eq!(millis(&mut usual(), &falling), [200; 1_000]);
        let in_steps: Vec<_> = (1..=1_000).rev().map(|lag| behind(1 + lag / 10)).collect();
        assert_eq!(millis(&mut usual(), &in_steps), [200; 1_000]);
    }

    #[test]
    fn a_lag_that_only_wavers_is_none_and_one_that_falls_again_is_one() {
        let wavering: Vec<_> = (0..20).map(|n| behind(100 + n * 7 % 5)).collect();
        let mut pace = usual();
        let pauses = millis(&mut pace, &wavering);
        assert_eq!(pauses[..10], [200; 10]);
        assert_eq!(pauses[10..15], [200, 400, 800, 1_000, 1_000]);
        assert_eq!(millis(&mut pace, &[behind(99)]), [200]);
    }

    #[test]
    fn reads_follow_bytes() {
        let found = |bytes| Found {
            records: 10,
            bytes,
            millis_behind_latest: Some(5_000),
        };
        for (bytes, expected) in [
            (0, 0),
            (1_000, 1),
            (400_000, 200),
            (2_000_000, 1_000),
            (10 << 20, 5_243),
        ] {
            let pause = usual().after(found(bytes));
            assert_eq!(pause.after_answer.as_millis(), expected, "{bytes} bytes");
            assert_eq!(pause.after_asking.as_millis(), 200);
        }
        let mut unlimited = Pace::new(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(unlimited.after(found(10 << 20)).after_answer, Duration::ZERO);
    }

    #[test]
    fn a_shard_that_others_read_too_is_read_more_slowly_and_faster_again_when_they_are_gone() {
        let some = Found {
            records: 1,
            bytes: 1,
            millis_behind_latest: Some(5_000),
        };
        let mut pace = usual();
        let pauses: Vec<_> = (0..6).map(|_| pace.throttled().as_millis()).collect();
        assert_eq!(pauses, [400, 800, 1_600, 3_200, 5_000, 5_000]);
        let pauses = millis(&mut pace, &[some; 30]);
        assert_eq!(pauses[..3], [4_375, 3_828, 3_349]);
        assert_eq!(pauses[29], 200);
    }

    #[test]
    fn a_reader_without_a_pace_of_its_own_makes_room_for_others_too() {
        let mut pace = Pace::new(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(pace.throttled().as_millis(), 400);
    }

    #[test]
    fn an_answer_that_does_not_say_how_far_behind_it_is_counts_by_its_records() {
        let (none, some) = (
            Found {
                records: 0,
                bytes: 0,
                millis_behind_latest: None,
            },
            Found {
                records: 3,
                bytes: 3,
                millis_behind_latest: None,
            },
        );
        assert_eq!(millis(&mut usual(), &[none, none, some]), [200, 400, 200]);
    }

    #[test]
    fn without_a_limit_data_is_read_back_to_back_but_an_idle_shard_is_not() {
        let some = Found {
            records: 1,
            bytes: 1,
            millis_behind_latest: Some(0),
        };
        let mut pace = Pace::new(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(millis(&mut pace, &[some, NOTHING, NOTHING]), [0, 200, 400]);
    }

    #[test]
    fn the_idle_time_bounds_the_pause() {
        let mut pace = Pace::new(Duration::from_millis(200), Duration::from_millis(300));
        assert_eq!(millis(&mut pace, &[NOTHING; 3]), [200, 300, 300]);
        let mut pace = Pace::new(Duration::ZERO, Duration::from_millis(50));
        assert_eq!(millis(&mut pace, &[NOTHING; 2]), [50, 50]);
    }
}
