//! What a fleet reads and writes, by its timers. Pure.
//!
//! Of Rust workers the timers are [`Timers`]; of Java workers those of the KCL 3.5, as measured: a renewal each third of the fail-over time, a
//! report each 30 s, a look for leases each fail-over time, a scan by the leader each two fail-over times, two looks at the lock each 30 s.

use std::time::Duration;

use kcl_lease::Timers;
use serde::Serialize;

const HOURS_PER_MONTH: f64 = 730.0;
/// How often workers with leases report.
const REPORT: f64 = 30.0;
/// What a leader's scans may take in a second, by default.
const SCAN_BUDGET: f64 = 50.0;

/// A fleet, as it was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fleet {
    pub(super) rust_workers: usize,
    pub(super) java_workers: usize,
    /// Rust workers without leases.
    pub(super) idle_workers: usize,
    pub(super) owned_leases: usize,
    /// Read capacity units of a scan.
    pub(super) scan_units: f64,
    /// Writes to leases in a second, as counted.
    pub(super) lease_writes: f64,
    pub(super) failover_time_seconds: f64,
    pub(super) leader_is_java: bool,
}

/// Request units in a second.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Units {
    pub(super) writes: f64,
    pub(super) reads: f64,
}

impl Fleet {
    /// With this fail-over time.
    pub(super) fn units(&self, failover_time: Duration) -> Units {
        let timers = Timers::of(failover_time);
        let (look, renewal) = (timers.look().as_secs_f64(), timers.renewal().as_secs_f64());
        let heartbeat = timers.leader_heartbeat().as_secs_f64();
        let (rust, java) = (self.rust_workers as f64, self.java_workers as f64);
        let (idle, leases) = (self.idle_workers as f64, self.owned_leases as f64);
        let scan = self.scan_units.max(0.5);
        let f = failover_time.as_secs_f64();
        let mut all = Units {
            writes: self.lease_writes_at(leases, renewal),
            reads: 0.0,
        };
        all.writes += (rust - idle) / REPORT + idle / renewal + java / REPORT;
        // Each looks for leases that were given to it.
        all.reads += 0.5 * (rust / look + java / f);
        if self.leader_is_java {
            all.writes += 1.0 / REPORT;
            all.reads += scan / (2.0 * f) + scan / 120.0;
        } else if self.rust_workers > 0 {
            all.writes += 1.0 / heartbeat;
            let interval = (scan / SCAN_BUDGET).min(2.0 * f).max(look);
            all.reads += scan / interval;
        }
        // Those that do not lead look at the lock.
        let followers = |count: f64, leads: bool| if leads { (count - 1.0).max(0.0) } else { count };
        all.reads += followers(rust, !self.leader_is_java) / heartbeat;
        all.reads += followers(java, self.leader_is_java) * 2.0 / REPORT;
        all
    }

    /// A checkpoint takes the place of a renewal. What was counted beyond renewals are checkpoints, and stays.
    fn lease_writes_at(&self, leases: f64, renewal: f64) -> f64 {
        let renewals_now = leases * 3.0 / self.failover_time_seconds.max(0.001);
        let is_busy = self.lease_writes > renewals_now * 1.2;
        let renewals_then = leases / renewal;
        if is_busy {
            self.lease_writes.max(renewals_then)
        } else {
            renewals_then
        }
    }
}

/// In dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prices {
    /// Of one write request unit.
    pub(super) write: f64,
    pub(super) read: f64,
    pub(super) write_capacity_hour: f64,
    pub(super) read_capacity_hour: f64,
}

impl Prices {
    /// A month on demand.
    pub(super) fn on_demand(self, units: Units) -> f64 {
        (units.writes * self.write + units.reads * self.read) * 3_600.0 * HOURS_PER_MONTH
    }

    /// A month of so much capacity.
    pub(super) fn capacity(self, reads: f64, writes: f64) -> f64 {
        (reads * self.read_capacity_hour + writes * self.write_capacity_hour) * HOURS_PER_MONTH
    }

    /// A month of capacity for twice the average, for the table and for its index, which is written to only when owners change.
    pub(super) fn provisioned(self, units: Units) -> f64 {
        let with_room = |units: f64| (units * 2.0).ceil().max(1.0);
        let table = self.capacity(with_room(units.reads), with_room(units.writes));
        table + self.capacity(with_room(units.reads / 2.0), 5.0_f64.min(with_room(units.writes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US_EAST_1: Prices = Prices {
        write: 0.625e-6,
        read: 0.125e-6,
        write_capacity_hour: 0.00065,
        read_capacity_hour: 0.00013,
    };

    fn fleet() -> Fleet {
        Fleet {
            rust_workers: 4,
            java_workers: 0,
            idle_workers: 0,
            owned_leases: 100,
            scan_units: 8.0,
            lease_writes: 30.0,
            failover_time_seconds: 10.0,
            leader_is_java: false,
        }
    }

    #[test]
    fn renewals_are_most_of_the_cost_and_go_with_the_fail_over_time() {
        let now = fleet().units(Duration::from_secs(10));
        assert!((31.0..31.3).contains(&now.writes), "{now:?}");
        let slow = fleet().units(Duration::from_secs(30));
        assert!((10.4..10.6).contains(&slow.writes), "{slow:?}");
        let dollars = US_EAST_1.on_demand(now);
        assert!((50.0..60.0).contains(&dollars), "{dollars}");
        assert!(US_EAST_1.on_demand(slow) < dollars / 2.0);
    }

    #[test]
    fn checkpoints_that_take_the_place_of_renewals_stay() {
        let busy = Fleet {
            lease_writes: 100.0,
            ..fleet()
        };
        for seconds in [10, 60] {
            let units = busy.units(Duration::from_secs(seconds));
            assert!((100.0..102.0).contains(&units.writes), "{units:?}");
        }
    }

    #[test]
    fn java_workers_cost_by_their_own_timers() {
        let java = Fleet {
            rust_workers: 0,
            java_workers: 5,
            leader_is_java: true,
            ..fleet()
        };
        let units = java.units(Duration::from_secs(10));
        assert!((30.1..30.3).contains(&units.writes), "{units:?}");
        assert!((0.9..1.1).contains(&units.reads), "{units:?}");
    }

    #[test]
    fn an_empty_table_costs_next_to_nothing_and_breaks_nothing() {
        let nobody = Fleet {
            rust_workers: 0,
            owned_leases: 0,
            lease_writes: 0.0,
            scan_units: 0.0,
            ..fleet()
        };
        let units = nobody.units(Duration::from_secs(10));
        assert_eq!(units, Units::default());
    }
}
