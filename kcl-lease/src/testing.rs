//! Leases without a fleet, for tests of what is done under them.

use std::sync::Arc;
use std::time::Duration;

use crate::environment::Environment;
use crate::ids::{ProcessId, WorkerId};
use crate::keeper::{HeldLease, Holder, Keeper, LossReason};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::seat::Seat;
use crate::store::{LeaseStore, StoreError};
use crate::timers::Timers;

/// Holds the lease `key` of a table, and makes it if it is missing. There is no fleet: nobody renews the lease, and it does not
/// expire.
///
/// # Errors
/// The table does not take a write, or the lease is somebody else's.
pub async fn hold(
    store: Arc<dyn LeaseStore>,
    lease: &Lease,
    env: Environment,
) -> Result<Option<HeldLease>, StoreError> {
    /// A hundred years.
    const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let worker = WorkerId::from("test");
    store.create(&lease.clone().owned_by(worker.clone())).await?;
    let process = ProcessId::of(&worker, "test");
    let holder = Holder::new(
        store,
        worker,
        process,
        Timers::of(FOR_EVER),
        env,
        Seat::here(),
        Metrics::default(),
    );
    let acquisition = Keeper::new(Arc::new(holder)).acquire(&lease.key, true).await?;
    Ok(acquisition.held())
}

/// Lets a lease be lost, as if the table said so.
pub fn lose(held: &HeldLease, reason: LossReason) {
    held.lose(reason);
}
