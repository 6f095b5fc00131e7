//! Sums that workers keep in a database, as the example `exactly_once` does: in one file of SQLite that all of them share, and in a
//! PostgreSQL where that is installed.

use std::path::Path;
use std::time::Duration;

use kcl_examples::exactly_once::{Target, Total, Totals, conformance};
use kcl_tests::World;
use tokio::time::{Instant, sleep};

use crate::chaos::{Chaos, FAILOVER};
use crate::fleet::{Fleet, Sums};
use crate::postgres::{self, Postgres};
use crate::timeline::note;

/// What was told, but could not be written yet, is in the database within this time.
const SETTLING: Duration = Duration::from_secs(60);

pub(crate) async fn whatever_happens_to_processes_sums_in_a_database_are_exact(
    seed: u64,
    duration: Duration,
) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("processes/sums");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("sums.db");
    let server = Postgres::start(&folder.join("postgres.log")).await;
    let sqlite = storms("sqlite", "s", Sums::File(file), seed, duration);
    let postgres = async {
        match &server {
            // Another history.
            Ok(server) => storms("postgres", "p", Sums::Server(server.address), seed + 1, duration).await,
            Err(reason) => println!("test sums in PostgreSQL ... skipped: {reason}"),
        }
    };
    tokio::join!(sqlite, postgres);
}

async fn storms(name: &str, prefix: &str, sums: Sums, seed: u64, duration: Duration) {
    let target = match &sums {
        Sums::File(path) => Target::Sqlite(path.clone()),
        Sums::Server(address) => postgres::url(*address).parse().expect("a URL"),
    };
    until_prepared(&target).await;
    conformance::every_rule(&target).await;
    note(&format!("{name} keeps the rules"));
    let mut fleet = Fleet::new(&format!("{name}-{seed}"), prefix, FAILOVER).await;
    fleet.sums = Some(sums);
    let chaos = Chaos::rage(fleet, seed, duration).await;
    until_exact(name, &target, &chaos.fleet.world).await;
    let world = chaos.fleet.world.clone();
    println!("\n{name}");
    chaos.judge().await;
    // Nobody is left who could write.
    let (put, found) = (put(&world), found(&target).await);
    let records = |totals: &Totals| totals.values().map(|total| total.records).sum::<i64>();
    println!(
        "  {:6}  records put, and {} in the sums of {} accounts",
        records(&put),
        records(&found),
        found.len(),
    );
    assert_eq!(wrong(&put, &found), [""; 0], "{name}");
}

/// Accounts that are not as they must be, as sentences.
fn wrong(put: &Totals, found: &Totals) -> Vec<String> {
    let accounts = put
        .keys()
        .chain(found.keys().filter(|account| !put.contains_key(*account)));
    let wrong = accounts.filter(|account| put.get(*account) != found.get(*account));
    let told = wrong.map(|account| {
        let of = |totals: &Totals| totals.get(account).copied().unwrap_or_default();
        let (put, found) = (of(put), of(found));
        format!(
            "{account} is {} of {} records, and must be {} of {}",
            found.balance, found.records, put.balance, put.records
        )
    });
    told.collect()
}

/// A server that has just been started refuses clients for a moment.
async fn until_prepared(target: &Target) {
    let start = Instant::now();
    while let Err(error) = target.prepare().await {
        assert!(start.elapsed() < SETTLING, "{}", kcl_examples::chain(&error));
        sleep(Duration::from_millis(100)).await;
    }
}

/// What was put: each record of an account adds its number.
fn put(world: &World) -> Totals {
    let total = |records: u64| {
        let records = i64::try_from(records).expect("few");
        Total {
            balance: records * (records - 1) / 2,
            records,
        }
    };
    let puts = world.ledger.puts().into_iter();
    puts.map(|(account, records)| (account, total(records))).collect()
}

async fn found(target: &Target) -> Totals {
    let mut totals = target.database().totals().await.expect("read");
    totals.retain(|account, _| !account.starts_with("conformance"));
    totals
}

/// Waits until the database has what was put.
async fn until_exact(name: &str, target: &Target, world: &World) {
    let (start, put) = (Instant::now(), put(world));
    loop {
        let wrong = wrong(&put, &found(target).await);
        if wrong.is_empty() {
            return;
        }
        if start.elapsed() > SETTLING {
            panic!("{name}, after {SETTLING:?}: {wrong:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}
