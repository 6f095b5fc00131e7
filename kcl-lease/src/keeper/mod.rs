//! The leases that this worker holds: one writer each, renewals, checkpoints, and loss as a signal.

mod alone;
mod held;
mod held_state;
mod holder;
mod renewal;
mod resolve;
mod term;
mod throughput;

pub use self::held::HeldLease;
pub use self::held_state::{HeldState, LeaseWriteError, LossReason};
pub(crate) use self::holder::{Holder, Legacy};
pub(crate) use self::renewal::RenewalOptions;
use crate::ids::{LeaseKey, WorkerId};
use crate::plan::counter_digest;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The held leases of one worker. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    holder: Arc<Holder>,
    held: Arc<Mutex<BTreeMap<LeaseKey, HeldLease>>>,
    /// Lost leases whose processors have not let go of them.
    lost: Arc<Mutex<Vec<HeldLease>>>,
}

/// What came of an attempt to take up a lease.
#[derive(Debug)]
pub(crate) enum Acquisition {
    /// It is held now.
    Held(HeldLease),
    /// By now it belongs to somebody else, is still being handed off, or is held already.
    NotOurs,
    /// Another process of this worker's name held it last.
    OfANamesake,
}

impl Acquisition {
    pub(crate) fn held(self) -> Option<HeldLease> {
        match self {
            Self::Held(held) => Some(held),
            _ => None,
        }
    }
}

/// How many of all these writes may be under way at once. However many there are, twenty round trips are enough.
pub(crate) fn at_once(least: usize, all: usize) -> usize {
    least.max(all.div_ceil(20))
}

impl Keeper {
    pub(crate) fn new(holder: Arc<Holder>) -> Self {
        Self {
            holder,
            held: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// The leases held now, by key.
    pub(crate) fn held(&self) -> Vec<HeldLease> {
        self.map()
            .values()
            .filter(|held| !held.is_lost())
            .cloned()
            .collect()
    }

    pub(crate) fn holds(&self, key: &LeaseKey) -> bool {
        self.map().get(key).is_some_and(|held| !held.is_lost())
    }

    /// Whether a processor may still be at work for a lease that is no longer held.
    pub(crate) fn is_still_processed(&self, key: &LeaseKey) -> bool {
        self.forget_lost();
        self.lost().iter().any(|lost| lost.key() == key)
    }

    /// What the leader says of its leases with each heartbeat.
    pub(crate) fn digest(&self) -> u64 {
        let counters: Vec<_> = self
            .held()
            .iter()
            .map(|held| (held.key().clone(), held.counter()))
            .collect();
        counter_digest(counters.iter().map(|(key, counter)| (key, *counter)))
    }

    /// Starts to hold a lease that the table assigns to this worker, by writing to it once.
    ///
    /// One that another process of this worker's name held last is taken up only if this process `bears_the_name`.
    pub(crate) async fn acquire(
        &self,
        key: &LeaseKey,
        bears_the_name: bool,
    ) -> Result<Acquisition, StoreError> {
        if self.holds(key) || self.is_superseded() {
            return Ok(Acquisition::NotOurs);
        }
        let Some(lease) = self.holder.store.get(key).await? else {
            return Ok(Acquisition::NotOurs);
        };
        if lease.owner.as_ref() != Some(&self.holder.worker) || lease.is_in_hand_off() {
            return Ok(Acquisition::NotOurs);
        }
        let process = lease.process.as_ref();
        if !bears_the_name && process.is_some_and(|process| self.holder.is_namesake(process)) {
            return Ok(Acquisition::OfANamesake);
        }
        let held = HeldLease::new(Arc::clone(&self.holder), lease);
        match held.begin().await {
            Ok(()) => {}
            Err(LeaseWriteError::Lost(_)) => return Ok(Acquisition::NotOurs),
            Err(LeaseWriteError::Store(error)) => return Err(error),
        }
        let mut map = self.map();
        if map.get(key).is_some_and(|other| !other.is_lost()) {
            return Ok(Acquisition::NotOurs);
        }
        let before = map.insert(key.clone(), held.clone());
        self.lost().extend(before);
        Ok(Acquisition::Held(held))
    }

    /// A lease was given to somebody, and has this counter now.
    pub(crate) fn leave(&self, key: &LeaseKey, to: WorkerId, counter: u64) {
        self.holder.leave(key, to, counter);
    }

    /// The leases that were given to somebody since this was last asked.
    pub(crate) fn take_left(&self) -> BTreeMap<LeaseKey, Legacy> {
        self.holder.take_left()
    }

    /// Completes when another process has taken this worker's name.
    pub(crate) async fn superseded(&self) {
        self.holder.superseded.cancelled().await;
    }

    /// Completes when another process of this worker's name began with a lease of this one. The worker's row tells whose the name
    /// is: the other one may not have learnt yet that it has lost it.
    pub(crate) async fn doubted(&self) {
        self.holder.doubted.notified().await;
    }

    pub(crate) fn is_superseded(&self) -> bool {
        self.holder.superseded.is_cancelled()
    }

    /// Another process has taken this worker's name: whatever it holds is that one's.
    pub(crate) fn give_way(&self) {
        self.holder.superseded.cancel();
        for held in self.held() {
            held.lose(LossReason::Superseded);
        }
    }

    /// Forgets leases that are no longer held, and in the end those that nobody has in hand any more.
    fn forget_lost(&self) {
        let lost = self
            .map()
            .extract_if(.., |_, held| held.is_lost())
            .collect::<Vec<_>>();
        let mut all = self.lost();
        all.extend(lost.into_iter().map(|(_, held)| held));
        all.retain(HeldLease::is_in_use);
    }

    fn lost(&self) -> MutexGuard<'_, Vec<HeldLease>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, HeldLease>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
