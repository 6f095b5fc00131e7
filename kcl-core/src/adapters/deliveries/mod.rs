//! The records of all of a worker's shards as one stream, whose items are acknowledged later.

mod delivery;
mod hub;
mod options;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::Stream;
use kcl_lease::LossReason;

pub use self::delivery::Delivery;
use self::hub::{Hub, Source};
pub use self::options::DeliveryOptions;
use super::concurrent::Concurrent;
use crate::checkpointer::Checkpointer;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;

/// A stream of records that are acknowledged later, in any order, by whoever handled them, in whatever task or thread; and the processors
/// that feed it, for [`Worker::builder`](crate::Worker::builder). At most so many records of all shards together are unacknowledged at a
/// time. [`DeliveryOptions`] has more options.
///
/// **Order.** The records of a shard are delivered in its order, and shards take turns. A record is not waited for before the next one
/// is delivered, unless [`keyed`](DeliveryOptions::keyed) says so. A record that failed is delivered again later.
///
/// **Checkpoints** follow what is completely acknowledged: all records up to it are. A crash repeats what lies behind, and nothing else.
///
/// **Failures.** A record that is [failed](Delivery::fail), or dropped without having been acknowledged, is delivered again with growing
/// pauses of up to 10 s. Others go on meanwhile, until too many are [held back](DeliveryOptions::max_held_back), or lie
/// [ahead](DeliveryOptions::max_ahead) of the checkpoint; then the shard waits. Its status shows `record-failing`. The worker's
/// [`FailurePolicy`](crate::FailurePolicy) says whether it is given up some day, as with [`each_record`](crate::each_record()).
///
/// **Ends.** When the worker stops, or hands a shard to a peer, nothing more of it is delivered, and what is unacknowledged is waited for,
/// as long as the [drain time-out](crate::WorkerBuilder::drain_timeout) says. A shard that was split or merged ends when all its records
/// are acknowledged. If the lease is lost, nothing more is delivered, and what is acknowledged afterwards does not count. The stream
/// ends when the worker has stopped and is gone, and with it these processors. If the stream is dropped before, the shards
/// wait, and their status shows `deliveries-dropped`.
///
/// ```no_run
/// use kcl_core::{deliveries, Delivery, Worker};
///
/// # async fn run(aws: aws_types::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// let (processors, mut deliveries) = deliveries(10_000);
/// let worker = Worker::builder("my-app", "my-stream", processors).aws_config(&aws).build()?;
/// let running = tokio::spawn(worker.run_until_signal());
/// # let (queue, _) = tokio::sync::mpsc::channel::<Delivery>(1);
/// while let Some(delivery) = deliveries.next().await {
///     queue.send(delivery).await?; // elsewhere: delivery.ack(), or delivery.fail(error)
/// }
/// running.await??;
/// # Ok(())
/// # }
/// ```
pub fn deliveries(
    max_unacknowledged: usize,
) -> (
    impl Fn(&ShardContext) -> DeliveringProcessor + Send + Sync + 'static,
    Deliveries,
) {
    DeliveryOptions::new(max_unacknowledged).split()
}

/// The stream that [`deliveries`] makes. It may be polled by any runtime.
#[derive(Debug)]
#[must_use = "records wait until they are taken"]
pub struct Deliveries {
    hub: Arc<Hub>,
}

impl Deliveries {
    /// The next record; `None` once the worker is gone. Waits while there is none, and while as many are unacknowledged as may be. A
    /// call that is cancelled loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        poll_fn(|context| self.hub.poll_next(context)).await
    }

    /// How many are delivered, and neither acknowledged nor failed.
    pub fn unacknowledged(&self) -> usize {
        self.hub.unacknowledged()
    }
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.hub.poll_next(context)
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.hub.abandon();
    }
}

/// The processor of one shard whose records are delivered by a stream; see [`deliveries`].
pub struct DeliveringProcessor {
    shard: Concurrent,
    source: Arc<Source>,
}

#[async_trait]
impl RecordProcessor for DeliveringProcessor {
    /// Takes the records in, which may wait until there is room for them. They are delivered afterwards.
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let outlet = || self.source.outlet();
        self.shard.process_records(batch, checkpointer, outlet).await
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.shard.lease_lost().await;
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.shard.shard_ended(checkpointer).await
    }

    async fn shutdown_requested(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.shard.shutdown_requested().await
    }
}

impl fmt::Debug for DeliveringProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveringProcessor")
            .field("limits", &self.shard.options.limits)
            .field("is_running", &self.shard.is_running())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
