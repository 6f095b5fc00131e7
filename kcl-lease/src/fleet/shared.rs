//! What the loops of one worker share.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::declared::Declared;
use super::options::FleetOptions;
use crate::environment::Environment;
use crate::health::Health;
use crate::ids::{LeaseKey, WorkerId};
use crate::keeper::{HeldLease, Keeper};
use crate::load::Meter;
use crate::store::{LeaseStore, TableSnapshot};

/// Shared by the loops; it does not own them, so that they end with their fleet.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn LeaseStore>,
    pub(super) options: FleetOptions,
    pub(super) env: Environment,
    pub(super) keeper: Keeper,
    pub(super) meter: Meter,
    pub(super) health: Health,
    pub(super) declared: Declared,
    /// Reports written so far.
    pub(super) reports: AtomicU64,
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
}

impl Shared {
    pub(super) fn me(&self) -> &WorkerId {
        &self.options.worker_id
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
