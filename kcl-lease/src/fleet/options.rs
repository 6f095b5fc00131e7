//! What a worker of a fleet must be told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::load::{Load, MeterOptions};
use crate::metrics::Metrics;
use crate::plan::Balancing;
use crate::timers::Timers;

/// The settings of one worker. All workers of an application should agree on them.
///
/// What happens how often follows from the fail-over time: see [`Timers`].
///
/// ```
/// use std::time::Duration;
/// use kcl_lease::FleetOptions;
///
/// let mut options = FleetOptions::default();
/// options.failover_time = Duration::from_secs(5);
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FleetOptions {
    /// How long a silent worker keeps its leases. Default 10 s, as in the Java KCL; at least 1 s.
    #[serde(with = "humantime_serde")]
    pub failover_time: Duration,
    /// No worker is given more leases than this. Default: no limit.
    pub max_leases: Option<usize>,
    /// How long a processor may take to stop during a hand-off before the leader ends it. Default 30 s.
    #[serde(with = "humantime_serde")]
    pub hand_off_timeout: Duration,
    /// Read capacity units per second that the leader's scans may consume; a large table is scanned less often, but at
    /// least every other fail-over time. Default 50. While the table throttles its scans, a leader makes do with less.
    pub scan_budget: f64,
    /// By what the leases are spread, if this worker leads. Default: by load, as far as it is reported.
    pub balancing: Balancing,
    /// Whether, and by what, the worker tells how busy it is. Default: by its CPU, where that can be read.
    pub load: Load,
    /// The operating range in percent, 1 to 100: while the worker is busier than this, the leader takes leases from it.
    /// Default 100.
    pub max_utilization: u8,
    /// How often the worker tells how busy it is, and the unit of time of [balancing by load](Balancing). Default 30 s, as in
    /// the Java KCL; not more if there are Java workers, for their leader takes two of its own intervals of silence for death.
    #[serde(with = "humantime_serde")]
    pub report_interval: Duration,
    /// Renewals under way at once; a twentieth of the leases held, if that is more. Default 64.
    pub renewal_concurrency: usize,
    /// Conditional writes of a plan, and acquisitions, under way at once; a twentieth of all that are to be done, if that
    /// is more. Default 16.
    pub write_concurrency: usize,
    /// Where problems are told. Default: one of its own, shown in the status.
    #[serde(skip)]
    pub health: Health,
    /// Where numbers go. Default: nowhere.
    #[serde(skip)]
    pub metrics: Metrics,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            failover_time: Duration::from_secs(10),
            max_leases: None,
            hand_off_timeout: Duration::from_secs(30),
            scan_budget: 50.0,
            balancing: Balancing::default(),
            load: Load::default(),
            max_utilization: 100,
            report_interval: Duration::from_secs(30),
            renewal_concurrency: 64,
            write_concurrency: 16,
            health: Health::default(),
            metrics: Metrics::default(),
        }
    }
}

impl FleetOptions {
    /// The defaults, with another fail-over time.
    pub fn with_failover_time(failover_time: Duration) -> Self {
        Self {
            failover_time,
            ..Self::default()
        }
    }

    /// How often a worker looks for leases that were assigned to it, and the least time between two scans of the table by the
    /// leader.
    pub(crate) fn look(&self) -> Duration {
        self.timers().look()
    }

    /// The most leases that a worker is given.
    pub(crate) fn max_leases(&self) -> usize {
        self.max_leases.unwrap_or(usize::MAX)
    }

    /// How the worker's load is measured.
    pub(crate) fn meter(&self) -> MeterOptions {
        MeterOptions {
            load: self.load.clone(),
            max_utilization: self.max_utilization,
            report_interval: self.report_interval,
        }
    }

    /// The times that follow from the fail-over time.
    pub(crate) fn timers(&self) -> Timers {
        Timers::of(self.failover_time)
    }

    /// How long to wait until the next scan after one that consumed `read_units`.
    pub(crate) fn scan_interval(&self, read_units: f64) -> Duration {
        let affordable = read_units / self.scan_budget.max(f64::MIN_POSITIVE);
        let longest = self.timers().longest_scan_interval();
        let affordable = Duration::try_from_secs_f64(affordable).unwrap_or(longest);
        affordable.min(longest).max(self.look())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_is_scanned_often_and_a_large_one_within_the_budget() {
        let options = FleetOptions::default();
        assert_eq!(options.scan_interval(0.5), Duration::from_secs(1));
        assert_eq!(options.scan_interval(400.0), Duration::from_secs(8));
        assert_eq!(options.scan_interval(1e9), Duration::from_secs(20));
        assert_eq!(options.scan_interval(f64::NAN), Duration::from_secs(20));
        let free = FleetOptions {
            scan_budget: 0.0,
            ..options
        };
        assert_eq!(free.scan_interval(1.0), Duration::from_secs(20));
    }

    #[test]
    fn a_short_fail_over_time_shortens_every_look() {
        let options = FleetOptions::with_failover_time(Duration::from_secs(3));
        assert_eq!(options.look(), Duration::from_millis(300));
        assert_eq!(options.scan_interval(0.5), Duration::from_millis(300));
    }
}
