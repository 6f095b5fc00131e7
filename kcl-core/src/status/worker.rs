//! One worker.

use kcl_lease::Problem;
use serde::Serialize;

use super::shard::ShardStatus;

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerPhase {
    /// It prepares the lease table and joins the fleet.
    Starting,
    /// It processes the shards whose leases it holds.
    Running,
    /// It hands its leases on.
    Stopping,
    /// It is gone.
    Stopped,
}

/// One worker.
///
/// ```no_run
/// # fn told(handle: &kcl_core::WorkerHandle) -> serde_json::Result<()> {
/// let status = handle.status();
/// let slowest = status.shards.iter().filter_map(|shard| shard.millis_behind_latest).max();
/// println!("{slowest:?} ms behind; {}", serde_json::to_string(&status)?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The application.
    pub application: String,
    /// The stream, as it was configured; several with commas between them, as they were named last.
    pub stream: String,
    /// This worker.
    pub worker_id: String,
    /// Where it is in its life.
    pub phase: WorkerPhase,
    /// Whether all of its shards are paused: see [`WorkerHandle::pause`](crate::WorkerHandle::pause).
    pub is_paused: bool,
    /// Whether it leads the fleet.
    pub is_leader: bool,
    /// The leader, as far as it is known.
    pub leader: Option<String>,
    /// Workers alive; known only to the leader.
    pub workers: Option<usize>,
    /// Leases that this worker holds.
    pub leases_held: usize,
    /// What is wrong at present with the worker's own work (starting, renewing, looking for leases, leading); empty while
    /// all is well. Failures of a shard are shown with the shard.
    pub problems: Vec<Problem>,
    /// Its shards, by id.
    pub shards: Vec<ShardStatus>,
}
