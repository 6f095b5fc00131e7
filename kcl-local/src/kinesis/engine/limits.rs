//! The rates that one shard sustains.
//!
//! With the rates of the service an answer of 10 MiB refuses the reads of the next five seconds.

use std::time::Duration;

use super::time::EpochMillis;
use crate::kinesis::ShardRates;

/// What one shard may still do in the current second.
#[derive(Debug)]
pub(crate) struct ShardLimits {
    records_in: TokenBucket,
    bytes_in: TokenBucket,
    reads: TokenBucket,
    bytes_out: TokenBucket,
    iterators: Option<TokenBucket>,
}

impl ShardLimits {
    pub(crate) fn new(rates: ShardRates, now: EpochMillis) -> Self {
        Self {
            records_in: TokenBucket::full(rates.records_in, now),
            bytes_in: TokenBucket::full(rates.bytes_in, now),
            reads: TokenBucket::full(rates.reads, now),
            bytes_out: TokenBucket::full(rates.bytes_out, now),
            iterators: None,
        }
    }

    /// Accounts for an iterator, of which there are so many in a second, or says that it must be refused.
    pub(crate) fn admit_iterator(&mut self, per_second: u32, now: EpochMillis) -> bool {
        let iterators = self
            .iterators
            .get_or_insert_with(|| TokenBucket::full(per_second, now));
        iterators.admit(now)
    }

    /// Accounts for a record of `bytes`, or says that it must be refused.
    pub(crate) fn admit_record(&mut self, bytes: usize, now: EpochMillis) -> bool {
        let admitted = self.records_in.has(1, now) && self.bytes_in.has(bytes, now);
        if admitted {
            self.records_in.take(1);
            self.bytes_in.take(bytes);
        }
        admitted
    }

    /// Accounts for a read, or says that it must be refused.
    pub(crate) fn admit_read(&mut self, now: EpochMillis) -> bool {
        let admitted = self.reads.has(1, now) && self.bytes_out.has(1, now);
        if admitted {
            self.reads.take(1);
        }
        admitted
    }

    /// Accounts for the bytes that an admitted read returned.
    pub(crate) fn charge_read(&mut self, bytes: usize) {
        self.bytes_out.take(bytes);
    }
}

/// What one consumer may still get of one shard.
#[derive(Debug)]
pub(crate) struct PushLimit(TokenBucket);

impl PushLimit {
    pub(crate) fn new(bytes_per_second: u32, now: EpochMillis) -> Self {
        Self(TokenBucket::full(bytes_per_second, now))
    }

    /// When something may be pushed: now, or later.
    pub(crate) fn ready(&mut self, now: EpochMillis) -> EpochMillis {
        self.0.ready(now)
    }

    /// Accounts for the bytes that were pushed.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.0.take(bytes);
    }
}

/// An allowance that refills steadily, holds one second's worth and may be overdrawn by a single large request.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: i64,
    /// Thousandths of a token.
    level: i64,
    refilled: EpochMillis,
}

impl TokenBucket {
    /// One that is full. At least one token comes in a second.
    pub(super) fn full(per_second: u32, now: EpochMillis) -> Self {
        let per_second = i64::from(per_second.max(1));
        Self {
            per_second,
            level: per_second * 1000,
            refilled: now,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn admit(&mut self, now: EpochMillis) -> bool {
        let admitted = self.has(1, now);
        if admitted {
            self.take(1);
        }
        admitted
    }

    /// Whether `amount` may be taken now. An amount greater than the bucket may be taken from a full one.
    fn has(&mut self, amount: usize, now: EpochMillis) -> bool {
        let elapsed = i64::try_from(now.since(self.refilled).as_millis()).unwrap_or(i64::MAX);
        let full = self.per_second * 1000;
        self.level = self
            .level
            .saturating_add(elapsed.saturating_mul(self.per_second))
            .min(full);
        self.refilled = now;
        self.level >= thousandths(amount).min(full)
    }

    /// When there is something to take.
    fn ready(&mut self, now: EpochMillis) -> EpochMillis {
        if self.has(1, now) {
            return now;
        }
        let missing = thousandths(1).saturating_sub(self.level);
        let millis = missing.saturating_add(self.per_second - 1) / self.per_second;
        now.plus(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    fn take(&mut self, amount: usize) {
        let cost = thousandths(amount);
        if cost > self.per_second * 1000 {
            // More than a second's worth counts in full from now on: unused allowance does not shorten the wait.
            self.level = self.level.min(0);
        }
        self.level = self.level.saturating_sub(cost);
    }
}

fn thousandths(amount: usize) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000;

    fn limits() -> ShardLimits {
        ShardLimits::new(ShardRates::default(), at(0))
    }

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(START + millis)
    }

    #[test]
    fn a_thousand_records_per_second_go_in() {
        let mut limits = limits();
        assert_eq!(
            (0..2_000).filter(|_| limits.admit_record(10, at(0))).count(),
            1_000
        );
        assert!(limits.admit_record(10, at(1)));
        assert!(!limits.admit_record(10, at(1)));
        assert_eq!(
            (0..2_000).filter(|_| limits.admit_record(10, at(1_001))).count(),
            1_000
        );
    }

    #[test]
    fn a_mebibyte_per_second_goes_in() {
        let mut limits = limits();
        assert!(limits.admit_record(1 << 20, at(0)));
        assert!(!limits.admit_record(1 << 20, at(999)));
        assert!(limits.admit_record(1 << 20, at(1_000)));
    }

    #[test]
    fn a_refused_record_costs_nothing() {
        let mut limits = limits();
        assert!(limits.admit_record(1_000_000, at(0)));
        assert!(!limits.admit_record(100_000, at(0)));
        assert!(limits.admit_record(40_000, at(0)));
    }

    #[test]
    fn five_reads_per_second_are_answered() {
        let mut limits = limits();
        assert_eq!((0..9).filter(|_| limits.admit_read(at(0))).count(), 5);
        assert!(!limits.admit_read(at(199)));
        assert!(limits.admit_read(at(200)));
    }

    #[test]
    fn after_ten_mebibytes_reads_are_refused_for_five_seconds() {
        let mut limits = limits();
        assert!(limits.admit_read(at(0)));
        limits.charge_read(10 << 20);
        assert!(!limits.admit_read(at(4_999)));
        assert!(limits.admit_read(at(5_001)));
    }

    #[test]
    fn a_push_waits_until_what_was_pushed_before_is_paid() {
        let mut limit = PushLimit::new(2 << 20, at(0));
        assert_eq!(limit.ready(at(0)), at(0));
        limit.charge(1 << 20);
        assert_eq!(limit.ready(at(0)), at(0), "a second's worth may come at once");
        limit.charge(3 << 20);
        assert_eq!(limit.ready(at(0)), at(1_501));
        assert_eq!(limit.ready(at(1_501)), at(1_501));
    }

    #[test]
    fn a_record_larger_than_a_seconds_worth_goes_in_alone() {
        let mut limits = limits();
        assert!(limits.admit_record(4 << 20, at(0)));
        assert!(!limits.admit_record(1, at(3_999)));
        assert!(limits.admit_record(1, at(4_001)));
    }
}
