//! How long a record is under way from put to processor, polled and pushed: `cargo bench -p kcl-tests --bench latency`.
//!
//! In real time, over TCP, with the backend in a process of its own and one shard, into which a record is put now and then. The worker
//! has its defaults. Prints medians of the rounds' percentiles.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench program")]

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::{Checkpointer, FanOut, ProcessorError, RecordBatch, RecordProcessor, async_trait};
use kcl_tests::{BackendProcess, Remote, World, WorldOptions};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

const ROUNDS: usize = 5;
const RECORDS: u64 = 600;
const WARM_UP: u64 = 20;

#[tokio::main]
async fn main() {
    if BackendProcess::serve_if_told().await || std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    println!("put to process in ms, medians of {ROUNDS} rounds of {RECORDS} records");
    println!("{:<24} {:>8} {:>8} {:>8}", "", "p50", "p99", "most");
    let mut rounds = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (pushes, rounds) in [false, true].into_iter().zip(&mut rounds) {
            rounds.push(round(pushes).await);
        }
    }
    for (name, rounds) in ["polled", "pushed"].into_iter().zip(&rounds) {
        let median = |of: fn(&[f64; 3]) -> f64| {
            let mut all: Vec<_> = rounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let [p50, p99, most] = [median(|it| it[0]), median(|it| it[1]), median(|it| it[2])];
        println!("{name:<24} {p50:>8.2} {p99:>8.2} {most:>8.2}");
    }
}

/// Tells when each record arrives.
#[derive(Debug)]
struct Bell(mpsc::UnboundedSender<(u64, Instant)>);

#[async_trait]
impl RecordProcessor for Bell {
    async fn process_records(&mut self, batch: &RecordBatch, _: &Checkpointer) -> Result<(), ProcessorError> {
        let now = Instant::now();
        for record in batch {
            let number = u64::from_be_bytes(record.data().as_ref().try_into()?);
            let _ = self.0.send((number, now));
        }
        Ok(())
    }
}

/// The median, the 99th percentile and the most of one worker's life.
async fn round(pushes: bool) -> [f64; 3] {
    let backend = BackendProcess::start();
    let options = WorldOptions {
        shards: 1,
        ..WorldOptions::default()
    };
    let world = World::on(backend.servers(), options).await;
    let (sender, mut arrivals) = mpsc::unbounded_channel();
    let builder = world.builder_of("one", move |_| Bell(sender.clone()));
    let builder = if pushes {
        builder.fan_out(FanOut::default())
    } else {
        builder
    };
    let worker = world.run("one", builder);
    let (mut put_at, mut took) = (Vec::new(), Vec::new());
    let millis = |put_at: &[Instant], (number, at): (u64, Instant)| {
        (at - put_at[usize::try_from(number).unwrap()]).as_secs_f64() * 1e3
    };
    // The first of them show that it reads.
    for number in 0..RECORDS + WARM_UP {
        put_at.push(Instant::now());
        put(&world, number).await;
        // Some 60 a second, not in step with the reads.
        sleep(Duration::from_millis(5 + number * 37 % 23)).await;
        while number < WARM_UP && took.len() as u64 <= number {
            let arrived = arrivals.recv().await.unwrap();
            took.push(millis(&put_at, arrived));
        }
    }
    while (took.len() as u64) < RECORDS + WARM_UP {
        let arrived = arrivals.recv().await.unwrap();
        took.push(millis(&put_at, arrived));
    }
    worker.stop().await;
    took.drain(..usize::try_from(WARM_UP).unwrap());
    took.sort_by(f64::total_cmp);
    let percentile = |part: f64| took[((took.len() as f64 * part).ceil() as usize).clamp(1, took.len()) - 1];
    [percentile(0.5), percentile(0.99), percentile(1.0)]
}

async fn put(world: &World<Remote>, number: u64) {
    let request = world
        .kinesis
        .put_record()
        .stream_name("clicks")
        .partition_key("key");
    let data = Blob::new(number.to_be_bytes());
    request.data(data).send().await.unwrap();
}
