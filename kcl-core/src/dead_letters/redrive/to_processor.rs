//! Through a processor.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kcl_lease::{Checkpoint, Environment, HeldLease, Lease, MemoryLeaseStore, Metrics};

use super::super::letter::DeadLetter;
use super::destination::Destination;
use crate::checkpointer::Checkpointer;
use crate::config::{ShardId, Stream};
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;
use crate::status::ShardMonitor;

/// Gives the records of dead letters to processors, without a stream.
///
/// Each record has a processor of its own, which is made for its shard and initialized, is given the record as a batch, and is
/// asked to shut down. The letter is done when all of that succeeded. A panic is a failure.
///
/// The shard's lease is in memory: a checkpoint of such a processor does not change where the application stands. Its fencing token
/// is smaller than any worker's, so that it never locks a worker out: a sink that refuses smaller tokens refuses the record.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_core::dead_letters::{MemoryDeadLetters, Redrive, ToProcessor};
/// # use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor};
/// # struct Printer;
/// # #[async_trait]
/// # impl RecordProcessor for Printer {
/// #     async fn process_records(&mut self, _: &RecordBatch, _: &Checkpointer) -> Result<(), ProcessorError> { Ok(()) }
/// # }
///
/// let letters = MemoryDeadLetters::default();
/// let told = Redrive::new().run(&mut letters.not_done(), &mut ToProcessor::new(|_shard| Printer)).await?;
/// assert_eq!(told.done, 0);
/// # Ok(())
/// # }
/// ```
pub struct ToProcessor<F>(F);

impl<F, P> ToProcessor<F>
where
    F: FnMut(&ShardContext) -> P + Send,
    P: RecordProcessor,
{
    /// To processors that this function makes, as it would for a worker.
    pub fn new(factory: F) -> Self {
        Self(factory)
    }
}

#[async_trait]
impl<F, P> Destination for ToProcessor<F>
where
    F: FnMut(&ShardContext) -> P + Send,
    P: RecordProcessor,
{
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        let processed = AssertUnwindSafe(process(&mut self.0, letter)).catch_unwind();
        processed
            .await
            .unwrap_or_else(|panic| Err(ProcessorError::from_panic(panic)))
    }
}

async fn process<F, P>(factory: &mut F, letter: &DeadLetter) -> Result<(), ProcessorError>
where
    F: FnMut(&ShardContext) -> P + Send,
    P: RecordProcessor,
{
    let (context, checkpointer) = shard(letter).await?;
    let batch = RecordBatch::new(vec![letter.record()], None, false, letter.given_up_at);
    let mut processor = factory(&context);
    processor.initialize(&context, &checkpointer).await?;
    checkpointer
        .rules()
        .batch_begins(batch.records().last().map(|record| record.position()));
    processor.process_records(&batch, &checkpointer).await?;
    checkpointer.rules().batch_ends(true);
    processor.shutdown_requested(&checkpointer).await
}

/// The letter's shard, as if it began with the record.
async fn shard(letter: &DeadLetter) -> Result<(ShardContext, Checkpointer), ProcessorError> {
    // In the year 1970 a lease's counter, and so the token, begins with the least there is.
    let env = Environment::seeded(0, || UNIX_EPOCH);
    let shard_id = ShardId::from(letter.shard_id.as_str());
    let lease = Lease::new(shard_id.lease_key(), Checkpoint::TrimHorizon);
    let store = Arc::new(MemoryLeaseStore::new());
    let held = HeldLease::alone(store, &lease, "redrive".into(), env.clone()).await?;
    let held = held.ok_or("a lease in memory is somebody else's")?;
    let context = ShardContext {
        stream: Stream::parse(&letter.stream)?,
        shard_id,
        hash_range: None,
        parents: Vec::new(),
        start: Checkpoint::TrimHorizon,
        pending_checkpoint: None,
        fencing_token: held.fencing_token(),
        failures: None,
    };
    let monitor = Arc::new(ShardMonitor::new(held.key().as_str(), Metrics::default()));
    Ok((context, Checkpointer::new(held, env, monitor)))
}

impl<F> fmt::Debug for ToProcessor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToProcessor").finish_non_exhaustive()
    }
}
