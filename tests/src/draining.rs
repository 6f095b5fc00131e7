//! A stream that waits to be drained, and who drains it, for benchmarks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use kcl_core::{
    Checkpointer, ProcessorError, ReadEncoding, RecordBatch, RecordProcessor, ShardContext, Worker,
    async_trait,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::{Servers, World};

/// The payload of each record.
pub const RECORD_BYTES: usize = 1024;

/// Puts so many records into each shard of the world's stream.
pub async fn fill<S: Servers>(world: &World<S>, records_per_shard: usize) {
    let data = Blob::new(vec![b'x'; RECORD_BYTES]);
    for shard in &world.shards().await {
        let hash_key = shard.hash_key_range().unwrap().starting_hash_key();
        for _ in 0..records_per_shard / 500 {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key("key")
                .explicit_hash_key(hash_key);
            let entries = vec![entry.data(data.clone()).build().unwrap(); 500];
            let put = world.kinesis.put_records().stream_name(world.options.stream);
            put.set_records(Some(entries)).send().await.unwrap();
        }
    }
}

/// Who drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The least that the SDK can do: a loop of reads for each shard.
    Bare,
    /// A worker that reads in this encoding.
    Worker(ReadEncoding),
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::Bare,
        Self::Worker(ReadEncoding::Json),
        Self::Worker(ReadEncoding::Cbor),
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop over the SDK",
            Self::Worker(ReadEncoding::Json) => "worker, JSON",
            Self::Worker(_) => "worker, CBOR",
        }
    }

    /// Reads everything that [`fill`] put, and returns how many seconds that takes. A worker needs an application that was there
    /// never before.
    pub async fn drain<S: Servers>(
        self,
        world: &World<S>,
        application: &str,
        records_per_shard: usize,
    ) -> f64 {
        match self {
            Self::Bare => bare(world, records_per_shard).await,
            Self::Worker(encoding) => worker(world, application, records_per_shard, encoding).await,
        }
    }
}

async fn bare<S: Servers>(world: &World<S>, records_per_shard: usize) -> f64 {
    let shards = world.shards().await;
    let start = Instant::now();
    let mut loops = JoinSet::new();
    for shard in shards {
        let client = aws_sdk_kinesis::Client::new(&world.aws(""));
        let stream = world.options.stream;
        loops.spawn(async move {
            let iterator = client
                .get_shard_iterator()
                .stream_name(stream)
                .shard_id(shard.shard_id());
            let iterator = iterator
                .shard_iterator_type(ShardIteratorType::TrimHorizon)
                .send()
                .await
                .unwrap();
            let (mut next, mut read) = (iterator.shard_iterator, 0);
            while read < records_per_shard {
                let request = client.get_records().set_shard_iterator(next).limit(10_000);
                let answer = request.send().await.unwrap();
                let bytes: usize = answer
                    .records()
                    .iter()
                    .map(|record| record.data().as_ref().len())
                    .sum();
                assert_eq!(bytes, answer.records().len() * RECORD_BYTES);
                read += answer.records().len();
                next = answer.next_shard_iterator;
            }
        });
    }
    while loops.join_next().await.transpose().unwrap().is_some() {}
    start.elapsed().as_secs_f64()
}

#[derive(Debug)]
struct Counter(Arc<AtomicU64>);

#[async_trait]
impl RecordProcessor for Counter {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let bytes: usize = batch.iter().map(|record| record.data().len()).sum();
        assert_eq!(bytes, batch.len() * RECORD_BYTES);
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

async fn worker<S: Servers>(
    world: &World<S>,
    application: &str,
    records_per_shard: usize,
    encoding: ReadEncoding,
) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let counters = move |_: &ShardContext| Counter(Arc::clone(&counter));
    let worker = Worker::builder(application, world.options.stream, counters)
        .aws_config(&world.aws(""))
        .min_read_interval(Duration::ZERO)
        .read_encoding(encoding)
        .build()
        .unwrap();
    let total = (world.shards().await.len() * records_per_shard) as u64;
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    // The start is measured elsewhere; here it is the rate that counts.
    while count.load(Ordering::Relaxed) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let (start, already) = (Instant::now(), count.load(Ordering::Relaxed));
    while count.load(Ordering::Relaxed) < total {
        sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed().as_secs_f64() * total as f64 / (total - already) as f64;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    took
}
