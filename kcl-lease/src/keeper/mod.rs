//! The leases that this worker holds: one writer each, renewals, checkpoints, and loss as a signal.

mod held;
mod renewal;
mod resolve;
mod standing;
mod throughput;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::held::HeldLease;
pub(crate) use self::renewal::RenewalOptions;
pub use self::standing::{LeaseWriteError, LossReason, Standing};
use crate::ids::{LeaseKey, WorkerId};
use crate::plan::counter_digest;
use crate::store::{LeaseStore, StoreError};

/// The held leases of one worker. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    store: Arc<dyn LeaseStore>,
    me: WorkerId,
    failover_time: Duration,
    held: Arc<Mutex<BTreeMap<LeaseKey, HeldLease>>>,
    /// Lost leases whose processors have not let go of them.
    lost: Arc<Mutex<Vec<HeldLease>>>,
}

/// How many of all these writes may be under way at once. However many there are, twenty round trips are enough.
pub(crate) fn at_once(least: usize, all: usize) -> usize {
    least.max(all.div_ceil(20))
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn LeaseStore>, me: WorkerId, failover_time: Duration) -> Self {
        Self {
            store,
            me,
            failover_time,
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

    /// Starts to hold a lease that the table assigns to this worker, by renewing it once.
    ///
    /// `None` if by now it belongs to somebody else, is still being handed off, or is held already.
    pub(crate) async fn acquire(&self, key: &LeaseKey) -> Result<Option<HeldLease>, StoreError> {
        if self.holds(key) {
            return Ok(None);
        }
        let Some(lease) = self.store.get(key).await? else {
            return Ok(None);
        };
        if lease.owner.as_ref() != Some(&self.me) || lease.is_in_hand_off() {
            return Ok(None);
        }
        let held = HeldLease::new(
            Arc::clone(&self.store),
            self.me.clone(),
            lease,
            self.failover_time,
        );
        match held.renew().await {
            Ok(()) => {}
            Err(LeaseWriteError::Lost(_)) => return Ok(None),
            Err(LeaseWriteError::Store(error)) => return Err(error),
        }
        held.fix_token();
        let mut map = self.map();
        if map.get(key).is_some_and(|other| !other.is_lost()) {
            return Ok(None);
        }
        let before = map.insert(key.clone(), held.clone());
        self.lost().extend(before);
        Ok(Some(held))
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
