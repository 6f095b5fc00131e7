//! Who holds leases, and by which rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::term::Moment;
use crate::environment::Environment;
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::seat::Seat;
use crate::store::LeaseStore;
use crate::timers::Timers;

/// One process of a worker, as its leases know it.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) worker: WorkerId,
    pub(super) process: ProcessId,
    pub(super) timers: Timers,
    pub(super) env: Environment,
    /// Where leases are written, whoever asks for it.
    pub(super) seat: Seat,
    pub(super) metrics: Metrics,
    /// Another process has taken this worker's name.
    pub(super) superseded: CancellationToken,
    /// Another process of this worker's name began with a lease of this one: one of them has lost the name.
    pub(super) doubted: Notify,
    /// The leases that this worker gave to a worker of its choice, as they were left.
    left: Mutex<BTreeMap<LeaseKey, Legacy>>,
}

/// A lease as it was left to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Legacy {
    /// To whom.
    pub(crate) to: WorkerId,
    /// The counter then. Whoever begins with the lease moves it.
    pub(crate) counter: u64,
}

impl Legacy {
    /// Whether the row shows that the successor began with it, or that it is somebody else's business by now.
    pub(crate) fn is_begun_in(&self, row: Option<&Lease>) -> bool {
        row.is_none_or(|row| row.counter != self.counter || row.owner.as_ref() != Some(&self.to))
    }
}

impl Holder {
    pub(crate) fn new(
        store: Arc<dyn LeaseStore>,
        worker: WorkerId,
        process: ProcessId,
        timers: Timers,
        env: Environment,
        seat: Seat,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            worker,
            process,
            timers,
            env,
            seat,
            metrics,
            superseded: CancellationToken::new(),
            doubted: Notify::new(),
            left: Mutex::default(),
        }
    }

    pub(super) fn leave(&self, key: &LeaseKey, to: WorkerId, counter: u64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.insert(key.clone(), Legacy { to, counter });
    }

    pub(super) fn take_left(&self) -> BTreeMap<LeaseKey, Legacy> {
        std::mem::take(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present moment, on the clocks by which leases expire.
    pub(super) fn now(&self) -> Moment {
        Moment::now(&self.env)
    }

    /// Whether a process is another one of this worker's name.
    pub(super) fn is_namesake(&self, process: &ProcessId) -> bool {
        *process != self.process && process.is_of(&self.worker)
    }
}

#[cfg(test)]
impl Holder {
    /// The process `PROCESS` of a worker on this runtime.
    pub(super) fn for_tests(
        store: &Arc<dyn LeaseStore>,
        worker: &str,
        failover_time: std::time::Duration,
    ) -> Arc<Self> {
        let worker = WorkerId::from(worker);
        let process = ProcessId::of(&worker, "p");
        let env = Environment::seeded(7, || std::time::UNIX_EPOCH);
        Arc::new(Self::new(
            Arc::clone(store),
            worker,
            process,
            Timers::of(failover_time),
            env,
            Seat::here(),
            Metrics::default(),
        ))
    }
}
