//! What is visible of a worker from outside, as plain, serializable snapshots; and where its shards note what goes into them.

mod monitor;
mod shard;
mod vitals;
mod worker;

pub(crate) use self::monitor::ShardMonitor;
pub use self::shard::{ShardState, ShardStatus};
pub(crate) use self::vitals::{Failure, Vitals, Work};
pub use self::worker::{WorkerPhase, WorkerStatus};
