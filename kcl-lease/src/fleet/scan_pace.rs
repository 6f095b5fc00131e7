//! How soon the table may be scanned again: as the read budget allows, and less often while the table refuses. Pure.

use std::time::Duration;

use super::options::FleetOptions;
use crate::store::StoreErrorKind;

/// The pace falls to this part of what the budget allows, and no lower.
const SLOWEST: f64 = 1.0 / 64.0;
/// Each scan that works makes up for so much of a scan that was refused: an hour of scans each second is not needed, and
/// a table that is just large enough is not driven into refusing every other one.
const RECOVERY: f64 = 1.25;

/// The pace of one worker's scans.
#[derive(Debug, Clone)]
pub(super) struct ScanPace {
    /// 1 if the table gives what the budget allows.
    part: f64,
    /// Failures since the last scan that worked.
    failures: u32,
}

impl Default for ScanPace {
    fn default() -> Self {
        Self {
            part: 1.0,
            failures: 0,
        }
    }
}

impl ScanPace {
    /// When the next scan is due after one that worked and consumed `read_units`, while `scanners` scan.
    pub(super) fn after_success(
        &mut self,
        options: &FleetOptions,
        read_units: f64,
        scanners: usize,
    ) -> Duration {
        let interval = options.scan_interval(read_units * scanners.max(1) as f64);
        let slowed = stretched(interval, self.part, options);
        self.part = (self.part * RECOVERY).min(1.0);
        self.failures = 0;
        slowed
    }

    /// When the next scan is due after one that failed.
    pub(super) fn after_failure(&mut self, options: &FleetOptions, kind: StoreErrorKind) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if kind == StoreErrorKind::Throttled {
            self.part = (self.part / 2.0).max(SLOWEST);
        }
        // Quickly at first, for it may have been this one request.
        let patience = 0.5_f64.powi(i32::try_from(self.failures - 1).unwrap_or(i32::MAX).min(30));
        stretched(options.look(), self.part.min(patience), options)
            .min(options.timers().longest_scan_pause().max(options.look()))
    }
}

fn stretched(interval: Duration, part: f64, options: &FleetOptions) -> Duration {
    let longest = options.timers().longest_scan_interval();
    let seconds = interval.as_secs_f64() / part;
    Duration::try_from_secs_f64(seconds).map_or(longest, |slowed| slowed.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(interval: Duration) -> f64 {
        (interval.as_secs_f64() * 10.0).round() / 10.0
    }

    #[test]
    fn a_table_that_throttles_is_scanned_less_often_until_it_gives_what_is_asked() {
        let (options, mut pace) = (FleetOptions::default(), ScanPace::default());
        assert_eq!(seconds(pace.after_success(&options, 1.0, 1)), 1.0);
        let throttled =
            |pace: &mut ScanPace| seconds(pace.after_failure(&options, StoreErrorKind::Throttled));
        let pauses: Vec<_> = (0..4).map(|_| throttled(&mut pace)).collect();
        assert_eq!(
            pauses,
            [2.0, 2.5, 2.5, 2.5],
            "at most a quarter of the fail-over time"
        );
        let mut recovering = std::iter::from_fn(|| Some(seconds(pace.after_success(&options, 1.0, 1))));
        let first: Vec<_> = recovering.by_ref().take(4).collect();
        assert_eq!(
            first,
            [16.0, 12.8, 10.2, 8.2],
            "as it can do with half as much and half of that ..."
        );
        assert_eq!(recovering.nth(20), Some(1.0));
        for _ in 0..100 {
            pace.after_failure(&options, StoreErrorKind::Throttled);
        }
        assert_eq!(
            seconds(pace.after_success(&options, 1.0, 1)),
            20.0,
            "twice the fail-over time"
        );
    }

    #[test]
    fn a_table_that_does_not_answer_is_asked_again_soon_and_then_ever_less() {
        let (options, mut pace) = (FleetOptions::default(), ScanPace::default());
        let mut fail = || seconds(pace.after_failure(&options, StoreErrorKind::Unavailable));
        assert_eq!([fail(), fail(), fail(), fail()], [1.0, 2.0, 2.5, 2.5]);
        assert_eq!(
            seconds(pace.after_success(&options, 1.0, 1)),
            1.0,
            "it is well again"
        );
    }

    #[test]
    fn several_that_scan_share_the_budget() {
        let (options, mut pace) = (FleetOptions::default(), ScanPace::default());
        assert_eq!(seconds(pace.after_success(&options, 5.0, 100)), 10.0);
        assert_eq!(seconds(pace.after_success(&options, 5.0, 0)), 1.0);
        assert_eq!(
            seconds(pace.after_success(&options, 400.0, 100)),
            20.0,
            "but not less often"
        );
    }
}
