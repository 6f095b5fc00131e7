//! What `each_record` and `deliveries` cost beside a processor of one's own, and what `each_record` gains:
//! `cargo bench -p kcl-tests --bench adapter`.
//!
//! In real time, with a shard whose lease is held in memory and whose batches are there. Prints medians of several rounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench program"
)]

use std::alloc::System;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_core::testing::{self, BatchBuilder, TestShard};
use kcl_core::{
    Checkpointer, Delivery, DeliveryOptions, EachRecordOptions as _, ProcessorError, Record, RecordBatch,
    RecordProcessor, async_trait, each_record,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROUNDS: usize = 7;
const BATCHES: u64 = 40;
const RECORDS_PER_BATCH: u64 = 5_000;
const WAIT: Duration = Duration::from_millis(5);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // `cargo test --benches` runs bench programs too; it wants no measurement.
        return;
    }
    overhead();
    stream();
    speed_up();
}

/// The next `records` of a shard, in batches, with so many keys.
fn batches(batches: u64, records: u64, keys: u64) -> Vec<RecordBatch> {
    let record = |number: u64| {
        testing::record("a payload of some bytes")
            .sequence_number(number)
            .partition_key(format!("key-{}", number.wrapping_mul(7919) % keys))
            .build()
    };
    let batch = |first: u64| BatchBuilder::new((first..first + records).map(record)).build();
    (0..batches).map(|number| batch(1 + number * records)).collect()
}

fn work(sum: &AtomicU64, record: &Record) {
    let byte = record.data().first().copied().unwrap_or(0);
    sum.fetch_add(u64::from(byte), Ordering::Relaxed);
}

/// What one would write without the adapter.
struct Plain(Arc<AtomicU64>);

#[async_trait]
impl RecordProcessor for Plain {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            work(&self.0, record);
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

struct PlainWaiting;

#[async_trait]
impl RecordProcessor for PlainWaiting {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for _ in batch {
            sleep(WAIT).await;
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

/// A shard from its first batch to its end: seconds, and allocations.
async fn run(processor: &mut impl RecordProcessor, batches: &[RecordBatch]) -> (f64, f64) {
    let mut shard = TestShard::new().await;
    let (begun, before) = (Instant::now(), INSTRUMENTED_SYSTEM.stats());
    for batch in batches {
        shard.process(processor, batch).await.unwrap();
    }
    shard.end(processor).await.unwrap();
    let after = INSTRUMENTED_SYSTEM.stats();
    let allocations = after.allocations - before.allocations + after.reallocations - before.reallocations;
    (begun.elapsed().as_secs_f64(), allocations as f64)
}

fn median(mut results: Vec<f64>) -> f64 {
    results.sort_by(f64::total_cmp);
    results[results.len() / 2]
}

fn runtimes() -> [(&'static str, Runtime); 2] {
    let two = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let one = Builder::new_current_thread().enable_all().build();
    [("one thread", one.unwrap()), ("two threads", two.unwrap())]
}

fn overhead() {
    let total = (BATCHES * RECORDS_PER_BATCH) as f64;
    println!("handlers that do next to nothing, {total} records, {ROUNDS} rounds: for each record");
    println!(
        "  {:<12} {:>8} {:>14} {:>14} {:>14} {:>12}",
        "", "keys", "plain", "each_record", "overhead", "allocations"
    );
    for (name, runtime) in runtimes() {
        for keys in [1, 1_000, 1_000_000] {
            let batches = batches(BATCHES, RECORDS_PER_BATCH, keys);
            let sum = Arc::new(AtomicU64::new(0));
            let (mut plain, mut each, mut allocations) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let mut processor = Plain(sum.clone());
                let (seconds, _) = runtime.block_on(async { run(&mut processor, &batches).await });
                plain.push(seconds / total * 1e9);
                let sum = sum.clone();
                let (seconds, allocated) = runtime.block_on(async {
                    let shard = TestShard::new().await;
                    let handler = each_record(async move |record| {
                        work(&sum, record);
                        Ok(())
                    });
                    let mut processor = handler.concurrency(64)(shard.context());
                    run(&mut processor, &batches).await
                });
                each.push(seconds / total * 1e9);
                allocations.push(allocated / total);
            }
            let (plain, each) = (median(plain), median(each));
            println!(
                "  {name:<12} {keys:>8} {plain:>11.0} ns {each:>11.0} ns {:>11.0} ns {:>12.3}",
                each - plain,
                median(allocations)
            );
        }
    }
}

/// How many are delivered before the first of them is acknowledged.
const IN_FLIGHT: usize = 1_000;

fn stream() {
    let total = (BATCHES * RECORDS_PER_BATCH) as f64;
    println!(
        "\ndeliveries, {IN_FLIGHT} of them unacknowledged at a time, {total} records, {ROUNDS} rounds: records each second, and for each record"
    );
    for (name, runtime) in runtimes() {
        for (order, keys) in [("unordered", 1_000_000), ("keyed", 1_000_000), ("keyed", 1_000)] {
            let batches = batches(BATCHES, RECORDS_PER_BATCH, keys);
            let sum = Arc::new(AtomicU64::new(0));
            let (mut seconds, mut allocations) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let options = DeliveryOptions::new(IN_FLIGHT + 1);
                let options = if order == "keyed" {
                    options.keyed()
                } else {
                    options
                };
                let (processors, mut deliveries) = options.split();
                let sum = sum.clone();
                let (taken, allocated) = runtime.block_on(async {
                    let consumer = tokio::spawn(async move {
                        let mut open: VecDeque<Delivery> = VecDeque::with_capacity(IN_FLIGHT);
                        loop {
                            // Where nothing more comes, what is out has to be acknowledged first.
                            let next = match open.len() {
                                0 => deliveries.next().await,
                                IN_FLIGHT => {
                                    open.drain(..1).for_each(Delivery::ack);
                                    deliveries.next().await
                                }
                                _ => deliveries.next().now_or_never().unwrap_or_else(|| {
                                    open.drain(..).for_each(Delivery::ack);
                                    None
                                }),
                            };
                            let Some(delivery) = next else {
                                tokio::task::yield_now().await;
                                continue;
                            };
                            work(&sum, delivery.record());
                            open.push_back(delivery);
                        }
                    });
                    let shard = TestShard::new().await;
                    let mut processor = processors(shard.context());
                    let result = run(&mut processor, &batches).await;
                    consumer.abort();
                    result
                });
                seconds.push(taken);
                allocations.push(allocated / total);
            }
            println!(
                "  {name:<12} {order:<10} {keys:>8} keys {:>11.0} /s {:>8.3} allocations",
                total / median(seconds),
                median(allocations)
            );
        }
    }
}

fn speed_up() {
    println!(
        "\nhandlers that wait for {WAIT:?}, {ROUNDS} rounds: records each second, and beside one at a time"
    );
    for (name, runtime) in runtimes() {
        let few = batches(1, 100, 1_000_000);
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let (seconds, _) = runtime.block_on(async { run(&mut PlainWaiting, &few).await });
            rates.push(100.0 / seconds);
        }
        let plain = median(rates);
        println!("  {name:<12} plain {plain:>10.0}");
        for at_once in [8_usize, 64, 512] {
            let many = batches(4, at_once as u64 * 50, 1_000_000);
            let total = (at_once * 200) as f64;
            let mut rates = Vec::new();
            for _ in 0..ROUNDS {
                let (seconds, _) = runtime.block_on(async {
                    let shard = TestShard::new().await;
                    let handler = each_record(async |_| {
                        sleep(WAIT).await;
                        Ok(())
                    });
                    let mut processor = handler.concurrency(at_once)(shard.context());
                    run(&mut processor, &many).await
                });
                rates.push(total / seconds);
            }
            let rate = median(rates);
            println!(
                "  {name:<12} {at_once:>5} {rate:>10.0} {:>8.1} x = {:.2} x {at_once}",
                rate / plain,
                rate / plain / at_once as f64
            );
        }
    }
}
