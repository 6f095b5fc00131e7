//! The rows of the lease table that are not leases, and the table as a whole.

use std::time::Duration;

use crate::ids::WorkerId;
use crate::lease::Lease;

/// Everything that one scan of the table found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableSnapshot {
    /// The leases, by key.
    pub leases: Vec<Lease>,
    /// The workers that announced themselves, by id.
    pub workers: Vec<WorkerRow>,
    /// Rows that should be leases or workers but could not be read.
    pub unreadable: Vec<UnreadableRow>,
    /// Read capacity units that the scan consumed.
    pub read_units: f64,
}

/// A row that this version cannot read. It is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Primary key.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The leader's lock: whoever changes its version last, and keeps changing it, leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderLock {
    /// The leader.
    pub owner: WorkerId,
    /// How long observers must see an unchanged version before they may take the lock.
    pub duration: Duration,
    /// Changed by each heartbeat.
    pub version: String,
    /// Set by lock clients that release without deleting.
    pub released: bool,
    /// Digest of the counters of the leases that the leader holds; absent for Java leaders. See
    /// [`crate::plan::counter_digest`].
    pub held_digest: Option<u64>,
}

/// A worker's own row, by which the leader knows that it exists.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRow {
    /// The worker.
    pub id: WorkerId,
    /// Time of the report in seconds since the Unix epoch, by the worker's own clock.
    pub reported_at: u64,
    /// Counts the reports, since several may fall into one second; 0 for Java workers.
    pub report_number: u64,
    /// When the next report is due at the latest while the worker holds no lease; absent for Java workers, which report
    /// every 30 s by default.
    pub report_period: Option<Duration>,
    /// Whether the newest sample of one of its metrics failed, which makes it ineligible for leases.
    pub has_failing_metric: bool,
}

/// The row `Migration3.0`: which generation of the lease protocol the application's workers speak.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Whether a worker that speaks only the current protocol may join.
    pub fn is_current(&self) -> bool {
        self.version == Self::CURRENT
    }
}
