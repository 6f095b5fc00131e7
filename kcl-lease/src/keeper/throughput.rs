//! How many KB per second a shard's records amount to, smoothed as the Java KCL does.

use std::time::Duration;

use tokio::time::Instant;

/// Weight of the newest interval in the moving average.
const ALPHA: f64 = 0.5;

/// Bytes counted in the present interval, and the moving average.
#[derive(Debug)]
pub(super) struct Throughput {
    bytes: u64,
    since: Instant,
    average: Option<f64>,
    /// Whether anything was recorded: until then the shard may not even be read.
    is_counting: bool,
}

impl Throughput {
    /// Continues from what a previous owner published.
    pub(super) fn continuing(average: Option<f64>, now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            average,
            is_counting: false,
        }
    }

    /// What is to be published at `now`, if the interval has lasted for at least this time.
    pub(super) fn due(&mut self, now: Instant, least: Duration) -> Option<f64> {
        let length = now.saturating_duration_since(self.since);
        if length < least {
            return None;
        }
        self.since = now;
        self.close_interval(length)
    }

    pub(super) fn record(&mut self, bytes: u64) {
        self.is_counting = true;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Closes an interval. `None` as long as nothing was ever counted: balancers take such a lease for an average one, while a
    /// shard without records is the smallest of all. (The Java KCL says nothing of shards that never had a record.)
    fn close_interval(&mut self, length: Duration) -> Option<f64> {
        let bytes = std::mem::take(&mut self.bytes);
        let is_unknown = self.average.is_none() && !self.is_counting;
        if length.is_zero() || is_unknown {
            return self.average;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let newest = bytes as f64 / 1024.0 / length.as_secs_f64();
        let average = self
            .average
            .map_or(newest, |before| ALPHA * newest + (1.0 - ALPHA) * before);
        let rounded = (average * 1e6).round() / 1e6;
        self.average = Some(rounded);
        self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_the_distance_to_the_newest_interval() {
        let mut throughput = Throughput::continuing(None, Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(
            throughput.close_interval(second),
            None,
            "nothing was ever counted"
        );
        throughput.record(100 * 1024);
        assert_eq!(throughput.close_interval(second), Some(100.0));
        assert_eq!(throughput.close_interval(second), Some(50.0));
        throughput.record(1024);
        assert_eq!(throughput.close_interval(second), Some(25.5));
    }

    #[test]
    fn a_shard_that_is_read_in_vain_is_known_to_have_no_throughput() {
        let mut throughput = Throughput::continuing(None, Instant::now());
        throughput.record(0);
        assert_eq!(throughput.close_interval(Duration::from_secs(1)), Some(0.0));
    }

    #[test]
    fn an_interval_lasts_for_some_time_however_often_is_asked() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let least = Duration::from_secs(3);
        let mut throughput = Throughput::continuing(None, start);
        throughput.record(2 * 1024);
        assert_eq!(throughput.due(after(1_000), least), None);
        throughput.record(4 * 1024);
        assert_eq!(throughput.due(after(3_000), least), Some(2.0));
        throughput.record(9 * 1024);
        assert_eq!(throughput.due(after(5_999), least), None);
        assert_eq!(throughput.due(after(6_000), least), Some(2.5));
    }
}
