//! A closure for each record.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kcl_lease::LossReason;
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::handler::RecordHandler;
use super::keyed::Limits;
use super::shard::{Awaited, Shard, SpawnRunner};
use crate::checkpointer::Checkpointer;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};
use crate::record_failures::RecordFailures;

/// Records that are admitted in one go.
const CHUNK: usize = 256;

/// Which records are handled one after the other.
#[derive(Clone)]
enum Order {
    /// Those of one partition key.
    ByPartitionKey,
    /// None.
    None,
    /// Those of which this is the same.
    By(Arc<dyn Fn(&Record) -> u64 + Send + Sync>),
}

impl Order {
    fn key(&self, record: &Record) -> u64 {
        match self {
            Self::ByPartitionKey => hash(&record.partition_key()),
            Self::None => hash(record.position()),
            Self::By(key) => key(record),
        }
    }
}

#[derive(Clone)]
struct Options {
    limits: Limits,
    permits: Option<Arc<Semaphore>>,
    order: Order,
    checkpoint_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits {
                at_once: 16,
                undone: 4096,
                held_back: 1024,
                ahead: 100_000,
            },
            permits: None,
            order: Order::ByPartitionKey,
            checkpoint_interval: Duration::from_secs(1),
        }
    }
}

/// The processor that [`each_record`] makes of a closure, for one shard.
pub struct EachRecord {
    options: Options,
    failures: Option<Arc<dyn RecordFailures>>,
    spawn_runner: Arc<SpawnRunner>,
    running: Option<Running>,
}

/// From the first batch on.
struct Running {
    shard: Arc<Shard>,
    _keeper: AbortOnDropHandle<()>,
}

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
    let spawn_runner: Arc<SpawnRunner> = Arc::new(move |shard| {
        tokio::spawn(shard.handle(handler.clone()));
    });
    move |shard| EachRecord {
        options: Options::default(),
        failures: shard.failures.clone(),
        spawn_runner: spawn_runner.clone(),
        running: None,
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
        with(self, move |options| options.limits.at_once = records.max(1))
    }

    /// How many records of all shards that this worker has are handled at once; shards take turns. Default: no bound but that
    /// of each shard.
    fn worker_concurrency(
        self,
        records: usize,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let permits = Arc::new(Semaphore::new(records.clamp(1, Semaphore::MAX_PERMITS)));
        with(self, move |options| options.permits = Some(permits.clone()))
    }

    /// Records are handled in any order, those of one key beside each other, too.
    fn unordered(self) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, |options| options.order = Order::None)
    }

    /// Records of which `key` is the same are handled in order, one at a time, instead of those of one partition key. `key` is called
    /// once for each record, and should be quick. (Two keys of which the hashes are the same are taken for one.)
    fn keyed_by<K: Hash>(
        self,
        key: impl Fn(&Record) -> K + Send + Sync + 'static,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        let order = Order::By(Arc::new(move |record| hash(&key(record))));
        with(self, move |options| options.order = order.clone())
    }

    /// How many records of a shard are taken in and not done: under way, or behind others of their key. While there are so many, no
    /// more are taken in, of whatever key. They count as the worker's memory
    /// ([`prefetch_bytes_per_worker`](crate::WorkerBuilder::prefetch_bytes_per_worker)), too, which bounds them all together.
    /// Default: 4,096.
    fn max_undone(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |options| options.limits.undone = records.max(1))
    }

    /// How many records of a shard may be held back by keys that fail: records that fail, and records of the same keys behind them.
    /// While there are so many, no more are taken in, of whatever key. Default: 1,024.
    fn max_held_back(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |options| options.limits.held_back = records.max(1))
    }

    /// How many records are taken in from the first one on that is not done, whether they are done or not. These are repeated after a
    /// crash, besides those that were done since the last checkpoint. Default: 100,000.
    fn max_ahead(self, records: usize) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |options| options.limits.ahead = records.max(1))
    }

    /// How long after a record is done the checkpoint is made at the latest; one checkpoint serves for all that are done by then.
    /// Default: 1 s.
    fn checkpoint_interval(
        self,
        interval: Duration,
    ) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
        with(self, move |options| options.checkpoint_interval = interval)
    }
}

impl<F: Fn(&ShardContext) -> EachRecord + Send + Sync + 'static> EachRecordOptions for F {}

fn with(
    processors: impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static,
    change: impl Fn(&mut Options) + Send + Sync + 'static,
) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static {
    move |shard| {
        let mut processor = processors(shard);
        change(&mut processor.options);
        processor
    }
}

/// Alike in each run: a run can be repeated.
fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

impl EachRecord {
    fn start(&mut self, checkpointer: &Checkpointer) -> Arc<Shard> {
        let running = self.running.get_or_insert_with(|| {
            let shard = Shard::new(
                checkpointer.clone(),
                self.options.limits,
                self.options.permits.clone(),
                self.failures.clone(),
                self.options.checkpoint_interval,
                self.spawn_runner.clone(),
            );
            let keeper = tokio::spawn(shard.clone().keep());
            Running {
                shard,
                _keeper: AbortOnDropHandle::new(keeper),
            }
        });
        running.shard.clone()
    }

    /// The records with their keys.
    fn keyed(&self, records: &[Record]) -> Vec<(u64, Record)> {
        let keyed = records
            .iter()
            .map(|record| (self.options.order.key(record), record.clone()));
        keyed.collect()
    }

    /// Starts nothing any more, and waits for what is under way.
    async fn come_to_rest(&mut self) {
        if let Some(running) = &self.running {
            running.shard.stop();
            running.shard.until(Awaited::Quiet).await;
        }
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
        if batch.is_empty() {
            return Ok(());
        }
        let shard = self.start(checkpointer);
        let mut left = batch.records();
        if let Some(last) = shard.last_admitted() {
            // Those of a batch that comes again.
            let known = left.partition_point(|record| *record.position() <= last);
            left = &left[known..];
        }
        while !left.is_empty() {
            let room = shard.room();
            if room == 0 {
                tokio::select! {
                    biased;
                    () = shard.until(Awaited::Room) => continue,
                    // What is left of the batch has to be known as undone. It is there anyway.
                    () = checkpointer.leaving() => {
                        shard.admit_all(self.keyed(left).into_iter());
                        return Ok(());
                    }
                }
            }
            let next = &left[..room.min(CHUNK).min(left.len())];
            let taken = shard.admit(self.keyed(next).into_iter());
            left = &left[taken..];
        }
        Ok(())
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        // As long as its handlers run, the shard is not begun with anew in this worker.
        self.come_to_rest().await;
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        let Some(Running { shard, .. }) = &self.running else {
            return Ok(());
        };
        tokio::select! {
            biased;
            () = shard.until(Awaited::Done) => {}
            () = checkpointer.leaving() => {
                shard.stop();
                shard.until(Awaited::Quiet).await;
                if !shard.is_so(Awaited::Done) {
                    return Err("the shard is given up before all its records are done".into());
                }
            }
        }
        shard.checkpoint().await?;
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.come_to_rest().await;
        if let Some(running) = &self.running {
            running.shard.checkpoint().await?;
        }
        Ok(())
    }
}

impl Drop for EachRecord {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shard.stop();
        }
    }
}

impl fmt::Debug for EachRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EachRecord")
            .field("limits", &self.options.limits)
            .field("is_running", &self.running.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
