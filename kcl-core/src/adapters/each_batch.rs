//! A closure for each batch.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::handler::BatchHandler;
use crate::checkpointer::Checkpointer;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;

type Call = dyn for<'a> Fn(&'a RecordBatch, &'a Checkpointer) -> BoxFuture<'a, Result<(), ProcessorError>>
    + Send
    + Sync;

/// The processor that [`each_batch`] makes of a closure.
pub struct EachBatch {
    call: Arc<Call>,
}

/// Processors that call a closure for each batch, as [`RecordProcessor::process_records`] is called. For
/// [`Worker::builder`](crate::Worker::builder).
///
/// The closure is cloned for each call: what it captures has to be `Clone`, as clients and `Arc`s are, and what a call changes of it is
/// not seen by the next one. When the worker stops or hands the shard to a peer, the batches that were `Ok` are checkpointed.
///
/// ```
/// use kcl_core::testing::{self, TestShard};
/// use kcl_core::{each_batch, ProcessorError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ProcessorError> {
/// let (sink, mut seen) = tokio::sync::mpsc::channel(10);
/// let processors = each_batch(async move |batch, checkpointer| {
///     sink.send(batch.len()).await?;
///     checkpointer.checkpoint().await?;
///     Ok(())
/// });
/// // In a program: Worker::builder("my-app", "my-stream", processors)
/// let mut shard = TestShard::new().await;
/// let mut processor = processors(shard.context());
/// shard.process(&mut processor, &testing::batch(["a", "b"])).await?;
/// assert_eq!((seen.recv().await, shard.checkpoints()), (Some(2), vec!["2".to_owned()]));
/// # Ok(())
/// # }
/// ```
pub fn each_batch<H>(handler: H) -> impl Fn(&ShardContext) -> EachBatch + Send + Sync + 'static
where
    // The first bound tells a closure what it is given, the second one that its future can be sent.
    H: AsyncFnOnce(&RecordBatch, &Checkpointer) -> Result<(), ProcessorError> + for<'a> BatchHandler<'a>,
{
    let call: Arc<Call> = Arc::new(move |batch, checkpointer| Box::pin(handler.clone()(batch, checkpointer)));
    move |_| EachBatch { call: call.clone() }
}

#[async_trait]
impl RecordProcessor for EachBatch {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        (self.call)(batch, checkpointer).await
    }
}

impl fmt::Debug for EachBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachBatch").finish_non_exhaustive()
    }
}
