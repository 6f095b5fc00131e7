//! A closure for each record.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_lease::LossReason;
use tokio::sync::Semaphore;

use super::concurrent::{Concurrent, GapHook, Options, Order};
use super::handler::RecordHandler;
use super::runners::Runners;
use super::shard::Outlet;
use super::worker_bound::WorkerBound;
use crate::checkpointer::Checkpointer;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::{Gap, Record, RecordBatch};

/// The processor that [`each_record`] makes of a closure, for one shard.
pub struct EachRecord {
    shard: Concurrent,
    /// How many of all shards of the worker may be handled at once, if that is bounded.
    permits: Option<Arc<Semaphore>>,
    runners: Arc<MakeRunners>,
}

/// Makes what handles the records of a shard.
type MakeRunners = dyn Fn(Option<Arc<Semaphore>>) -> Arc<dyn Outlet> + Send + Sync;

/// Processors that call a closure for each record: the records of one partition key in the shard's order, one at a time, and different
/// keys beside each other. For [`Worker::builder`](crate::Worker::builder).
///
/// A record is done when the closure returns `Ok`. The shard's checkpoint follows what is completely done: all records up to it are. So
/// a crash repeats what lies behind it, and nothing else. Options are set by the methods of [`EachRecordOptions`], which has to be
/// imported.
///
/// **Failures.** A record whose closure fails or panics is repeated with growing pauses of up to 10 s, and its key waits. Other keys go
/// on until too many records are [held back](EachRecordOptions::max_held_back), or lie
/// [ahead](EachRecordOptions::max_ahead) of the checkpoint; then the whole shard waits. Meanwhile the shard's status shows
/// `record-failing`. The worker's [`FailurePolicy`](crate::FailurePolicy) says whether a record is given up some day, and what becomes
/// of it then. That it is the record, and not what handles it, is taken as shown when other records of the shard went through between
/// its failures, as many times as the policy has attempts.
///
/// **Ends.** When the worker stops, or hands the shard to a peer, no record is started any more, and those under way are waited for, as
/// long as the [drain time-out](crate::WorkerBuilder::drain_timeout) says. A shard that was split or merged ends when all its records
/// are done. If the lease is lost, no record is started any more, and what is under way does not count. A call of the closure is never
/// cancelled; only the end of the runtime does that.
///
/// **Closures.** The closure is cloned for each record: what it captures has to be `Clone`, as clients and `Arc`s are, and what a call
/// changes of it is not seen by the next one. A function will do, too. Its calls run as tasks of the worker's runtime.
///
/// ```
/// use kcl_core::testing::{self, TestShard};
/// use kcl_core::{each_record, EachRecordOptions as _, ProcessorError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ProcessorError> {
/// let (sink, mut seen) = tokio::sync::mpsc::channel(10);
/// let processors = each_record(async move |record| {
///     sink.send(record.data().clone()).await?;
///     Ok(())
/// })
/// .concurrency(64);
/// // In a program: Worker::builder("my-app", "my-stream", processors)
/// let mut shard = TestShard::new().await;
/// let mut processor = processors(shard.context());
/// shard.process(&mut processor, &testing::batch(["a", "b"])).await?;
/// shard.end(&mut processor).await?; // which waits until all are done
/// assert_eq!(seen.recv().await.as_deref(), Some(&b"a"[..]));
/// assert_eq!(shard.checkpoints(), ["2", "SHARD_END"]);
/// # Ok(())
/// # }
/// ```
pub fn each_record<H>(handler: H) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static
where
    // The first bound tells a closure what it is given, the second one that its future can be sent.
    H: AsyncFnOnce(&Record) -> Result<(), ProcessorError> + for<'a> RecordHandler<'a>,
{
    handled_by(handler)
}

/// The same for a handler of which it is known already that its future can be sent.
pub(super) fn handled_by<H>(handler: H) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static
where
    H: for<'a> RecordHandler<'a>,
{
    let runners: Arc<MakeRunners> = Arc::new(move |permits| {
        let handler = handler.clone();
        Arc::new(Runners { handler, permits })
    });
    move |shard| EachRecord {
        shard: Concurrent::new(Options::default(), shard.failures.clone()),
        permits: None,
        runners: runners.clone(),
    }
}

/// The options of [`each_record`]. Each number is taken for one if it is zero.
///
/// ```
/// use std::time::Duration;
/// use kcl_core::{each_record, EachRecordOptions as _};
///
/// let processors = each_record(async |record| {
///     println!("{}", record.partition_key());
///     Ok(())
/// })
/// .concurrency(64)
/// .worker_concurrency(500)
/// .keyed_by(|record| record.partition_key().split(':').next().map(str::to_owned))
/// .checkpoint_interval(Duration::from_secs(5));
/// ```
pub trait EachRecordOptions: Fn(&ShardContext) -> EachRecord + Sized + Send + Sync + 'static {
    /// How many records of a shard are handled at once. Default: 16.
    fn concurrency(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |each| {
            each.shard.options.limits.at_once = records.max(1)
        })
    }

    /// How many records of all shards that this worker has are handled at once; shards take turns. Default: no bound but that
    /// of each shard.
    fn worker_concurrency(
        self,
        records: usize,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let permits = Arc::new(Semaphore::new(records.clamp(1, Semaphore::MAX_PERMITS)));
        with(self, move |each| each.permits = Some(permits.clone()))
    }

    /// Records are handled in any order, those of one key beside each other, too.
    fn unordered(self) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, |each| each.shard.options.order = Order::None)
    }

    /// Records of which `key` is the same are handled in order, one at a time, instead of those of one partition key. `key` is called
    /// once for each record, and should be quick. (Two keys of which the hashes are the same are taken for one.)
    fn keyed_by<K: Hash>(
        self,
        key: impl Fn(&Record) -> K + Send + Sync + 'static,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let order = Order::by(key);
        with(self, move |each| each.shard.options.order = order.clone())
    }

    /// How many records of a shard are taken in and not done: under way, or behind others of their key. While there are so many, no
    /// more are taken in, of whatever key. They count as the worker's memory
    /// ([`prefetch_bytes_per_worker`](crate::WorkerBuilder::prefetch_bytes_per_worker)), too, which bounds them all together.
    /// Default: 4,096.
    fn max_undone(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |each| {
            each.shard.options.limits.undone = records.max(1)
        })
    }

    /// How many records of all shards that this worker has are taken in and not done. While there are so many, a shard takes in one at a
    /// time. Default: no bound but that of each shard, and the worker's memory.
    fn worker_max_undone(
        self,
        records: usize,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let bound = Arc::new(WorkerBound::new(records));
        with(self, move |each| {
            each.shard.options.worker_bound = Some(bound.clone())
        })
    }

    /// How many records of a shard may be held back by keys that fail: records that fail, and records of the same keys behind them.
    /// While there are so many, no more are taken in, of whatever key; then nothing goes through any more that could show that it is the
    /// record, and only [`even_unproven_after`](crate::FailurePolicy::even_unproven_after) gives one up. Default: 1,024.
    fn max_held_back(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |each| {
            each.shard.options.limits.held_back = records.max(1)
        })
    }

    /// How many records are taken in from the first one on that is not done, whether they are done or not. These are repeated after a
    /// crash, besides those that were done since the last checkpoint. Default: 100,000.
    fn max_ahead(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |each| each.shard.options.limits.ahead = records.max(1))
    }

    /// Called with the shard's id when records may have been [trimmed](crate::RecordBatch::gap) from the stream before they could be read.
    /// Default: nobody; the log says so.
    fn on_gap(
        self,
        hook: impl Fn(&str, &Gap) + Send + Sync + 'static,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let hook: Arc<GapHook> = Arc::new(hook);
        with(self, move |each| each.shard.options.on_gap = Some(hook.clone()))
    }

    /// How long after a record is done the checkpoint is made at the latest; one checkpoint serves for all that are done by then.
    /// Default: 1 s.
    fn checkpoint_interval(
        self,
        interval: Duration,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |each| {
            each.shard.options.checkpoint_interval = interval
        })
    }
}

impl<F: Fn(&ShardContext) -> EachRecord + Send + Sync + 'static> EachRecordOptions for F {}

fn with(
    processors: impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static,
    change: impl Fn(&mut EachRecord) + Send + Sync + 'static,
) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
    move |shard| {
        let mut processor = processors(shard);
        change(&mut processor);
        processor
    }
}

#[async_trait]
impl RecordProcessor for EachRecord {
    /// Takes the records in, which may wait until there is room for them. They are handled afterwards.
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let outlet = || (self.runners)(self.permits.clone());
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

impl fmt::Debug for EachRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachRecord")
            .field("limits", &self.shard.options.limits)
            .field("is_running", &self.shard.is_running())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
