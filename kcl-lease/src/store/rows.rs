//! The rows of the lease table that are not leases, and the table as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ProcessId, WorkerId};
use crate::lease::Lease;
use crate::trouble::{Condition, Trouble};

/// Everything that one scan of the table found.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TableSnapshot {
    /// The leases, by key.
    pub leases: Vec<Lease>,
    /// The workers that announced themselves, by id.
    pub workers: Vec<WorkerRow>,
    /// Rows that should be leases or workers but could not be read.
    pub unreadable: Vec<UnreadableRow>,
    /// Rows of a type that this version does not know. Workers leave them alone.
    pub unknown: Vec<UnreadableRow>,
    /// Read capacity units that the scan consumed.
    pub read_units: f64,
}

impl UnreadableRow {
    /// A row, and what is wrong with it.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
        }
    }
}

impl TableSnapshot {
    /// A table in which every row could be read, and whose scan costs nothing that is told.
    pub fn new(leases: Vec<Lease>, workers: Vec<WorkerRow>) -> Self {
        Self {
            leases,
            workers,
            ..Self::default()
        }
    }
}

/// A row that this version cannot read. It is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnreadableRow {
    /// Primary key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The leader's lock: whoever changes its version last, and keeps changing it, leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeaderLock {
    /// The leader.
    pub owner: WorkerId,
    /// How long observers must see an unchanged version before they may take the lock.
    pub duration: Duration,
    /// Changed by each heartbeat.
    pub version: String,
    /// Set by lock clients that release without deleting.
    pub released: bool,
    /// Digest of the counters of the leases that the leader holds, by which its successor knows that they were not renewed since;
    /// absent for Java leaders.
    pub held_digest: Option<u64>,
    /// Leases whose counters the leader saw standing still; empty for Java leaders.
    pub standstills: Vec<Standstill>,
    /// Workers that are to be ready to lead; empty for Java leaders, and for one that knows of nobody else.
    pub heirs: Vec<WorkerId>,
}

impl LeaderLock {
    /// A lock as a Java leader writes it.
    pub fn new(owner: WorkerId, duration: Duration, version: impl Into<String>) -> Self {
        Self {
            owner,
            duration,
            version: version.into(),
            released: false,
            held_digest: None,
            standstills: Vec::new(),
            heirs: Vec::new(),
        }
    }
}

/// A lease whose counter has not moved, as its leader tells the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Standstill {
    /// Digest of its key, owner and counter.
    pub lease: u64,
    /// For how long, up to the moment before the row was sent; in whole milliseconds.
    pub lasted: Duration,
}

impl Standstill {
    /// A lease, by its digest, whose counter has not moved for so long.
    pub fn new(lease: u64, lasted: Duration) -> Self {
        Self { lease, lasted }
    }
}

/// A worker's own row, by which the leader knows that it exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerRow {
    /// The worker.
    pub id: WorkerId,
    /// Time of the report in seconds since the Unix epoch, by the worker's own clock.
    pub reported_at: u64,
    /// The process that reports; absent for Java workers.
    pub process: Option<ProcessId>,
    /// The worker's fail-over time: for so long it may keep a lease that it cannot renew, whatever others are told. Absent for
    /// Java workers.
    pub failover_time: Option<Duration>,
    /// Counts the reports, since several may fall into one second; 0 for Java workers.
    pub report_number: u64,
    /// When the next report is due at the latest while the worker holds no lease; absent for Java workers, which report
    /// every 30 s by default.
    pub report_period: Option<Duration>,
    /// How busy it is, by the Java KCL's short names: `C` for CPU, `M` for memory, `NI` and `NO` for the network. Empty for
    /// a worker that does not report it.
    pub metrics: BTreeMap<String, WorkerMetric>,
    /// It has just started to measure how busy it is, and cannot tell yet; false for Java workers.
    pub is_measuring: bool,
    /// What keeps it from its work, by its own judgement; none for Java workers.
    pub trouble: Trouble,
    /// An operator's note: since when it is drained, in milliseconds since the Unix epoch. Its reports leave that as it is.
    pub drained_since: Option<u64>,
}

impl WorkerRow {
    /// What a Java worker's row without metrics says.
    pub fn new(id: impl Into<WorkerId>, reported_at: u64) -> Self {
        Self {
            id: id.into(),
            reported_at,
            process: None,
            failover_time: None,
            report_number: 0,
            report_period: None,
            metrics: BTreeMap::new(),
            is_measuring: false,
            trouble: Trouble::default(),
            drained_since: None,
        }
    }

    /// What keeps it from its work, as a leader has to see it: one that is drained is given nothing, and its leases go to others.
    pub fn trouble_to_leaders(&self) -> Trouble {
        let mut trouble = self.trouble.clone();
        if self.drained_since.is_some() {
            trouble.condition = Condition::Unfit;
        }
        trouble
    }

    /// Whether one of its metrics fails, which makes it ineligible for leases.
    pub fn has_failing_metric(&self) -> bool {
        self.metrics.values().any(WorkerMetric::is_failing)
    }
}

/// How busy a worker was lately, by one measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerMetric {
    /// Means over the last report periods in percent (0 to 100), oldest first, at most 10;
    /// [`FAILED`](Self::FAILED) for a period in which nothing could be measured.
    pub samples: Vec<f64>,
    /// The operating range: above this percentage the worker has too much to do.
    pub max_utilization: f64,
}

impl WorkerMetric {
    /// The short name of the CPU.
    pub const CPU: &'static str = "C";
    /// What the Java KCL writes for a period without a measurement.
    pub const FAILED: f64 = -1.0;

    /// Weight of the newest sample in the moving average; the Java KCL's default `workerMetricsEMAAlpha`.
    const ALPHA: f64 = 0.5;

    /// These samples, and the operating range.
    pub fn new(samples: Vec<f64>, max_utilization: f64) -> Self {
        Self {
            samples,
            max_utilization,
        }
    }

    /// Whether the newest sample failed.
    pub fn is_failing(&self) -> bool {
        self.samples.last().is_some_and(|newest| *newest < 0.0)
    }

    /// The moving average in percent, in which the newest sample weighs half; failed samples are left out. 0 if there is
    /// none.
    pub fn utilization(&self) -> f64 {
        let good = self.samples.iter().copied().filter(|sample| *sample >= 0.0);
        good.reduce(|average, sample| Self::ALPHA * sample + (1.0 - Self::ALPHA) * average)
            .unwrap_or(0.0)
    }
}

/// The row `Migration3.0`: which generation of the lease protocol the application's workers speak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientVersion {
    /// `CLIENT_VERSION_3X` for the protocol spoken here.
    pub version: String,
    /// Who wrote it.
    pub modified_by: String,
    /// When, in milliseconds since the Unix epoch.
    pub modified_at: u64,
}

impl ClientVersion {
    /// The protocol spoken here.
    pub const CURRENT: &'static str = "CLIENT_VERSION_3X";

    /// A version, and who wrote it when, in milliseconds since the Unix epoch.
    pub fn new(version: impl Into<String>, modified_by: impl Into<String>, modified_at: u64) -> Self {
        Self {
            version: version.into(),
            modified_by: modified_by.into(),
            modified_at,
        }
    }

    /// Whether a worker that speaks only the current protocol may join.
    pub fn is_current(&self) -> bool {
        self.version == Self::CURRENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(samples: &[f64]) -> WorkerMetric {
        WorkerMetric {
            samples: samples.to_vec(),
            max_utilization: 100.0,
        }
    }

    #[test]
    fn the_newest_sample_weighs_half_and_failed_ones_nothing() {
        for (samples, utilization) in [
            (&[][..], 0.0),
            (&[40.0], 40.0),
            (&[40.0, 80.0], 60.0),
            (&[40.0, -1.0, 80.0], 60.0),
            (&[80.0, 40.0, 0.0], 30.0),
            (&[-1.0], 0.0),
        ] {
            assert_eq!(metric(samples).utilization(), utilization, "{samples:?}");
        }
    }

    #[test]
    fn only_the_newest_sample_can_fail_a_metric() {
        assert!(metric(&[31.25, -1.0]).is_failing());
        assert!(!metric(&[-1.0, 31.25]).is_failing());
        assert!(!metric(&[]).is_failing());
    }
}
