//! How fast a worker drains a stream, beside a bare loop over the SDK: `cargo bench -p kcl-tests --bench drain`.
//!
//! In real time. Prints medians (and the range) of several rounds; ratios are measured side by side in one run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench program"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use kcl_core::{Checkpointer, ProcessorError, RecordBatch, RecordProcessor, Worker, async_trait};
use kcl_tests::World;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 5;
const SHARDS: usize = 4;
const RECORDS_PER_SHARD: usize = 100_000;
const RECORD_BYTES: usize = 1024;

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs bench programs too; it wants no measurement.
    if std::env::args().any(|argument| argument == "--bench") {
        drain().await;
    }
}

fn median(results: &mut [f64]) -> f64 {
    results.sort_by(f64::total_cmp);
    results[results.len() / 2]
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

async fn drain() {
    let world = World::with_shards(i32::try_from(SHARDS).unwrap()).await;
    fill(&world).await;
    let total = (SHARDS * RECORDS_PER_SHARD) as f64;
    println!(
        "drain of {SHARDS} shards x {RECORDS_PER_SHARD} records of {RECORD_BYTES} bytes in process, {ROUNDS} rounds"
    );
    println!("  resident before: {} MB", resident("VmRSS"));
    let (mut bare, mut worker, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bare_cpu, mut worker_cpu) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let before = cpu_seconds();
        let bare_seconds = drain_bare(&world).await;
        let between = cpu_seconds();
        let worker_seconds = drain_worker(&world, round).await;
        bare_cpu.push((between - before) / total * 1e6);
        worker_cpu.push((cpu_seconds() - between) / total * 1e6);
        bare.push(total / bare_seconds);
        worker.push(total / worker_seconds);
        ratios.push(bare_seconds / worker_seconds);
    }
    let report = |what: &str, rates: &mut [f64], cpu: &mut [f64]| {
        println!(
            "  {what:<24} {:>10.0} records/s {:>8.2} CPU-s per million",
            median(rates),
            median(cpu)
        );
    };
    report("bare SDK GetRecords loop", &mut bare, &mut bare_cpu);
    report("worker", &mut worker, &mut worker_cpu);
    let ratio = median(&mut ratios);
    println!(
        "  worker / bare            {ratio:>10.2} ({:.2}..{:.2})",
        ratios[0],
        ratios[ratios.len() - 1]
    );
    let stream = (total as usize * RECORD_BYTES) >> 20;
    println!(
        "  resident at most: {} MB, of which the stream is {stream} MB",
        resident("VmHWM")
    );
}

/// User and system time of this process so far; both sides include the backend's part. Linux counts 100 ticks a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Every shard gets its records by explicit hash key.
async fn fill(world: &World) {
    let shards = world.shards().await;
    let data = Blob::new(vec![b'x'; RECORD_BYTES]);
    for shard in &shards {
        let hash_key = shard.hash_key_range().unwrap().starting_hash_key();
        for _ in 0..RECORDS_PER_SHARD / 500 {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key("key")
                .explicit_hash_key(hash_key);
            let entries = vec![entry.data(data.clone()).build().unwrap(); 500];
            world
                .kinesis
                .put_records()
                .stream_name("clicks")
                .set_records(Some(entries))
                .send()
                .await
                .unwrap();
        }
    }
}

async fn drain_bare(world: &World) -> f64 {
    let shards = world.shards().await;
    let start = Instant::now();
    let mut loops = JoinSet::new();
    for shard in shards {
        let client = aws_sdk_kinesis::Client::new(&world.servers.backend.sdk_config());
        loops.spawn(async move {
            let iterator = client
                .get_shard_iterator()
                .stream_name("clicks")
                .shard_id(shard.shard_id());
            let iterator = iterator
                .shard_iterator_type(ShardIteratorType::TrimHorizon)
                .send()
                .await
                .unwrap();
            let (mut next, mut read) = (iterator.shard_iterator, 0);
            while read < RECORDS_PER_SHARD {
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

async fn drain_worker(world: &World, round: usize) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let worker = Worker::builder(
        format!("drain-{round}"),
        "clicks",
        move |_: &kcl_core::ShardContext| Counter(Arc::clone(&counter)),
    )
    .aws_config(&world.servers.backend.sdk_config())
    .min_read_interval(Duration::ZERO)
    .build()
    .unwrap();
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    let first = || (count.load(Ordering::Relaxed) > 0).then_some(());
    // The start is measured above; here it is the rate that counts.
    while first().is_none() {
        sleep(Duration::from_millis(1)).await;
    }
    let (start, already) = (Instant::now(), count.load(Ordering::Relaxed));
    let total = (SHARDS * RECORDS_PER_SHARD) as u64;
    while count.load(Ordering::Relaxed) < total {
        sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed().as_secs_f64() * total as f64 / (total - already) as f64;
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    took
}

/// A line of this process's status, in MB.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok());
    kilobytes.unwrap_or(0) / 1024
}
