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

use kcl_tests::draining::{RECORD_BYTES, Way, fill};
use kcl_tests::{BackendProcess, Servers, World, WorldOptions};

const ROUNDS: usize = 5;
const SHARDS: usize = 4;
const RECORDS_PER_SHARD: usize = 100_000;

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

/// What one way took, round by round.
#[derive(Debug, Default)]
struct Taken {
    rates: Vec<f64>,
    cpu: Vec<f64>,
    /// What was resident at most, beyond what was resident before, in MB.
    memory: Vec<f64>,
}

async fn drain<S: Servers>(world: &World<S>, place: &str) {
    fill(world, RECORDS_PER_SHARD).await;
    let total = (SHARDS * RECORDS_PER_SHARD) as f64;
    let mut taken = Way::ALL.map(|_| Taken::default());
    for round in 0..ROUNDS {
        for (index, (way, taken)) in Way::ALL.into_iter().zip(&mut taken).enumerate() {
            forget_the_peak();
            let (cpu, resident_before) = (cpu_seconds(), resident("VmRSS"));
            let application = format!("drain-{round}-{index}");
            let seconds = way.drain(world, &application, RECORDS_PER_SHARD).await;
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

/// A line of this process's status, in MB.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok());
    kilobytes.unwrap_or(0) / 1024
}
