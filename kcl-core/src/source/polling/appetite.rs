//! How much to ask of one read, and how long to wait for it. Pure.
//!
//! `GetRecords` takes a number of records, but what matters is bytes: memory, and the time that they take over the link.

use std::time::Duration;

use crate::memory::Wish;
use crate::source::feed::Room;

const KIB: u64 = 1 << 10;
/// The largest answer of `GetRecords` (limit of the service).
const LARGEST: u64 = 10 << 20;
/// What a shard that has caught up asks for: more than a shard takes in between two reads, at a quarter of its limit.
const SMALLEST: u64 = 256 * KIB;
/// The least that a read is worth being made for.
const LEAST: u64 = 64 * KIB;
/// The largest record of a stream, unless it is configured to take larger ones.
const USUALLY_LARGEST_RECORD: u64 = 1 << 20;
/// An answer of records that were taken for so much smaller than they are still fits.
const SAFETY: u64 = 2;
/// For as long a read is waited for at first, and at most.
const FIRST_BOUND: Duration = Duration::from_secs(10);
const LONGEST_BOUND: Duration = Duration::from_secs(120);

/// What an answer takes while it is under way: its text, in which three bytes are four characters, and the records.
fn under_way(bytes: u64) -> u64 {
    bytes * 7 / 3
}

/// What came of one read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) records: u64,
    /// What they take, in all.
    pub(crate) bytes: u64,
    /// More records are left.
    pub(crate) is_behind: bool,
}

/// The size of the reads of one shard.
#[derive(Debug)]
pub(crate) struct Appetite {
    /// The most records of an answer, as configured.
    most_records: u32,
    /// The most records that the link has carried in time, if it was ever too slow.
    link_records: u32,
    /// The bytes of the next answer.
    bytes: u64,
    /// What a record takes.
    per_record: Option<u64>,
    /// The last answer held no record, and the shard had none left.
    is_quiet: bool,
    bound: Duration,
}

impl Appetite {
    pub(crate) fn new(most_records: u32) -> Self {
        Self {
            most_records,
            link_records: most_records,
            bytes: LARGEST,
            per_record: None,
            is_quiet: false,
            bound: FIRST_BOUND,
        }
    }

    /// For how long to wait for the answer.
    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// What a record takes, once one was read.
    pub(crate) fn per_record(&self) -> Option<u64> {
        self.per_record
    }

    /// The memory to claim. `usual` is what a record takes in other shards, for one that has read none.
    pub(crate) fn wish(&self, usual: Option<u64>) -> Wish {
        let record = match self.record(usual) {
            Some(record) => record,
            // It is asked for one record, and there are few as large as they may be: many such shards are read side by side.
            None if self.is_quiet => LEAST,
            None => {
                return Wish {
                    most: under_way(LARGEST),
                    least: under_way(USUALLY_LARGEST_RECORD),
                    is_guess: true,
                };
            }
        };
        let limit = u64::from(self.most_records.min(self.link_records));
        let most = self.bytes.min(limit.saturating_mul(record)).max(LEAST);
        let least = record.clamp(LEAST, most);
        Wish {
            most: under_way(most),
            least: under_way(least),
            is_guess: false,
        }
    }

    /// How many records to ask for with so much memory.
    pub(crate) fn limit(&self, room: Room) -> u32 {
        let bytes = room.bytes.saturating_mul(3) / 7;
        let fitting = match self.record(room.usual_record) {
            // No answer is larger, however many records are asked for.
            _ if bytes + 1 >= LARGEST => u64::from(u32::MAX),
            // What a quiet shard gives next tells what its records take.
            None if self.is_quiet => 1,
            None => (bytes / USUALLY_LARGEST_RECORD).max(1),
            Some(record) => (bytes / record).max(1),
        };
        let fitting = u32::try_from(fitting).unwrap_or(u32::MAX);
        fitting.min(self.most_records).min(self.link_records).max(1)
    }

    /// What to reckon with for a record.
    fn record(&self, usual: Option<u64>) -> Option<u64> {
        let record = self.per_record.or(usual)?;
        Some(record.saturating_mul(SAFETY).clamp(1, LARGEST))
    }

    /// A read that asked for `limit` records was answered after `took`.
    pub(crate) fn answered(&mut self, limit: u32, answer: Volume, took: Duration) {
        let Volume {
            records,
            bytes,
            is_behind,
        } = answer;
        if let Some(average) = bytes.checked_div(records) {
            let known = self.per_record.unwrap_or(average);
            self.per_record = Some(average.max(known - known / 8));
        }
        self.is_quiet = records == 0 && !is_behind;
        self.bytes = if records >= u64::from(limit) {
            self.bytes.max(bytes).saturating_mul(2)
        } else {
            bytes
                .saturating_mul(2)
                .max(if self.is_quiet { 0 } else { self.bytes / 2 })
        }
        .clamp(SMALLEST, LARGEST);
        if took < self.bound / 4 {
            self.bound = (self.bound * 2 / 3).max(FIRST_BOUND);
            self.link_records = self.link_records.saturating_mul(2).min(self.most_records);
        }
    }

    /// A read that asked for `limit` records was not answered in time: less is asked for, and waited for longer.
    pub(crate) fn timed_out(&mut self, limit: u32) {
        self.link_records = (limit / 8).max(1);
        self.bound = (self.bound * 3 / 2).min(LONGEST_BOUND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// The limit of the next read when there is memory for everything.
    fn limit(appetite: &Appetite) -> u32 {
        let wish = appetite.wish(None);
        within(appetite, wish.most)
    }

    fn within(appetite: &Appetite, bytes: u64) -> u32 {
        appetite.limit(Room {
            bytes,
            usual_record: None,
        })
    }

    fn answer(appetite: &mut Appetite, records: u64, bytes: u64) {
        let limit = limit(appetite);
        let records = records.min(u64::from(limit));
        let answer = Volume {
            records,
            bytes,
            is_behind: records == u64::from(limit),
        };
        appetite.answered(limit, answer, Duration::from_millis(50));
    }

    #[test]
    fn the_first_answer_may_be_as_large_as_any() {
        let appetite = Appetite::new(10_000);
        let wish = appetite.wish(None);
        assert_eq!((wish.most, wish.is_guess), (under_way(LARGEST), true));
        assert_eq!(limit(&appetite), 10_000);
        assert_eq!(
            within(&appetite, wish.least),
            1,
            "with less memory, one record is tried"
        );
    }

    #[test]
    fn a_shard_that_never_had_a_record_is_asked_for_one() {
        let mut appetite = Appetite::new(10_000);
        answer(&mut appetite, 0, 0);
        assert_eq!(
            appetite.wish(None),
            Wish {
                most: under_way(SMALLEST),
                least: under_way(LEAST),
                is_guess: false
            }
        );
        assert_eq!(limit(&appetite), 1);
        answer(&mut appetite, 1, KIB);
        assert!(limit(&appetite) > 100, "{}", limit(&appetite));
    }

    #[test]
    fn a_shard_that_never_had_a_record_needs_little_once_others_know_what_one_takes() {
        let mut appetite = Appetite::new(10_000);
        answer(&mut appetite, 0, 0);
        assert_eq!(
            appetite.wish(Some(KIB)),
            Wish {
                most: under_way(SMALLEST),
                least: under_way(LEAST),
                is_guess: false
            }
        );
    }

    #[test]
    fn a_shard_that_gave_no_record_but_has_some_may_give_any() {
        let mut appetite = Appetite::new(10_000);
        let page = Volume {
            records: 0,
            bytes: 0,
            is_behind: true,
        };
        appetite.answered(10_000, page, Duration::from_millis(50));
        assert!(appetite.wish(None).is_guess);
    }

    #[test]
    fn a_shard_that_has_caught_up_asks_for_little_and_one_that_lags_for_ever_more() {
        let mut appetite = Appetite::new(10_000);
        for _ in 0..10 {
            answer(&mut appetite, 3, 3 * KIB);
        }
        assert_eq!(appetite.wish(None).most, under_way(SMALLEST));
        assert_eq!(
            limit(&appetite),
            127,
            "256 KiB, if records grow to twice their size"
        );
        for _ in 0..6 {
            answer(&mut appetite, 10_000, 127 * KIB);
        }
        assert_eq!(appetite.wish(None).most, under_way(LARGEST));
        assert_eq!(limit(&appetite), 10_000);
    }

    #[test]
    fn with_little_memory_fewer_records_are_asked_for() {
        let mut appetite = Appetite::new(10_000);
        answer(&mut appetite, 10_000, LARGEST);
        let record = LARGEST / 10_000;
        let few = within(&appetite, under_way(MIB));
        assert!(u64::from(few) * record <= MIB && few > 400, "{few}");
        assert_eq!(within(&appetite, 1), 1, "one at least");
    }

    #[test]
    fn a_record_of_ten_mebibytes_is_waited_for_with_memory_for_it() {
        let mut appetite = Appetite::new(10_000);
        answer(&mut appetite, 1, LARGEST);
        let wish = appetite.wish(None);
        assert_eq!(wish.least, under_way(LARGEST));
    }

    #[test]
    fn a_shard_without_experience_trusts_the_others() {
        let appetite = Appetite::new(10_000);
        let wish = appetite.wish(Some(KIB));
        assert_eq!(wish.most, under_way(LARGEST));
        assert_eq!(wish.least, under_way(LEAST));
    }

    #[test]
    fn a_link_that_is_too_slow_gets_smaller_reads_and_more_time_and_both_come_back() {
        let mut appetite = Appetite::new(10_000);
        for (limit_before, bound) in [(10_000, 10), (1_250, 15)] {
            assert_eq!(
                (limit(&appetite), appetite.bound().as_secs()),
                (limit_before, bound)
            );
            appetite.timed_out(limit_before);
        }
        assert_eq!((limit(&appetite), appetite.bound().as_millis()), (156, 22_500));
        for _ in 0..20 {
            appetite.timed_out(1);
        }
        assert_eq!((limit(&appetite), appetite.bound()), (1, LONGEST_BOUND));
        for _ in 0..20 {
            answer(&mut appetite, 10_000, KIB);
        }
        assert_eq!((limit(&appetite), appetite.bound()), (10_000, FIRST_BOUND));
    }

    #[test]
    fn an_answer_that_took_most_of_its_time_does_not_make_the_next_one_larger() {
        let mut appetite = Appetite::new(10_000);
        appetite.timed_out(10_000);
        let answer = Volume {
            records: 1_250,
            bytes: MIB,
            is_behind: true,
        };
        appetite.answered(1_250, answer, Duration::from_secs(9));
        assert!(limit(&appetite) <= 1_250);
        assert_eq!(appetite.bound(), Duration::from_secs(15));
    }
}
