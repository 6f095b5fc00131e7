//! What is visible of a worker from outside: plain, serializable snapshots.

use kcl_lease::Problem;
use serde::Serialize;

use super::Shared;

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

/// What a shard's consumer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ShardState {
    /// The shards that it came from are not processed to their ends.
    WaitingOnParents,
    /// Its processor is being made.
    Initializing,
    /// Batches are read and processed.
    Processing,
    /// Everything was processed; the end is being recorded.
    Ending,
    /// It is being given up.
    Draining,
    /// It belongs to another worker.
    Lost,
}

/// One shard of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The shard.
    pub shard_id: String,
    /// What its consumer is doing.
    pub state: ShardState,
    /// What fails at present, reading or processing; `None` after a success.
    pub problem: Option<Problem>,
    /// Why it is in this state, where that is not obvious.
    pub reason: Option<String>,
    /// The last checkpoint: a sequence number (with `:` and a sub-sequence number) or a sentinel.
    pub checkpoint: String,
    /// Milliseconds since a batch was processed or, when nothing waits, since Kinesis said that there is nothing new.
    pub progress_age_ms: u64,
    /// How far reading is behind the newest record, in milliseconds; unknown before the first read.
    pub millis_behind_latest: Option<u64>,
    /// Failed attempts at the same step in a row.
    pub attempts: u32,
    /// Records processed since this worker acquired the lease.
    pub records_processed: u64,
    /// Bytes processed since this worker acquired the lease, with some overhead per record.
    pub bytes_processed: u64,
    /// Records skipped since this worker acquired the lease, as the [`FailurePolicy`](crate::FailurePolicy) says.
    pub records_skipped: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// The application.
    pub application: String,
    /// The stream, as it was configured.
    pub stream: String,
    /// This worker.
    pub worker_id: String,
    /// Where it is in its life.
    pub phase: WorkerPhase,
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

impl WorkerStatus {
    pub(super) fn of(shared: &Shared) -> Self {
        let fleet = shared.fleet().as_ref().map(kcl_lease::Fleet::status);
        let shards = shared.shards();
        Self {
            application: shared.application.clone(),
            stream: shared.stream.clone(),
            worker_id: shared.worker_id.clone(),
            phase: *shared.phase.borrow(),
            is_leader: fleet.as_ref().is_some_and(|fleet| fleet.is_leader),
            leader: fleet
                .as_ref()
                .and_then(|fleet| fleet.leader.as_ref().map(ToString::to_string)),
            workers: fleet.as_ref().and_then(|fleet| fleet.workers),
            leases_held: fleet.as_ref().map_or(0, |fleet| fleet.leases_held),
            problems: shared.health.list(),
            shards: shards
                .values()
                .map(|(held, monitor)| {
                    monitor.status(held.key().to_string(), held.lease().checkpoint.to_string())
                })
                .collect(),
        }
    }
}
