//! How much is written to a shard of an on-demand stream, which is what such a stream grows by.

use std::time::Duration;

use super::time::EpochMillis;
use crate::kinesis::ShardRates;

/// What was written to a shard in the present span of time.
#[derive(Debug)]
pub(crate) struct Load {
    since: EpochMillis,
    records: u64,
    bytes: u64,
}

impl Load {
    pub(crate) fn new(now: EpochMillis) -> Self {
        Self {
            since: now,
            records: 0,
            bytes: 0,
        }
    }

    /// Accounts for a record of `bytes`. At the end of a span tells whether more than half of what the shard sustains was
    /// written in it, and begins another.
    pub(crate) fn note(&mut self, bytes: usize, rates: ShardRates, span: Duration, now: EpochMillis) -> bool {
        self.records += 1;
        self.bytes += bytes as u64;
        let elapsed = now.since(self.since);
        if elapsed < span.max(Duration::from_millis(1)) {
            return false;
        }
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let exceeds = |amount: u64, per_second: u32| {
            amount.saturating_mul(2_000) > u64::from(per_second).saturating_mul(millis)
        };
        let is_high = exceeds(self.records, rates.records_in) || exceeds(self.bytes, rates.bytes_in);
        *self = Self::new(now);
        is_high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(1_700_000_000_000 + millis)
    }

    /// Whether a shard is under high load in its first two minutes, given a record of some bytes every so often.
    fn is_high(bytes: usize, every_millis: u64) -> bool {
        let mut load = Load::new(at(0));
        let rates = ShardRates::default();
        let mut times = (1..=120_000 / every_millis).map(|number| at(number * every_millis));
        times.any(|now| load.note(bytes, rates, MINUTE, now))
    }

    #[test]
    fn half_of_what_a_shard_sustains_is_no_high_load_and_more_is() {
        assert!(!is_high(512 << 10, 1_000));
        assert!(is_high(513 << 10, 1_000));
        assert!(!is_high(1, 2));
        assert!(is_high(1, 1));
    }

    #[test]
    fn a_burst_is_measured_over_the_whole_span() {
        let mut load = Load::new(at(0));
        let rates = ShardRates::default();
        assert!(!(0..900).any(|_| load.note(1_000, rates, MINUTE, at(1))));
        assert!(!load.note(1, rates, MINUTE, at(60_000)));
    }
}
