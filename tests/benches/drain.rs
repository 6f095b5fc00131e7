//! How fast a worker drains a stream, in both encodings, beside a bare loop over the SDK: `cargo bench -p kcl-tests --bench drain`.
//!
//! In real time, with the backend in the same process, and then in one of its own, over TCP. Prints medians of several rounds, in each
//! of which all are measured one after the other. CPU and memory are those of this process.
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
use kcl_core::{
    Checkpointer, ProcessorError, ReadEncoding, RecordBatch, RecordProcessor, Worker, async_trait,
};
use kcl_tests::{BackendProcess, Servers, World, WorldOptions};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 5;
const SHARDS: usize = 4;
const RECORDS_PER_SHARD: usize = 100_000;
const RECORD_BYTES: usize = 1024;

#[tokio::main]
async fn main() {
    if BackendProcess::serve_if_told().await {
        return;
    }
    if std::env::args().any(|argument| argument == "--bench") {
        // `cargo test --benches` runs bench programs too; it wants no measurement.
        println!(
            "drain of {SHARDS} shards x {RECORDS_PER_SHARD} records of {RECORD_BYTES} bytes, {ROUNDS} rounds"
        );
        let world = World::with_shards(i32::try_from(SHARDS).unwrap()).await;
        drain(&world, "in process, backend included").await;
        drop(world);
        let backend = BackendProcess::start();
        let world = World::on(backend.servers(), options()).await;
        drain(&world, "over TCP, backend in a process of its own").await;
    }
}

fn options() -> WorldOptions {
    WorldOptions {
        shards: i32::try_from(SHARDS).unwrap(),
        ..WorldOptions::default()
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

/// Who drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Bare,
    Worker(ReadEncoding),
}

impl Way {
    const ALL: [Self; 3] = [
        Self::Bare,
        Self::Worker(ReadEncoding::Json),
        Self::Worker(ReadEncoding::Cbor),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop over the SDK",
            Self::Worker(ReadEncoding::Json) => "worker, JSON",
            Self::Worker(_) => "worker, CBOR",
        }
    }
}

/// What one way took, round by round.
#[derive(Debug, Default)]
struct Taken {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    /// What was resident at most, beyond what was resident before, in MB.
    memory: Vec<f64>,
}

async fn drain<S: Servers>(world: &World<S>, place: &str) {
    fill(world).await;
    let total = (SHARDS * RECORDS_PER_SHARD) as f64;
    let mut taken = Way::ALL.map(|_| Taken::default());
    for round in 0..ROUNDS {
        for (way, taken) in Way::ALL.into_iter().zip(&mut taken) {
            forget_the_peak();
            let (cpu, resident_before) = (cpu_seconds(), resident("VmRSS"));
            let seconds = match way {
                Way::Bare => drain_bare(world).await,
                Way::Worker(encoding) => drain_worker(world, round, encoding).await,
            };
            taken.rates.push(total / seconds);
            taken.cpu.push((cpu_seconds() - cpu) / total * 1e6);
            let peak = resident("VmHWM").saturating_sub(resident_before);
            taken.memory.push(peak as f64);
        }
    }
    println!("\n{place}");
    println!(
        "  {:<24} {:>10} {:>16} {:>12} {:>10}",
        "", "records/s", "CPU-s/million", "MB at most", "x bare"
    );
    let bare = taken[0].rates.clone();
    for (way, mut taken) in Way::ALL.into_iter().zip(taken) {
        let mut ratios: Vec<_> = taken
            .rates
            .iter()
            .zip(&bare)
            .map(|(rate, bare)| rate / bare)
            .collect();
        println!(
            "  {:<24} {:>10.0} {:>16.2} {:>12.0} {:>10.2}",
            way.name(),
            median(&mut taken.rates),
            median(&mut taken.cpu),
            median(&mut taken.memory),
            median(&mut ratios)
        );
    }
}

/// The most that was resident is measured anew from here.
fn forget_the_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// User and system time of this process so far. Linux counts 100 ticks a second.
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
async fn fill<S: Servers>(world: &World<S>) {
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

async fn drain_bare<S: Servers>(world: &World<S>) -> f64 {
    let shards = world.shards().await;
    let start = Instant::now();
    let mut loops = JoinSet::new();
    for shard in shards {
        let client = aws_sdk_kinesis::Client::new(&world.aws(""));
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

async fn drain_worker<S: Servers>(world: &World<S>, round: usize, encoding: ReadEncoding) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&count);
    let worker = Worker::builder(
        format!("drain-{round}-{encoding:?}"),
        "clicks",
        move |_: &kcl_core::ShardContext| Counter(Arc::clone(&counter)),
    )
    .aws_config(&world.aws(""))
    .min_read_interval(Duration::ZERO)
    .read_encoding(encoding)
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
