//! The fleet as an observer judges it.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::WorkerId;
use crate::lease::Lease;
use crate::store::WorkerMetric;
use crate::trouble::Trouble;

/// One lease as the observer judges it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LeaseView {
    /// The row.
    pub(crate) lease: Lease,
    /// The judgement.
    pub(crate) state: LeaseState,
    /// Whether its owner has begun with it.
    pub(crate) claim: Claim,
    /// Its last change of owner, if the observer saw one.
    pub(crate) moved: Option<Relocation>,
    /// Workers that it left lately, for whatever reason, and that were there ever since, each with how long ago that was.
    pub(crate) left: BTreeMap<WorkerId, Duration>,
    /// Its mean throughput in KB/s, if it is known. What the row says is about some seconds; a lease is moved for minutes.
    pub(crate) kbps: Option<f64>,
}

/// A change of a lease's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relocation {
    /// The last owner before; none for a lease that was nobody's.
    pub(crate) from: Option<WorkerId>,
    /// How long ago; for a hand-off since it was finished.
    pub(crate) ago: Duration,
}

/// Whether the owner of a lease has begun with it, as far as can be told from its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Certainly not: the assignment was the last write, and the owner, a worker of our kind, begins with a write.
    No,
    /// It cannot be told: the lease was seen for the first time, or the owner may have written between two scans.
    Unknown,
    /// It has written since.
    Yes,
}

/// What may be done with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Its shard is finished: nothing is to be assigned.
    Ended,
    /// Nobody owns it.
    Unowned,
    /// Its owner has been silent for longer than the fail-over time, or is known to be dead.
    Expired,
    /// Its owner renews it.
    Live,
    /// Its processor is being stopped for the next owner.
    HandOff {
        /// For longer than the time-out.
        overdue: bool,
    },
}

/// One worker as the observer judges it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerView {
    /// The worker.
    pub(crate) id: WorkerId,
    /// Alive, announced and well: may be given leases. A worker with a failing metric is not well as long as another one
    /// is.
    pub(crate) eligible: bool,
    /// Eligible, but silent for longer than a healthy worker is: keeps what it has and is given nothing more until it
    /// is heard of.
    pub(crate) overdue: bool,
    /// It has shown no life, but has not been watched for as long as that takes a living one.
    pub(crate) is_unheard: bool,
    /// How busy it says it is.
    pub(crate) metrics: BTreeMap<String, WorkerMetric>,
    /// It has only just joined, and has not measured for long enough how busy it is.
    pub(crate) is_unmeasured: bool,
    /// What it says of its own work.
    pub(crate) trouble: Trouble,
}

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FleetView {
    /// Leases by key.
    pub(crate) leases: Vec<LeaseView>,
    /// Workers by id.
    pub(crate) workers: Vec<WorkerView>,
    /// When the next owned lease expires unless it is renewed.
    pub(crate) next_expiry: Option<Instant>,
}

impl FleetView {
    /// Workers that may be given leases.
    pub(crate) fn eligible(&self) -> usize {
        self.workers.iter().filter(|worker| worker.eligible).count()
    }

    /// Leases of shards that are not finished.
    pub(crate) fn open(&self) -> usize {
        let is_open = |view: &&LeaseView| view.state != LeaseState::Ended;
        self.leases.iter().filter(is_open).count()
    }

    /// Those of them that nobody has, or whose owners are silent.
    pub(crate) fn waiting(&self) -> usize {
        let is_waiting = |view: &&LeaseView| matches!(view.state, LeaseState::Unowned | LeaseState::Expired);
        self.leases.iter().filter(is_waiting).count()
    }
}
