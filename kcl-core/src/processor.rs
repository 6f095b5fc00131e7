//! What the application implements: the processor of one shard's records.

use std::sync::Arc;

use async_trait::async_trait;
use kcl_lease::{Checkpoint, FencingToken, HashRange, LossReason, PendingCheckpoint};

use crate::begin::Begin;
use crate::checkpointer::Checkpointer;
use crate::config::{ShardId, Stream};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;
use crate::record_failures::RecordFailures;

/// Processes the records of one shard.
///
/// The worker makes one processor per shard and acquisition of its lease, and calls it strictly serially: never two
/// methods of one processor at a time, batches in the order of the shard. Processors of different shards run
/// concurrently.
///
/// Delivery is at least once: after a crash, or when another worker takes the shard over, records after the last
/// checkpoint are delivered again.
///
/// An `Err` or a panic never skips records: the same call is repeated, with growing pauses, until it succeeds, the
/// lease is lost, or the worker stops (see [`FailurePolicy`](crate::FailurePolicy) for other choices).
///
/// A call is not cancelled, neither when the lease was lost meanwhile nor when the worker stops: a call that outlasts a hand-off
/// or a stop goes on without the lease, until it returns or the runtime ends, as it does when `main` returns. Checkpoints fail
/// with [`CheckpointError::LeaseLost`](crate::CheckpointError::LeaseLost) from then on, and [`Checkpointer::is_lease_valid`] turns
/// false. Only dropping the future of a `run` method, or a second signal to
/// [`run_until_signal`](crate::Worker::run_until_signal), ends a call midway.
#[async_trait]
pub trait RecordProcessor: Send + 'static {
    /// Called before the first batch; says where that begins. `shard` tells where the shard's checkpoint is, and which one was
    /// prepared but not committed by the shard's previous processor. It may be committed here: see
    /// [`ShardContext::pending_checkpoint`].
    ///
    /// A processor that keeps positions itself, in the transactions in which it writes what records bring, returns
    /// [`Begin::Behind`]. By default, delivery begins at the checkpoint.
    async fn initialize(
        &mut self,
        shard: &ShardContext,
        checkpointer: &Checkpointer,
    ) -> Result<Begin, ProcessorError> {
        let _ = (shard, checkpointer);
        Ok(Begin::AtCheckpoint)
    }

    /// Called for each batch, in order.
    ///
    /// [`RecordBatch::gap`] says whether Kinesis may have trimmed records before they could be read. A shard that went
    /// away entirely ends with an empty batch that says so.
    ///
    /// Returning `Ok` says that the batch is done as far as this processor is concerned; it does not checkpoint.
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError>;

    /// Called when another worker owns the shard, or must be assumed to. Checkpointing is over. The last call.
    async fn lease_lost(&mut self, reason: &LossReason) {
        let _ = reason;
    }

    /// Called when the last record of a split or merged shard was processed. Once it returns `Ok` the library records
    /// the end of the shard, and the shard's children may be processed. The last call.
    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        let _ = checkpointer;
        Ok(())
    }

    /// Called when the worker stops or hands the shard to a peer: the last chance to checkpoint. The last call.
    ///
    /// By default, checkpoints the batches for which [`process_records`](Self::process_records) returned `Ok`.
    /// Override it if `Ok` does not mean that their effects are durable.
    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

#[async_trait]
impl<P: RecordProcessor + ?Sized> RecordProcessor for Box<P> {
    async fn initialize(
        &mut self,
        shard: &ShardContext,
        checkpointer: &Checkpointer,
    ) -> Result<Begin, ProcessorError> {
        (**self).initialize(shard, checkpointer).await
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        (**self).process_records(batch, checkpointer).await
    }

    async fn lease_lost(&mut self, reason: &LossReason) {
        (**self).lease_lost(reason).await;
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        (**self).shard_ended(checkpointer).await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        (**self).shutdown_requested(checkpointer).await
    }
}

/// The shard that a processor works on.
///
/// ```
/// use kcl_core::testing::TestShard;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let shard = TestShard::new().await;
/// println!("{} from {}, token {}", shard.context().shard_id, shard.context().start, shard.context().fencing_token);
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardContext {
    /// The stream.
    pub stream: Stream,
    /// The shard.
    pub shard_id: ShardId,
    /// The shard's hash keys, if known.
    pub hash_range: Option<HashRange>,
    /// The shards that were split or merged into this one. Their records were processed before.
    pub parents: Vec<ShardId>,
    /// The last checkpoint: delivery starts behind it, or where the sentinel says.
    pub start: Checkpoint,
    /// A checkpoint that was prepared but not committed, with the application's state. To commit it, finish what the state says, and
    /// checkpoint at its position, in `initialize` or later; delivery begins behind it if that is done in `initialize`.
    pub pending_checkpoint: Option<PendingCheckpoint>,
    /// Grows with every change of the shard's owner: a sink that refuses smaller tokens cannot be written to by a
    /// stale owner. It goes on to grow when the lease table is made anew or restored from a backup.
    pub fencing_token: FencingToken,
    /// What is done about records of it that fail; `None` outside of a worker.
    pub(crate) failures: Option<Arc<dyn RecordFailures>>,
}
