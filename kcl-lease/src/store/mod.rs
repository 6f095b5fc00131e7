//! The lease table as a set of semantic, conditional operations.

mod bounded;
mod change;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(feature = "dynamodb")]
pub(crate) mod dynamodb;
mod error;
mod memory;
mod rows;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use async_trait::async_trait;

pub(crate) use self::bounded::BoundedStore;
pub use self::change::{Effect, LeaseChange, Requirement};
pub use self::error::{StoreError, StoreErrorKind};
pub use self::memory::MemoryLeaseStore;
pub use self::rows::{
    ClientVersion, LeaderLock, Standstill, TableSnapshot, UnreadableRow, WorkerMetric, WorkerRow,
};
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::lease::{Lease, StreamIdentity};

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome {
    /// Applied; the row as it is now.
    Applied(Lease),
    /// A condition did not hold; the row as it is, or `None` if there is none.
    ///
    /// This is also how a repeated request looks whose first sending was applied: compare the row with the change.
    Refused(Option<Lease>),
}

/// A lease table.
///
/// Implementations translate each operation into one atomic step of their storage. They are shared by all loops of a
/// worker and called concurrently. The suite behind the feature `conformance` checks an implementation.
///
/// Rows are written and read as they are; they have serde. What a change of a lease requires and what it does is data, see
/// [`LeaseChange`]. This one keeps everything in a file:
#[doc = concat!("```\n", include_str!("../../examples/file_store.rs"), "```")]
#[async_trait]
pub trait LeaseStore: fmt::Debug + Send + Sync + 'static {
    /// Makes the table usable: creates it and its index if that is allowed, and waits until the table can be used. The index may
    /// still be built for some minutes.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Every row. May be stale by a second or so; decisions made from it must be guarded by conditional writes.
    async fn scan(&self) -> Result<TableSnapshot, StoreError>;

    /// Every row, as of now (strongly consistent): for what must not overlook one, as when all leases are set aside.
    async fn scan_now(&self) -> Result<TableSnapshot, StoreError>;

    /// One lease, as of now (strongly consistent).
    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError>;

    /// Keys of the leases whose `leaseOwner` is `worker`, those in hand-off to it included. May be stale.
    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError>;

    /// Adds a lease; false if one with this key exists.
    async fn create(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Applies `change` if its requirements hold, relative to the row as last `seen`.
    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError>;

    /// Removes a lease if nobody has written to it since it was `seen`, and no operator has ordered that its shard is processed anew;
    /// true if it is gone.
    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError>;

    /// The leader's lock, as of now (strongly consistent).
    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError>;

    /// Writes `lock` if there is none (`seen` is `None`) or if the version is still `seen`; false if refused.
    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError>;

    /// The leader's heartbeat: replaces version `seen` by the one in `lock`; false if the lock is no longer the owner's. Also
    /// its last one, with the mark that the lock is released.
    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError>;

    /// Deletes the lock if owner and version are those of `lock`; false if they are not.
    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError>;

    /// Writes a worker's own row when the worker starts: from now on the row belongs to the process that it names, whoever
    /// wrote it before. A request that arrives late, after another process has announced itself, changes nothing.
    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError>;

    /// Writes a worker's own row anew; false if the row belongs to another process meanwhile. A report that arrives after one with
    /// a higher [number](WorkerRow::report_number) changes nothing. What an operator noted in the row stays.
    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError>;

    /// Deletes a worker's own row, so that it is no longer a target for assignments; false if it belongs to another process.
    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError>;

    /// Deletes a worker's row unless it was written since it was `seen`; true if it is gone.
    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError>;

    /// Whether a worker's row exists, as of now (strongly consistent).
    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError>;

    /// The version of the protocol that the application's workers agreed on; writes `ours` if there is none yet.
    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError>;

    /// The stream that the leases are of, as recorded, as of now (strongly consistent); `None` if it was not.
    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError>;

    /// Records the stream that the leases are of, in place of the one that was `seen`; false if another one is recorded. The
    /// version of the protocol must have been agreed on.
    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError>;

    /// Takes a lease out of use and keeps what it says, but for its owner, under a key that names the stream it was of; false
    /// if somebody wrote to it since it was `seen`. Of a lease that is set aside twice, because somebody made it anew between,
    /// what was further processed is kept.
    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError>;

    /// The leases that were set aside, with the stream that each was of.
    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError>;
}
