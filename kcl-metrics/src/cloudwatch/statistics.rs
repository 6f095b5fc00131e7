//! What is kept of the values of a metric in one period: the four figures of CloudWatch's statistic sets. Pure.

/// The largest value that CloudWatch takes, in either direction: 2 to the power of 360.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
fn largest() -> f64 {
    2_f64.powi(360)
}

/// Sums, counts, and the ends of a range. Nothing of it depends on how many values there were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Statistics {
    pub(crate) samples: u64,
    pub(crate) sum: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Statistics {
    pub(crate) const NONE: Self = Self {
        samples: 0,
        sum: 0.0,
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };

    /// Takes a value in, so many times; false if CloudWatch would refuse it, or the sum.
    pub(crate) fn take(&mut self, value: f64, times: u64) -> bool {
        let sum = self.sum + value * times as f64;
        if times == 0 || !is_taken(value) || !is_taken(sum) {
            return times == 0;
        }
        self.samples = self.samples.saturating_add(times);
        self.sum = sum;
        self.least = self.least.min(value);
        self.most = self.most.max(value);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0
    }
}

fn is_taken(value: f64) -> bool {
    value.is_finite() && value.abs() <= largest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_figures_are_kept_of_any_number_of_values() {
        let mut kept = Statistics::NONE;
        assert!(kept.is_empty());
        for value in [3.0, -1.0, 4.0] {
            assert!(kept.take(value, 1));
        }
        assert!(kept.take(0.5, 2));
        let expected = Statistics {
            samples: 5,
            sum: 7.0,
            least: -1.0,
            most: 4.0,
        };
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_cloudwatch_refuses_is_not_taken_in() {
        let mut kept = Statistics::NONE;
        let hostile = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -f64::MAX];
        for value in hostile {
            assert!(!kept.take(value, 1), "{value}");
        }
        assert!(kept.is_empty());
        assert!(kept.take(largest(), 1));
        assert!(!kept.take(largest(), 1), "the sum would be too large");
        assert!(!kept.take(1e100, u64::MAX));
        assert_eq!((kept.samples, kept.sum), (1, largest()));
        assert!(kept.take(1.0, 0), "nothing happened");
        assert_eq!(kept.samples, 1);
    }
}
