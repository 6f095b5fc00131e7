//! A lease without a fleet.

use std::sync::Arc;
use std::time::Duration;

use super::{HeldLease, Holder, Keeper};
use crate::environment::Environment;
use crate::ids::{ProcessId, WorkerId};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::seat::Seat;
use crate::store::{LeaseStore, StoreError};
use crate::timers::Timers;

impl HeldLease {
    /// Holds a lease of a table, and makes it if it is missing. There is no fleet: nobody renews the lease, and it does not expire.
    /// `None` if the lease is somebody else's.
    ///
    /// It is for what works without a fleet, as tests and repairs do, with a table in memory.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use std::time::UNIX_EPOCH;
    /// use kcl_lease::{Checkpoint, Environment, HeldLease, Lease, LeaseKey, MemoryLeaseStore};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let lease = Lease::new(LeaseKey::from("shardId-000000000000"), Checkpoint::TrimHorizon);
    /// let env = Environment::seeded(0, || UNIX_EPOCH);
    /// let held = HeldLease::alone(Arc::new(MemoryLeaseStore::new()), &lease, "repair".into(), env).await?;
    /// held.expect("nobody else's").checkpoint(Checkpoint::ShardEnd).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The table does not take a write.
    pub async fn alone(
        store: Arc<dyn LeaseStore>,
        lease: &Lease,
        worker: WorkerId,
        env: Environment,
    ) -> Result<Option<Self>, StoreError> {
        /// A hundred years.
        const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        store.create(&lease.clone().owned_by(worker.clone())).await?;
        let process = ProcessId::of(&worker, "alone");
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
}
