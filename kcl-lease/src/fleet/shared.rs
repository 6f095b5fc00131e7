//! What the loops of one worker share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::declared::Declared;
use super::options::FleetOptions;
use super::watched::Broken;
use crate::environment::Environment;
use crate::health::Health;
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::keeper::{HeldLease, Keeper};
use crate::load::Meter;
use crate::seat::Seat;
use crate::store::{LeaseStore, TableSnapshot};

/// The code of the problem that two processes have one name.
const NAME_TAKEN: &str = "worker-id-taken";

/// Shared by the loops; it does not own them, so that they end with their fleet.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn LeaseStore>,
    /// Where the loops run.
    pub(super) seat: Seat,
    /// This run of the worker.
    pub(super) process: ProcessId,
    pub(super) worker_id: WorkerId,
    pub(super) options: FleetOptions,
    pub(super) env: Environment,
    pub(super) keeper: Keeper,
    pub(super) meter: Meter,
    pub(super) health: Health,
    pub(super) declared: Declared,
    /// Reports written so far.
    pub(super) reports: AtomicU64,
    /// It leaves, and its row was its own until it was deleted: what bears its name is its own, too.
    pub(super) has_retired: AtomicBool,
    /// Wakes the discovery of assignments.
    pub(super) discover: Notify,
    /// Leases that were created as this worker's own and are not taken up yet.
    pub(super) created: Mutex<BTreeSet<LeaseKey>>,
    /// Wakes the leader's scan.
    pub(super) scan: Notify,
    /// The worker takes no more leases and announces itself no more.
    pub(super) leaving: CancellationToken,
    /// The worker stops competing for leadership, and releases it.
    pub(super) resigning: CancellationToken,
    /// The first loop that ended although it may not.
    pub(super) broken: watch::Sender<Option<Broken>>,
    pub(super) is_leader: watch::Sender<bool>,
    pub(super) table: watch::Sender<Option<Arc<TableSnapshot>>>,
    pub(super) acquired: mpsc::UnboundedSender<HeldLease>,
    pub(super) fleet: Mutex<Knowledge>,
}

/// What this worker knows of the others.
#[derive(Debug, Default, Clone)]
pub(super) struct Knowledge {
    pub(super) leader: Option<WorkerId>,
    /// Known only to the leader.
    pub(super) workers: Option<usize>,
    pub(super) dead: Vec<WorkerId>,
    /// Whom this worker, if it leads, names for the time after it; first those that the leader before it named.
    pub(super) heirs: Vec<WorkerId>,
    /// Hand-offs from this worker that it can finish only once its processors have stopped.
    pub(super) unfinished: Vec<LeaseKey>,
    /// Workers of our kind, when this one began to leave: they write to a lease as soon as they find it.
    pub(super) prompt: BTreeSet<WorkerId>,
}

impl Shared {
    pub(super) fn me(&self) -> &WorkerId {
        &self.worker_id
    }

    /// Another process has taken this worker's name: nothing is written any more that could be taken for that one's word.
    pub(super) fn give_way(&self) {
        self.health.raise(
            NAME_TAKEN,
            format!(
                "another process was started under the worker id {}; give each process an id of its own, or leave the id out",
                self.me()
            ),
        );
        self.leaving.cancel();
        self.resigning.cancel();
        self.keeper.give_way();
    }

    pub(super) fn created(&self) -> MutexGuard<'_, BTreeSet<LeaseKey>> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn heirs(&self) -> Vec<WorkerId> {
        let knowledge = self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.heirs.clone()
    }

    pub(super) fn epoch_seconds(&self) -> u64 {
        self.env.since_epoch().as_secs()
    }
}
