//! What was measured, in the form in which it is reported.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::WorkerMetric;

/// As many means are reported; the Java KCL's default `noOfPersistedMetricsPerWorkerMetrics`.
const LENGTH: usize = 10;

/// Samples since the last mean, and the means before.
#[derive(Debug)]
pub(super) struct History {
    means: VecDeque<f64>,
    /// A mean is over at least this time. Workers without leases report more often than others; theirs should not weigh more.
    shortest: Duration,
    /// Whether there was a good sample. The very first one begins a measurement, and says nothing by itself.
    has_begun: bool,
    sum: f64,
    count: u32,
    opened_at: Instant,
    /// Whether failures are reported. Before its first good sample nothing is known to be there that could fail.
    is_proven: bool,
}

impl History {
    /// `is_trusted` says that the source must work, so that its failure is one from the beginning.
    pub(super) fn new(is_trusted: bool, report_interval: Duration, now: Instant) -> Self {
        Self {
            means: VecDeque::new(),
            shortest: report_interval / 2,
            has_begun: false,
            sum: 0.0,
            count: 0,
            opened_at: now,
            is_proven: is_trusted,
        }
    }

    /// Takes a good sample in.
    pub(super) fn record(&mut self, percent: f64) {
        if self.has_begun {
            self.sum += percent;
            self.count += 1;
        }
        self.has_begun = true;
        self.is_proven = true;
    }

    /// What is to be reported at `now`: the means, oldest first, closing the last one if it is time for it. A mean over
    /// nothing is -1, as in the Java KCL. Empty if there is no source, or if nothing has been measured yet.
    pub(super) fn report(&mut self, now: Instant) -> Vec<f64> {
        let is_long = now.saturating_duration_since(self.opened_at) >= self.shortest;
        let is_first = self.means.is_empty() && self.count > 0;
        if self.is_proven && (is_long || is_first) {
            self.close(now);
        }
        if self.means.is_empty() && self.is_proven && !self.has_begun {
            return vec![WorkerMetric::FAILED];
        }
        self.means.iter().copied().collect()
    }

    /// Whether there was no time yet for a mean.
    pub(super) fn has_just_begun(&self, now: Instant) -> bool {
        self.means.is_empty() && now.saturating_duration_since(self.opened_at) < self.shortest
    }

    /// Whether there is something to report for the first time.
    pub(super) fn is_due(&self) -> bool {
        self.means.is_empty() && self.count > 0
    }

    fn close(&mut self, now: Instant) {
        let mean = if self.count == 0 {
            WorkerMetric::FAILED
        } else {
            // As many digits as the Java KCL writes.
            (self.sum / f64::from(self.count) * 1e6).round() / 1e6
        };
        self.means.push_back(mean);
        if self.means.len() > LENGTH {
            self.means.pop_front();
        }
        (self.sum, self.count, self.opened_at) = (0.0, 0, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays samples and reports: `(second, Some(percent))` is a good sample, `(second, None)` a report; what the reports said.
    fn reports(is_trusted: bool, events: &[(u64, Option<f64>)]) -> Vec<Vec<f64>> {
        let start = Instant::now();
        let mut history = History::new(is_trusted, Duration::from_secs(30), start);
        let mut reports = Vec::new();
        for (second, sample) in events {
            match sample {
                Some(percent) => history.record(*percent),
                None => reports.push(history.report(start + Duration::from_secs(*second))),
            }
        }
        reports
    }

    #[test]
    fn each_report_adds_the_mean_since_the_last_one() {
        let events = [
            (0, Some(0.0)),
            (0, None),
            (1, Some(20.0)),
            (2, Some(40.0)),
            (3, None),
            (4, Some(50.0)),
            (33, Some(51.0)),
            (33, None),
        ];
        let expected = [vec![], vec![30.0], vec![30.0, 50.5]];
        assert_eq!(reports(false, &events), expected, "the first sample says nothing");
    }

    #[test]
    fn a_mean_is_over_some_time_however_often_is_reported() {
        let events = [
            (0, Some(0.0)),
            (1, Some(10.0)),
            (3, None),
            (4, Some(20.0)),
            (6, None),
            (16, Some(40.0)),
            (18, None),
        ];
        assert_eq!(
            reports(false, &events),
            [vec![10.0], vec![10.0], vec![10.0, 30.0]]
        );
    }

    #[test]
    fn a_period_without_a_good_sample_is_reported_as_a_failure_until_there_is_one_again() {
        let events = [
            (0, Some(0.0)),
            (1, Some(10.0)),
            (3, None),
            (33, None),
            (40, Some(30.0)),
            (63, None),
        ];
        let expected = [vec![10.0], vec![10.0, -1.0], vec![10.0, -1.0, 30.0]];
        assert_eq!(reports(false, &events), expected);
    }

    #[test]
    fn what_never_worked_is_a_failure_only_if_it_must_work() {
        let events = [(0, None), (33, None)];
        assert_eq!(reports(false, &events), [vec![], Vec::<f64>::new()]);
        assert_eq!(reports(true, &events), [vec![-1.0], vec![-1.0]]);
    }

    #[test]
    fn ten_means_are_kept() {
        let mut events = vec![(0, Some(0.0))];
        for n in 1..=12_u32 {
            let second = u64::from(n) * 30;
            events.extend([(second, Some(f64::from(n))), (second, None)]);
        }
        let last = reports(false, &events).pop().unwrap();
        assert_eq!(last, [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
    }

    #[test]
    fn means_have_six_digits() {
        let events = [
            (0, Some(0.0)),
            (1, Some(1.0)),
            (2, Some(0.0)),
            (3, Some(0.0)),
            (4, None),
        ];
        assert_eq!(reports(false, &events), [vec![0.333_333]]);
    }
}
