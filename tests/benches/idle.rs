//! What a worker takes of its machine while nothing happens, polling and subscribed: `cargo bench -p kcl-tests --bench idle`.
//!
//! In real time, over TCP. Each worker has a process of its own, as the backend has.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench program")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kcl_core::FanOut;
use kcl_tests::{BackendProcess, Behaviour, Remote, World, WorldOptions};
use tokio::time::{Instant, sleep};

/// This program is a worker when it is called with this, the endpoint, the number of shards, and how it reads.
const WORK: &str = "--work";
const FAN_OUT: &str = "fan-out";
const POLLING: &str = "polling";
const MEASURED: Duration = Duration::from_secs(30);
/// So long a worker may take until it processes all shards.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() {
    if BackendProcess::serve_if_told().await {
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [WORK, endpoint, shards, way] => work(endpoint, shards.parse().unwrap(), way).await,
        _ if arguments.iter().any(|argument| argument == "--bench") => {
            println!(
                "{:<10} {:>8} {:>10} {:>10} {:>8} {:>8} {:>8}",
                "", "shards", "ready, s", "RSS, MB", "threads", "CPU, %", "lost"
            );
            for (way, shards) in [(POLLING, 64), (POLLING, 256), (FAN_OUT, 256), (POLLING, 10_000)] {
                measure(way, shards).await;
            }
        }
        _ => {}
    }
}

async fn measure(way: &str, shards: i32) {
    let backend = BackendProcess::start();
    let options = WorldOptions {
        shards,
        ..WorldOptions::default()
    };
    let servers = backend.servers();
    let endpoint = servers.kinesis.clone();
    let _world = World::on(servers, options).await;
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args([WORK, &endpoint, &shards.to_string(), way])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines();
    let ready = said.next().unwrap().unwrap();
    // Whatever follows the start is over.
    sleep(Duration::from_secs(10)).await;
    let before = cpu_seconds(&worker);
    sleep(MEASURED).await;
    let cpu = (cpu_seconds(&worker) - before) / MEASURED.as_secs_f64() * 100.0;
    let (rss, threads) = (
        status(&worker, "VmRSS") as f64 / 1024.0,
        status(&worker, "Threads"),
    );
    drop(worker.stdin.take());
    let lost = said.next().unwrap().unwrap();
    worker.wait().unwrap();
    println!("{way:<10} {shards:>8} {ready:>10} {rss:>10.1} {threads:>8} {cpu:>8.1} {lost:>8}");
}

/// Runs until standard input ends. Says how long the start took, and how many leases were lost in the end.
async fn work(endpoint: &str, shards: usize, way: &str) {
    let world = World::on_there(Remote::at(endpoint), WorldOptions::default());
    let builder = world.builder("one", Behaviour::default());
    let builder = if way == FAN_OUT {
        builder.fan_out(FanOut::default())
    } else {
        builder
    };
    let since = Instant::now();
    let worker = world.run("one", builder);
    // To ask costs more the more shards there are.
    let pause = Duration::from_millis(100 + shards as u64 / 10);
    while worker.processing().len() < shards && since.elapsed() < PATIENCE {
        sleep(pause).await;
    }
    match since.elapsed() {
        took if took < PATIENCE => println!("{:.1}", took.as_secs_f64()),
        _ => println!("not yet"),
    }
    let waiting = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    waiting.await.unwrap().unwrap();
    println!("{}", world.ledger.calls("lease_lost"));
    // How a worker of so many shards leaves is measured elsewhere.
    std::process::exit(0);
}

fn status(process: &Child, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and system time so far. Linux counts 100 ticks a second.
fn cpu_seconds(process: &Child) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks = ticks.filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
