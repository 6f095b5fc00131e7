//! How many records are delivered at once, and in which order.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::hub::{Hub, Source};
use super::{Deliveries, DeliveringProcessor};
use crate::adapters::concurrent::{Concurrent, Options, Order};
use crate::adapters::worker_bound::WorkerBound;
use crate::processor::ShardContext;
use crate::record::{Gap, Record};

/// The options of [`deliveries`](crate::deliveries()). Each number is taken for one if it is zero.
///
/// ```
/// use kcl_core::{DeliveryOptions, Worker};
///
/// let (processors, mut deliveries) = DeliveryOptions::new(10_000).keyed().max_per_shard(1_000).split();
/// let builder = Worker::builder("my-app", "my-stream", processors);
/// ```
#[derive(Clone)]
#[must_use = "they do nothing until split is called"]
pub struct DeliveryOptions {
    max_unacknowledged: usize,
    options: Options,
}

impl DeliveryOptions {
    /// At most so many records of all shards together are delivered and unacknowledged at a time.
    pub fn new(max_unacknowledged: usize) -> Self {
        let max_unacknowledged = max_unacknowledged.max(1);
        let mut options = Options {
            order: Order::None,
            ..Options::default()
        };
        options.limits.at_once = max_unacknowledged;
        options.limits.undone = options.limits.undone.max(max_unacknowledged);
        Self {
            max_unacknowledged,
            options,
        }
    }

    /// A record is delivered only when the one before it with the same partition key is acknowledged.
    pub fn keyed(mut self) -> Self {
        self.options.order = Order::ByPartitionKey;
        self
    }

    /// A record is delivered only when the one before it for which `key` is the same is acknowledged. `key` is called once for each
    /// record, and should be quick. (Two keys of which the hashes are the same are taken for one.)
    pub fn keyed_by<K: Hash>(mut self, key: impl Fn(&Record) -> K + Send + Sync + 'static) -> Self {
        self.options.order = Order::by(key);
        self
    }

    /// So many records of one shard are delivered and unacknowledged at most, so that a shard whose records are not acknowledged leaves
    /// something for the others. Default: as many as of all shards together.
    pub fn max_per_shard(mut self, records: usize) -> Self {
        self.options.limits.at_once = records.max(1);
        self
    }

    /// How many records of a shard are taken in and not done: delivered and unacknowledged, or waiting to be delivered. They count as
    /// the worker's memory ([`prefetch_bytes_per_worker`](crate::WorkerBuilder::prefetch_bytes_per_worker)), too. Default: 4,096, or as
    /// many as may be unacknowledged, if that is more.
    pub fn max_undone(mut self, records: usize) -> Self {
        self.options.limits.undone = records.max(1);
        self
    }

    /// How many records of all shards that this worker has are taken in and not done. While there are so many, a shard takes in one at a
    /// time. Default: no bound but that of each shard, and the worker's memory.
    pub fn worker_max_undone(mut self, records: usize) -> Self {
        self.options.worker_bound = Some(Arc::new(WorkerBound::new(records)));
        self
    }

    /// How many records of a shard may be held back: those that failed and, where records are [keyed](Self::keyed), those of the same
    /// keys behind them. While there are so many, no more are taken in; then nothing goes through any more that could show that it is
    /// the record, and only [`even_unproven_after`](crate::FailurePolicy::even_unproven_after) gives one up. Default: 1,024.
    pub fn max_held_back(mut self, records: usize) -> Self {
        self.options.limits.held_back = records.max(1);
        self
    }

    /// How many records are taken in from the first one on that is not acknowledged, whether they are or not. These are repeated
    /// after a crash, besides those that were acknowledged since the last checkpoint. Default: 100,000.
    pub fn max_ahead(mut self, records: usize) -> Self {
        self.options.limits.ahead = records.max(1);
        self
    }

    /// Called with the shard's id when records may have been [trimmed](crate::RecordBatch::gap) from the stream before they could be read.
    /// Default: nobody; the log says so.
    pub fn on_gap(mut self, hook: impl Fn(&str, &Gap) + Send + Sync + 'static) -> Self {
        self.options.on_gap = Some(Arc::new(hook));
        self
    }

    /// How long after a record is acknowledged the checkpoint is made at the latest; one checkpoint serves for all that are by then.
    /// Default: 1 s.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.options.checkpoint_interval = interval;
        self
    }

    /// The processors, for [`Worker::builder`](crate::Worker::builder), and what they deliver.
    pub fn split(
        self,
    ) -> (
        impl Fn(&ShardContext) -> DeliveringProcessor + Send + Sync + 'static,
        Deliveries,
    ) {
        let hub = Arc::new(Hub::new(self.max_unacknowledged));
        let source = Arc::new(Source::new(hub.clone()));
        let processors = move |shard: &ShardContext| DeliveringProcessor {
            shard: Concurrent::new(self.options.clone(), shard.failures.clone()),
            source: source.clone(),
        };
        (processors, Deliveries { hub })
    }
}

impl fmt::Debug for DeliveryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryOptions")
            .field("max_unacknowledged", &self.max_unacknowledged)
            .field("limits", &self.options.limits)
            .finish_non_exhaustive()
    }
}
