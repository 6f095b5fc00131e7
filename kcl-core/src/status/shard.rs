//! One shard of a worker.

use kcl_lease::Problem;
use serde::Serialize;

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
    /// Nothing is delivered until it is resumed; the lease is kept. See [`WorkerHandle::pause`](crate::WorkerHandle::pause).
    Paused,
    /// Everything was processed; the end is being recorded.
    Ending,
    /// It is being given up.
    Draining,
    /// It belongs to another worker.
    Lost,
}

/// One shard of a worker.
///
/// ```no_run
/// # fn told(handle: &kcl_core::WorkerHandle) {
/// for shard in handle.status().shards.iter().filter(|shard| shard.progress_age_ms > 60_000) {
///     println!("{} stands still: {:?} {:?}", shard.shard_id, shard.problem, shard.reason);
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShardStatus {
    /// The id of its stream, where the worker reads [several](crate::Streams).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The shard.
    pub shard_id: String,
    /// What its consumer is doing.
    pub state: ShardState,
    /// What fails at present, reading or processing; `None` after a success.
    pub problem: Option<Problem>,
    /// Whether it has something to do and has got no further for
    /// [`stalled_after`](crate::WorkerBuilder::stalled_after): since when, and why.
    pub stalled: Option<Problem>,
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
    /// Bytes of payload processed since this worker acquired the lease.
    pub bytes_processed: u64,
    /// Records skipped since this worker acquired the lease, as the [`FailurePolicy`](crate::FailurePolicy) says.
    pub records_skipped: u64,
    /// Records written to the dead letters since this worker acquired the lease.
    pub records_dead_lettered: u64,
}
