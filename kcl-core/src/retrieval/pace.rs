//! How long to wait between two reads of a shard. Pure.

use std::time::Duration;

/// What one read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) records: usize,
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
}

impl Pace {
    /// The first pause of an idle shard, unless reads are closer than that anyway.
    const FIRST_IDLE: Duration = Duration::from_millis(200);

    pub(crate) fn new(min_read_interval: Duration, idle_time: Duration) -> Self {
        Self {
            fastest: min_read_interval,
            slowest: idle_time.max(min_read_interval),
            idle: None,
        }
    }

    /// The time from the start of a read that `found` something to the start of the next.
    pub(crate) fn after(&mut self, found: Found) -> Duration {
        let is_idle = found.records == 0 && found.millis_behind_latest.unwrap_or(0) == 0;
        if !is_idle {
            self.idle = None;
            return self.fastest;
        }
        let next = match self.idle {
            None => self.fastest.max(Self::FIRST_IDLE),
            Some(last) => last.saturating_mul(2),
        };
        let next = next.min(self.slowest);
        self.idle = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Found = Found {
        records: 0,
        millis_behind_latest: Some(0),
    };

    fn millis(pace: &mut Pace, found: &[Found]) -> Vec<u128> {
        found.iter().map(|found| pace.after(*found).as_millis()).collect()
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
            millis_behind_latest: Some(0),
        };
        let pauses = millis(&mut usual(), &[NOTHING, NOTHING, NOTHING, some, NOTHING, NOTHING]);
        assert_eq!(pauses, [200, 400, 800, 200, 200, 400]);
    }

    #[test]
    fn a_shard_that_is_behind_is_never_idle() {
        let behind = Found {
            records: 0,
            millis_behind_latest: Some(1),
        };
        assert_eq!(millis(&mut usual(), &[behind; 4]), [200; 4]);
    }

    #[test]
    fn an_answer_that_does_not_say_how_far_behind_it_is_counts_by_its_records() {
        let (none, some) = (
            Found {
                records: 0,
                millis_behind_latest: None,
            },
            Found {
                records: 3,
                millis_behind_latest: None,
            },
        );
        assert_eq!(millis(&mut usual(), &[none, none, some]), [200, 400, 200]);
    }

    #[test]
    fn without_a_limit_data_is_read_back_to_back_but_an_idle_shard_is_not() {
        let some = Found {
            records: 1,
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
