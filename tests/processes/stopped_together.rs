//! A whole fleet is told to stop at once, shortly after one of its workers was killed, and started again.
//!
//! Those that leave look for somebody to leave their shards to, and the only row that they find may be that of the dead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use kcl_lease::{Lease, LeaseStore};
use kcl_tests::{Producer, eventually};
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Member};
use crate::report::broken_promises;
use crate::timeline::note;

/// So long that a shard that was left to the dead cannot be mistaken for one that is late.
const FAILOVER: Duration = Duration::from_secs(20);

/// A shard that was given up in good order flows about a second after the restart, and when the leader was killed its lock
/// is taken first, after half of the fail-over time; the rest is for a machine that does other things as well.
const RESTARTED: Duration = Duration::from_secs(6);

/// Workers of a fleet.
const WORKERS: usize = 3;

/// Time between two puts.
const BURST: Duration = Duration::from_secs(1);

/// Whatever is waited for comes about in this time, also on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Killed {
    Leader,
    Follower,
}

/// Who is killed, and how long before all the others are told to stop.
const ROUNDS: [(Killed, Duration); 4] = [
    (Killed::Follower, Duration::from_millis(1500)),
    (Killed::Follower, Duration::from_millis(50)),
    (Killed::Follower, Duration::from_millis(3000)),
    (Killed::Leader, Duration::from_millis(700)),
];

pub(crate) async fn a_fleet_stopped_after_a_kill_flows_at_once_when_it_is_started_again() {
    let rounds = ROUNDS.iter().enumerate();
    let rounds = rounds.map(|(round, (killed, pause))| stop_and_start_again(round + 1, *killed, *pause));
    let late: Vec<_> = join_all(rounds).await.into_iter().flatten().collect();
    assert_eq!(late, [""; 0]);
}

/// One round with a stream and a fleet of its own; the shards that flowed too late, as sentences.
async fn stop_and_start_again(round: usize, killed: Killed, pause: Duration) -> Vec<String> {
    let (logs, prefix) = (format!("stopped-together-{round}"), format!("{round}-w"));
    let mut fleet = Fleet::new(&logs, &prefix, FAILOVER).await;
    let producer = Producer::start(&fleet.world, BURST);
    for _ in 0..WORKERS {
        fleet.start().await;
    }
    until_all_have_shards(&fleet).await;
    let leader = leader(&fleet).await;
    let is_it = |member: &Member| (member.name == leader) == (killed == Killed::Leader);
    let index = fleet.members.iter().position(is_it).expect("there is one");
    let left_alone = shards_of(&fleet, &fleet.members[index].name).await;
    fleet.kill(index);
    sleep(pause).await;
    for index in 0..fleet.members.len() {
        fleet.tell_to_leave(index);
    }
    fleet.until_left().await;

    let restarted = Instant::now();
    for _ in 0..WORKERS {
        fleet.start().await;
    }
    let in_time = match killed {
        Killed::Leader => FAILOVER / 2 + RESTARTED,
        Killed::Follower => RESTARTED,
    };
    let names: BTreeSet<_> = fleet.members.iter().map(|member| member.name.clone()).collect();
    let given_up: Vec<_> = fleet.world.open_shards().await;
    let given_up = given_up.into_iter().filter(|shard| !left_alone.contains(shard));
    let mut late = Vec::new();
    for shard in given_up {
        let flowed = until_flowing(&fleet, &names, &shard, restarted).await;
        let seconds = flowed.as_secs_f64();
        let told = format!("{prefix}*: {shard} flows {seconds:.1} s after the restart");
        note(&told);
        if flowed > in_time {
            late.push(told);
        }
    }
    until_nothing_is_missing(&fleet).await;
    producer.stop().await;
    until_nothing_is_missing(&fleet).await;
    let (world, witness) = fleet.close().await;
    assert_eq!(broken_promises(&world.ledger.tally(), &witness.books()), [""; 0]);
    late
}

/// The worker that leads.
async fn leader(fleet: &Fleet) -> String {
    let lock = fleet.world.store().read_leader().await;
    let lock = lock.expect("read").expect("somebody has assigned the leases");
    lock.owner.as_str().to_owned()
}

/// The shards of a worker.
async fn shards_of(fleet: &Fleet, name: &str) -> BTreeSet<String> {
    let leases = fleet.world.leases().await;
    let its = leases
        .iter()
        .filter_map(settled)
        .filter(|(_, owner)| owner == name);
    its.map(|(shard, _)| shard).collect()
}

/// Waits until each worker processes a shard and no shard is on its way.
async fn until_all_have_shards(fleet: &Fleet) {
    let start = Instant::now();
    let shards = fleet.world.open_shards().await;
    loop {
        let processed = shards.iter().map(|shard| owner(fleet, shard)).collect::<Vec<_>>();
        // Who processes a shard has found the table.
        if processed.iter().all(Option::is_some) {
            let leases = fleet.world.leases().await;
            let named: BTreeMap<_, _> = leases.iter().filter_map(settled).collect();
            let owners: BTreeSet<_> = named.values().collect();
            let is_at_work =
                |(shard, processed): (&String, &Option<String>)| named.get(shard) == processed.as_ref();
            if owners.len() == WORKERS && shards.iter().zip(&processed).all(is_at_work) {
                return;
            }
        }
        assert!(start.elapsed() < PATIENCE, "not every worker processes a shard");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A lease's shard and owner, unless it is being handed over.
fn settled(lease: &Lease) -> Option<(String, String)> {
    let owner = lease
        .owner
        .as_ref()
        .filter(|_| lease.checkpoint_owner.is_none())?;
    Some((lease.key.as_str().to_owned(), owner.as_str().to_owned()))
}

/// Who was given the last record of a shard.
fn owner(fleet: &Fleet, shard: &str) -> Option<String> {
    let deliveries = fleet.world.ledger.deliveries().into_iter().rev();
    let mut its = deliveries.filter(|delivery| delivery.shard == shard);
    its.next().map(|delivery| delivery.worker)
}

/// How long after the restart one of these workers was given a record of the shard.
async fn until_flowing(fleet: &Fleet, names: &BTreeSet<String>, shard: &str, restarted: Instant) -> Duration {
    let by_them = |worker: &str, of: &str| of == shard && names.contains(worker);
    let flowing = || {
        let first = fleet
            .world
            .ledger
            .first_since(restarted, |delivery| by_them(&delivery.worker, &delivery.shard));
        first.map(|delivery| delivery.at.duration_since(restarted))
    };
    let describe = || format!("{shard} does not flow");
    eventually(PATIENCE, flowing, describe).await
}

async fn until_nothing_is_missing(fleet: &Fleet) {
    let ledger = &fleet.world.ledger;
    let puts = ledger.puts();
    let processed = || (ledger.missing(&puts) == 0).then_some(());
    let describe = || format!("{} records were not processed", ledger.missing(&puts));
    eventually(PATIENCE, processed, describe).await;
}
