//! The processor of one shard whose records are handled beside its calls, and beside each other.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::keyed::Limits;
use super::shard::{Awaited, Outlet, Shard};
use super::worker_bound::WorkerBound;
use crate::checkpointer::Checkpointer;
use crate::processor_error::ProcessorError;
use crate::record::{Gap, Record, RecordBatch};
use crate::record_failures::RecordFailures;

/// Records that are admitted in one go.
const CHUNK: usize = 256;

/// Which records are handled one after the other.
#[derive(Clone)]
pub(super) enum Order {
    /// Those of one partition key.
    ByPartitionKey,
    /// None.
    None,
    /// Those of which this is the same.
    By(Arc<dyn Fn(&Record) -> u64 + Send + Sync>),
}

impl Order {
    /// By what a function says of records.
    pub(super) fn by<K: Hash>(key: impl Fn(&Record) -> K + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(move |record| hash(&key(record))))
    }

    fn key(&self, record: &Record) -> u64 {
        match self {
            Self::ByPartitionKey => hash(&record.partition_key()),
            Self::None => hash(record.position()),
            Self::By(key) => key(record),
        }
    }
}

/// Alike in each run: a run can be repeated.
fn hash(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) limits: Limits,
    pub(super) order: Order,
    pub(super) checkpoint_interval: Duration,
    /// What all shards of the worker may have undone together, if that is bounded.
    pub(super) worker_bound: Option<Arc<WorkerBound>>,
    /// Who is told of records that were trimmed before they could be read.
    pub(super) on_gap: Option<Arc<GapHook>>,
}

/// Is told of a shard and a gap.
pub(super) type GapHook = dyn Fn(&str, &Gap) + Send + Sync;

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits {
                at_once: 16,
                undone: 4096,
                held_back: 1024,
                ahead: 100_000,
            },
            order: Order::ByPartitionKey,
            checkpoint_interval: Duration::from_secs(1),
            worker_bound: None,
            on_gap: None,
        }
    }
}

pub(super) struct Concurrent {
    pub(super) options: Options,
    failures: Option<Arc<dyn RecordFailures>>,
    running: Option<Running>,
}

/// From the first batch on.
struct Running {
    shard: Arc<Shard>,
    _keeper: AbortOnDropHandle<()>,
}

impl Concurrent {
    pub(super) fn new(options: Options, failures: Option<Arc<dyn RecordFailures>>) -> Self {
        Self {
            options,
            failures,
            running: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn start(&mut self, checkpointer: &Checkpointer, outlet: impl FnOnce() -> Arc<dyn Outlet>) -> Arc<Shard> {
        let running = self.running.get_or_insert_with(|| {
            let shard = Shard::new(
                checkpointer.clone(),
                self.options.limits,
                self.failures.clone(),
                self.options.checkpoint_interval,
                self.options.worker_bound.clone(),
                outlet(),
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
    pub(super) async fn come_to_rest(&mut self) {
        if let Some(running) = &self.running {
            running.shard.stop();
            running.shard.until(Awaited::Quiet).await;
        }
    }

    /// Takes the records in, which may wait until there is room for them. They are handled afterwards.
    pub(super) async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
        outlet: impl FnOnce() -> Arc<dyn Outlet> + Send,
    ) -> Result<(), ProcessorError> {
        if let Some((gap, hook)) = batch.gap().zip(self.options.on_gap.as_ref()) {
            hook(checkpointer.shard().as_str(), gap);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let shard = self.start(checkpointer, outlet);
        let mut left = batch.records();
        if let Some(last) = shard.last_admitted() {
            // Those of a batch that comes again.
            let known = left.partition_point(|record| *record.position() <= last);
            left = &left[known..];
        }
        while !left.is_empty() {
            let taken = match shard.reserve(CHUNK.min(left.len())) {
                0 => 0,
                reserved => shard.admit(reserved, self.keyed(&left[..reserved])),
            };
            left = &left[taken..];
            if taken == 0 {
                tokio::select! {
                    biased;
                    () = shard.until_roomy() => {}
                    // What is left of the batch has to be known as undone. It is there anyway.
                    () = checkpointer.leaving() => {
                        shard.admit_all(self.keyed(left));
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// As long as records are under way, the shard is not begun with anew in this worker.
    pub(super) async fn lease_lost(&mut self) {
        self.come_to_rest().await;
    }

    pub(super) async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
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

    pub(super) async fn shutdown_requested(&mut self) -> Result<(), ProcessorError> {
        self.come_to_rest().await;
        if let Some(running) = &self.running {
            running.shard.checkpoint().await?;
        }
        Ok(())
    }
}

impl Drop for Concurrent {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shard.stop();
        }
    }
}
