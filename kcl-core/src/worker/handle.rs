//! Watching and stopping a worker from elsewhere.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use kcl_lease::LeaseWriteError;

use super::Shared;
use super::snapshot::snapshot;
use crate::config::ShardId;
use crate::status::{WorkerPhase, WorkerStatus};

/// A handle to a worker. It does not keep the worker alive. Cheap to clone.
///
/// ```no_run
/// # async fn stop(worker: kcl_core::Worker) {
/// let handle = worker.handle();
/// tokio::spawn(worker.run());
/// for shard in handle.status().shards {
///     println!("{}: {:?}", shard.shard_id, shard.state);
/// }
/// handle.shutdown().await;
/// # }
/// ```
#[derive(Clone)]
pub struct WorkerHandle {
    shared: Arc<Shared>,
}

impl WorkerHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the worker is doing.
    pub fn status(&self) -> WorkerStatus {
        snapshot(&self.shared)
    }

    /// Delivers nothing from now on, in no shard, until [`resume`](Self::resume). The leases are kept; reading goes on until the
    /// buffers are full; a call that is under way is not interrupted, what [`each_record`](crate::each_record) has taken in is handled, and
    /// checkpoints can be made. The shards' states are
    /// [`Paused`](crate::ShardState::Paused). Shards that other workers take over go on there.
    pub fn pause(&self) {
        self.shared.pauses.send_if_modified(|pauses| pauses.set_all(true));
    }

    /// Ends [`pause`](Self::pause). Shards that were paused by themselves stay paused.
    pub fn resume(&self) {
        self.shared
            .pauses
            .send_if_modified(|pauses| pauses.set_all(false));
    }

    /// As [`pause`](Self::pause), for one shard; also for one that this worker does not have yet. Where the worker reads
    /// [several streams](crate::Streams) the shard is named by the key of its lease, such as
    /// `123456789012:orders:1700000000:shardId-000000000000`, here and below.
    pub fn pause_shard(&self, shard_id: &str) {
        self.shared
            .pauses
            .send_if_modified(|pauses| pauses.set(shard_id, true));
    }

    /// Ends [`pause_shard`](Self::pause_shard).
    pub fn resume_shard(&self, shard_id: &str) {
        self.shared
            .pauses
            .send_if_modified(|pauses| pauses.set(shard_id, false));
    }

    /// As [`pause_shard`](Self::pause_shard), and whoever has the shard next keeps it paused: that is written into its lease. For a
    /// shard that this worker has. Java workers do not heed it.
    ///
    /// # Errors
    /// See [`PauseError`]. Nothing is paused then.
    pub async fn pause_shard_for_all(&self, shard_id: &str) -> Result<(), PauseError> {
        self.record_pause(shard_id, true).await
    }

    /// Ends [`pause_shard_for_all`](Self::pause_shard_for_all), whoever called it. For a shard that this worker has.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub async fn resume_shard_for_all(&self, shard_id: &str) -> Result<(), PauseError> {
        self.record_pause(shard_id, false).await
    }

    async fn record_pause(&self, shard_id: &str, pauses: bool) -> Result<(), PauseError> {
        let key = ShardId::from(shard_id).lease_key();
        let held = self.shared.shards().get(&key).map(|(held, _)| held.clone());
        let held = held.ok_or_else(|| PauseError::NotHere(shard_id.to_owned()))?;
        let now = self
            .shared
            .env
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let since = pauses.then(|| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        held.record_pause(since).await?;
        // The lease says so from now on: its consumer looks.
        self.shared.pauses.send_modify(|_| {});
        Ok(())
    }

    /// Asks the worker to stop in good order, and waits until it has: the processors finish the batch at hand and
    /// checkpoint, and the leases are handed on. A worker that has not started yet will stop as soon as it runs.
    pub async fn shutdown(&self) {
        self.shared.stop.send_replace(true);
        let mut phase = self.shared.phase.subscribe();
        // This handle holds the sender, so waiting cannot fail.
        let _ = phase.wait_for(|phase| *phase == WorkerPhase::Stopped).await;
    }
}

/// Why a shard is not paused, or resumed, for all workers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PauseError {
    /// Another worker has it, or nobody.
    #[error("this worker does not have shard {0}: ask the worker that has it")]
    NotHere(String),
    /// The lease was lost meanwhile, or the lease table does not take the write.
    #[error("cannot write it into the shard's lease: {0}")]
    Lease(#[from] LeaseWriteError),
}

impl fmt::Debug for WorkerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerHandle")
            .field("worker_id", &self.shared.worker_id)
            .finish_non_exhaustive()
    }
}
