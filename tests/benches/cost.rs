//! What a lease table costs: `cargo bench -p kcl-tests --bench cost`.
//!
//! Counts the requests that workers really send, in virtual time with 5 ms for each. `-- --leases 1000` measures tables of that
//! size only. Dollars are those of on-demand
//! tables in us-east-1: 0.625 per million write units, 0.125 per million read units.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench program"
)]

use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_lease::LeaseStore;
use kcl_local::faults::{Fault, Rule, RuleId};
use kcl_tests::{Running, World};
use tokio::task::JoinSet;
use tokio::time::sleep;

const LATENCY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a fleet calms down, and how long it is watched then.
const CALM: Duration = Duration::from_secs(60);
const WATCHED: Duration = Duration::from_secs(300);
const WATCHED_LARGE: Duration = Duration::from_secs(60);

const WRITES: [&str; 3] = ["UpdateItem", "PutItem", "DeleteItem"];
const HOURS_PER_MONTH: f64 = 730.0;
const DOLLARS_PER_WRITE: f64 = 0.625e-6;
const DOLLARS_PER_READ: f64 = 0.125e-6;

/// Capacity units per second.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    writes: f64,
    reads: f64,
}

impl Cost {
    fn dollars_per_month(self) -> f64 {
        let per_second = self.writes * DOLLARS_PER_WRITE + self.reads * DOLLARS_PER_READ;
        per_second * 3600.0 * HOURS_PER_MONTH
    }
}

fn main() {
    // `cargo test --benches` runs bench programs too; it wants no measurement.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--leases");
    let only: Option<i32> = arguments.nth(1).map(|leases| leases.parse().expect("a number"));
    println!("fail-over time 10 s; a busy shard gets a record, and a checkpoint, each second");
    println!(
        "{:>7} {:>8} {:>6} {:>14} {:>14} {:>16} {:>16} {:>12}",
        "leases",
        "workers",
        "",
        "writes/lease-h",
        "reads/lease-h",
        "writes/lease-s",
        "reads/worker-h",
        "$/month"
    );
    for (leases, workers, is_busy) in [
        (10, 1, false),
        (10, 2, false),
        (10, 1, true),
        (100, 1, false),
        (100, 4, false),
        (100, 1, true),
        (1_000, 1, false),
        (1_000, 10, false),
        (1_000, 1, true),
        (10_000, 1, false),
        (10_000, 50, false),
        (10_000, 1, true),
    ] {
        if only.is_some_and(|only| only != leases) {
            continue;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let cost = runtime
            .expect("a runtime")
            .block_on(measure(leases, workers, is_busy));
        let (count, crowd) = (f64::from(leases), f64::from(workers));
        println!(
            "{leases:>7} {workers:>8} {:>6} {:>14.0} {:>14.0} {:>16.3} {:>16.0} {:>12.2}",
            if is_busy { "busy" } else { "idle" },
            cost.writes * 3600.0 / count,
            cost.reads * 3600.0 / count,
            cost.writes / count,
            cost.reads * 3600.0 / crowd,
            cost.dollars_per_month(),
        );
    }
}

async fn measure(leases: i32, workers: i32, is_busy: bool) -> Cost {
    let world = World::with_shards(leases).await;
    world
        .servers
        .faults
        .add(Rule::any().fault(Fault::none().after(LATENCY)));
    let running: Vec<Running> = (1..=workers)
        .map(|number| world.start(&format!("w{number}")))
        .collect();
    until_shared(&running, usize::try_from(leases).expect("a few")).await;
    let mut producer = JoinSet::new();
    if is_busy {
        producer.spawn(produce(world.clone()));
    }
    sleep(CALM).await;
    let watched = if leases > 1_000 { WATCHED_LARGE } else { WATCHED };
    let requests = Requests::counted(&world);
    sleep(watched).await;
    requests.cost(&world, watched).await
}

/// Waits until no worker has two leases more than another.
async fn until_shared(running: &[Running], leases: usize) {
    let shared = || {
        let shares: Vec<_> = running.iter().map(Running::leases).collect();
        let (least, most) = (shares.iter().min()?, shares.iter().max()?);
        (shares.iter().sum::<usize>() == leases && most - least <= 1).then_some(())
    };
    kcl_tests::eventually(PATIENCE, shared, || "the leases are not shared".into()).await;
}

/// A record in every shard each second.
async fn produce(world: World) {
    let shards = world.shards().await;
    loop {
        for some in shards.chunks(500) {
            let entries = some.iter().map(|shard| {
                let hash_key = shard.hash_key_range().expect("a range").starting_hash_key();
                let entry = PutRecordsRequestEntry::builder()
                    .partition_key(shard.shard_id())
                    .explicit_hash_key(hash_key);
                entry.data(Blob::new("0")).build().expect("complete")
            });
            let request = world.kinesis.put_records().stream_name("clicks");
            request
                .set_records(Some(entries.collect()))
                .send()
                .await
                .expect("put");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Counts requests by what they consume.
struct Requests {
    writes: Vec<RuleId>,
    gets: RuleId,
    queries: RuleId,
    scans: RuleId,
}

impl Requests {
    fn counted(world: &World) -> Self {
        world.servers.faults.clear();
        let count = |operation: &str| {
            let rule = Rule::on(operation).matching(|call| !call.client.is_empty());
            world.servers.faults.add(rule.fault(Fault::none().after(LATENCY)))
        };
        let counts = Self {
            writes: WRITES.iter().copied().map(count).collect(),
            gets: count("GetItem"),
            queries: count("Query"),
            scans: count("Scan"),
        };
        world
            .servers
            .faults
            .add(Rule::any().fault(Fault::none().after(LATENCY)));
        counts
    }

    /// Rows are smaller than a unit of writing or reading; a scan says itself what it consumes.
    async fn cost(self, world: &World, watched: Duration) -> Cost {
        let hits = |rule: &RuleId| world.servers.faults.hits(*rule) as f64;
        let writes: f64 = self.writes.iter().map(hits).sum();
        let (gets, queries, pages) = (hits(&self.gets), hits(&self.queries), hits(&self.scans));
        let snapshot = world.store().scan().await.expect("scanned");
        let pages_of_a_scan = (snapshot.read_units * 8.0 / 1024.0).ceil().max(1.0);
        let scans = pages / pages_of_a_scan * snapshot.read_units;
        Cost {
            writes: writes / watched.as_secs_f64(),
            reads: (gets + queries * 0.5 + scans) / watched.as_secs_f64(),
        }
    }
}
