//! Leases: who may process what, agreed on through one DynamoDB table.
//!
//! A fleet of workers shares partitioned work (for the Kinesis Client Library: the shards of a stream). Each partition has
//! a *lease*, a row that names its owner and how far it got. Owners renew their leases; the worker that holds the leader
//! lock assigns leases without a living owner and evens out the load; a stopping worker hands its leases on. The table has
//! the single-table format of the Java KCL 3.5, so both can share it.
//!
//! What holds, whatever fails:
//!
//! - A lease is written only under a condition on the row as its writer last saw it. A worker that lost its lease cannot
//!   checkpoint.
//! - An owner stops trusting a lease ([`HeldLease::is_valid`]) before anyone else may take it.
//! - A write whose answer was lost is resolved by reading the row back.
//! - Losing a lease is a signal ([`HeldLease::watch`]), not a surprise.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use kcl_lease::{Environment, Membership, FleetOptions, JoinError, MemoryLeaseStore};
//! # async fn example() -> Result<(), JoinError> {
//! let store = Arc::new(MemoryLeaseStore::new());
//! let (fleet, mut acquired) = Membership::join(store, "worker-1", FleetOptions::default(), Environment::system()).await?;
//! while let Some(lease) = acquired.recv().await {
//!     println!("{} is ours, token {}", lease.key(), lease.fencing_token());
//! }
//! # drop(fleet);
//! # Ok(())
//! # }
//! ```

mod checkpoint;
mod environment;
mod fleet;
mod health;
mod ids;
mod keeper;
mod leader;
mod lease;
mod load;
mod metrics;
mod plan;
mod seat;
mod signing;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod timers;
mod trouble;

// What is agreed on.
pub use self::checkpoint::{
    Checkpoint, ExtendedSequenceNumber, InvalidPosition, InvalidSequenceNumber, PendingCheckpoint,
    SequenceNumber,
};
pub use self::ids::{FencingToken, LeaseKey, ProcessId, WorkerId};
pub use self::lease::{HashRange, Lease, StreamIdentity, StreamShard};

// Being a member of a fleet, and holding leases.
pub use self::environment::Environment;
pub use self::fleet::{Admission, Broken, FleetOptions, FleetStatus, JoinError, Membership};
pub use self::fleet::{Forecast, JudgedLease, JudgedWorker, PlannedMove, Standing};
pub use self::keeper::{HeldLease, HeldState, LeaseWriteError, LossReason};
pub use self::load::{Load, LoadError, LoadSource};
pub use self::plan::Balancing;
pub use self::timers::Timers;

// What is told of problems, and in numbers.
pub use self::health::{Activity, Cause, Health, Problem};
pub use self::metrics::{Counter, Gauge, Histogram, Labels, Metrics, Recorder};
pub use self::signing::{SigningProblem, brief};
pub use self::trouble::{Condition, Trouble};

// The table, wherever it lies.
#[cfg(any(test, feature = "conformance"))]
pub use self::store::conformance;
#[cfg(feature = "dynamodb")]
pub use self::store::dynamodb::{
    Billing, DynamoDbLeaseStore, Generation, MigrationRow, TableCreation, TableOptions,
};
pub use self::store::{
    ClientVersion, Effect, LeaderLock, LeaseChange, LeaseStore, MemoryLeaseStore, Requirement, Standstill,
    StoreError, StoreErrorKind, TableSnapshot, UnreadableRow, WorkerMetric, WorkerRow, WriteOutcome,
};
