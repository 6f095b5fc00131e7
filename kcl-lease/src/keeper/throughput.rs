//! How many KB per second a shard's records amount to, smoothed as the Java KCL does.

use std::time::Duration;

/// Weight of the newest interval in the moving average.
const ALPHA: f64 = 0.5;

/// Bytes counted since the last renewal, and the moving average.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    bytes: u64,
    average: Option<f64>,
}

impl Throughput {
    /// Continues from what a previous owner published.
    pub(super) fn continuing(average: Option<f64>) -> Self {
        Self { bytes: 0, average }
    }

    pub(super) fn record(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Closes an interval. `None` as long as no byte was ever counted.
    pub(super) fn close_interval(&mut self, length: Duration) -> Option<f64> {
        let bytes = std::mem::take(&mut self.bytes);
        if length.is_zero() || (bytes == 0 && self.average.is_none()) {
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
        let mut throughput = Throughput::default();
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
}
