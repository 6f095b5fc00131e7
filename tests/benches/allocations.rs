//! What a drain allocates: `cargo bench -p kcl-tests --bench allocations`.
//!
//! Over TCP. Whoever drains has a process of its own with a counting allocator, as the backend has a process of its own. What reading
//! would cost without any record is taken off: the same is drained twice, with half of the records and with all.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench program")]

use std::alloc::System;
use std::process::Command;

use cap::Cap;
use kcl_tests::draining::{RECORD_BYTES, Way, fill};
use kcl_tests::{BackendProcess, Remote, World, WorldOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: Cap<&StatsAlloc<System>> = Cap::new(&INSTRUMENTED_SYSTEM, usize::MAX);

/// This program drains when it is called with this, the endpoint, who does it, and how many records each shard has.
const DRAIN: &str = "--drain";
const SHARDS: usize = 4;
const RECORDS_PER_SHARD: usize = 50_000;
/// What a worker may hold by its defaults: 8 MiB for each shard.
const BUDGET: usize = SHARDS * (8 << 20);

#[tokio::main]
async fn main() {
    if BackendProcess::serve_if_told().await {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [DRAIN, endpoint, way, records_per_shard] => {
            let way = Way::ALL[way.parse::<usize>().unwrap()];
            drain(endpoint, way, records_per_shard.parse().unwrap()).await;
        }
        _ if arguments.iter().any(|argument| argument == "--bench") => {
            println!(
                "drain of {SHARDS} shards x {RECORDS_PER_SHARD} records of {RECORD_BYTES} bytes, by a counting allocator\n"
            );
            println!(
                "{:<24} {:>18} {:>24} {:>14} {:>20}",
                "", "allocations/record", "bytes allocated/payload", "MB at most", "beyond the budget, MB"
            );
            for (index, way) in Way::ALL.into_iter().enumerate() {
                measure(index, way).await;
            }
        }
        _ => {}
    }
}

/// What one drain took.
#[derive(Debug, Clone, Copy)]
struct Taken {
    allocations: usize,
    bytes: usize,
    most: usize,
}

async fn measure(index: usize, way: Way) {
    let (all, half) = (
        taken(index, RECORDS_PER_SHARD).await,
        taken(index, RECORDS_PER_SHARD / 2).await,
    );
    let records = (SHARDS * RECORDS_PER_SHARD / 2) as f64;
    println!(
        "{:<24} {:>18.3} {:>24.3} {:>14.1} {:>20.1}",
        way.name(),
        (all.allocations as f64 - half.allocations as f64) / records,
        (all.bytes as f64 - half.bytes as f64) / records / RECORD_BYTES as f64,
        all.most as f64 / 1e6,
        (all.most as f64 - BUDGET as f64) / 1e6
    );
}

/// Has a process of its own drain a stream of its own.
async fn taken(way: usize, records_per_shard: usize) -> Taken {
    let backend = BackendProcess::start();
    let servers = backend.servers();
    let endpoint = servers.kinesis.clone();
    let options = WorldOptions {
        shards: i32::try_from(SHARDS).unwrap(),
        ..WorldOptions::default()
    };
    let world = World::on(servers, options).await;
    fill(&world, records_per_shard).await;
    let mut drain = Command::new(std::env::current_exe().unwrap());
    drain.args([DRAIN, &endpoint, &way.to_string(), &records_per_shard.to_string()]);
    let said = String::from_utf8(drain.output().unwrap().stdout).unwrap();
    let mut numbers = said.split_whitespace().map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    Taken {
        allocations: next(),
        bytes: next(),
        most: next(),
    }
}

async fn drain(endpoint: &str, way: Way, records_per_shard: usize) {
    let world = World::on_there(Remote::at(endpoint), WorldOptions::default());
    let (before, bytes_before) = (INSTRUMENTED_SYSTEM.stats(), ALLOCATOR.total_allocated());
    way.drain(&world, "drain", records_per_shard).await;
    let after = INSTRUMENTED_SYSTEM.stats();
    // What grows in place or moves is allocated, too.
    let allocations = after.allocations - before.allocations + after.reallocations - before.reallocations;
    let bytes = ALLOCATOR.total_allocated() - bytes_before;
    println!("{allocations} {bytes} {}", ALLOCATOR.max_allocated());
}
