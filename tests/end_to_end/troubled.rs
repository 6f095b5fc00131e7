//! Workers that cannot do their work: others get their shards, and they come back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kcl_local::faults::{Fault, Loss, Rule};
use kcl_tests::{Behaviour, Reaction, Running, World};
use tokio::time::{Instant, sleep};

fn problems(worker: &Running) -> Vec<&'static str> {
    let problems = worker.handle.status().problems;
    problems.iter().map(|problem| problem.code).collect()
}

/// Puts records every second for so long.
async fn put_for(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.put(16, 16).await;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Two workers with two shards each; the first one leads.
async fn two_workers(world: &World, first: Behaviour) -> [Running; 2] {
    let a = world.start_with("a", first);
    world.until_processing(&[&a], &[4], Duration::from_secs(10)).await;
    let b = world.start("b");
    world
        .until_processing(&[&a, &b], &[2, 2], Duration::from_secs(20))
        .await;
    put_for(world, 3).await;
    world.until_drained(Duration::from_secs(5)).await;
    [a, b]
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_that_may_not_read_flow_elsewhere_until_it_may() {
    let denied = || Fault::respond(400, "KMSAccessDeniedException");
    let timed_out = || Fault::drop_request(Loss::Hang);
    for (who, fault, limit) in [
        ("a", denied(), 30),
        ("b", denied(), 30),
        // A read that nobody answers is given up after half a minute.
        ("a", timed_out(), 70),
    ] {
        let world = World::with_shards(4).await;
        let workers = two_workers(&world, Behaviour::default()).await;
        let (sick, well) = if who == "a" {
            (&workers[0], &workers[1])
        } else {
            (&workers[1], &workers[0])
        };
        let rule = world
            .servers
            .faults
            .add(Rule::on("GetRecords").by(who).fault(fault));
        let broken_at = Instant::now();
        world.put(16, 16).await;
        world.until_drained(Duration::from_secs(limit)).await;
        let stood = broken_at.elapsed();
        assert!(
            stood > Duration::from_secs(15),
            "a short failure moves nothing: {stood:?}"
        );
        world
            .until_processing(&[sick, well], &[0, 4], Duration::from_secs(10))
            .await;
        assert_eq!(problems(sick), ["worker-unfit"], "{who}");
        // It stays away, though it is probed again and again.
        put_for(&world, 150).await;
        assert_eq!((sick.leases(), well.leases()), (0, 4));
        world.servers.faults.remove(rule);
        world
            .until_processing(&[sick, well], &[2, 2], Duration::from_secs(75))
            .await;
        put_for(&world, 5).await;
        world.until_drained(Duration::from_secs(5)).await;
        assert!(problems(sick).is_empty(), "{:?}", sick.handle.status().problems);
        world.assert_exactly_once();
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_cut_off_from_kinesis_alone_gives_its_shards_away_and_takes_none_as_leader() {
    let world = World::with_shards(4).await;
    let workers = two_workers(&world, Behaviour::default()).await;
    let [a, b] = &workers;
    assert!(a.handle.status().is_leader);
    let is_kinesis = |call: &kcl_local::faults::Call<'_>| {
        matches!(call.operation, "GetRecords" | "GetShardIterator" | "ListShards")
    };
    world.servers.faults.add(
        Rule::any()
            .by("a")
            .matching(is_kinesis)
            .fault(Fault::unreachable()),
    );
    world.put(16, 16).await;
    world.until_drained(Duration::from_secs(30)).await;
    world
        .until_processing(&[a, b], &[0, 4], Duration::from_secs(10))
        .await;
    put_for(&world, 120).await;
    assert_eq!((a.leases(), b.leases()), (0, 4));
    // What the stream does meanwhile is followed.
    world.split(&world.open_shards().await[0]).await;
    put_for(&world, 20).await;
    world.until_drained(Duration::from_secs(5)).await;
    assert_eq!(a.leases(), 0);
    world.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_whose_processors_cannot_start_flow_elsewhere_until_they_can() {
    let world = World::with_shards(4).await;
    let behaviour = Behaviour::default();
    let broken = Arc::clone(&behaviour.cannot_initialize);
    broken.store(true, Ordering::Relaxed);
    let b = world.start("b");
    world.until_processing(&[&b], &[4], Duration::from_secs(10)).await;
    let a = world.start_with("a", behaviour);
    sleep(Duration::from_secs(10)).await;
    world.put(16, 16).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!((a.leases(), b.leases()), (2, 2), "it has its share at first");
    world.until_drained(Duration::from_secs(20)).await;
    assert_eq!(problems(&a), ["worker-unfit"]);
    // Trials after 30, 60, 120, 240 s cost one shard 20 s each, and a hand-off.
    let (mut stood, mut longest) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..400 {
        world.put(16, 16).await;
        sleep(Duration::from_secs(1)).await;
        if world.ledger.unique() < world.ledger.put() {
            stood += Duration::from_secs(1);
            longest = longest.max(stood);
        } else {
            stood = Duration::ZERO;
        }
        assert!(a.leases() <= 1, "{} leases", a.leases());
    }
    assert!(longest < Duration::from_secs(30), "{longest:?}");
    broken.store(false, Ordering::Relaxed);
    world
        .until_processing(&[&a, &b], &[2, 2], Duration::from_secs(620))
        .await;
    world.until_drained(Duration::from_secs(5)).await;
    assert!(problems(&a).is_empty());
    world.assert_nothing_lost();
}

#[tokio::test(start_paused = true)]
async fn where_nobody_can_read_everybody_keeps_what_they_have_and_goes_on_at_once() {
    let world = World::with_shards(4).await;
    let workers = two_workers(&world, Behaviour::default()).await;
    let [a, b] = &workers;
    let began = world.ledger.called("initialize").len();
    let rule = world
        .servers
        .faults
        .add(Rule::on("GetRecords").fault(Fault::respond(400, "AccessDeniedException")));
    world.put(16, 16).await;
    for _ in 0..400 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((a.leases(), b.leases()), (2, 2));
    }
    assert_eq!(world.ledger.called("initialize").len(), began, "nothing moved");
    world.servers.faults.remove(rule);
    world.until_drained(Duration::from_secs(12)).await;
    put_for(&world, 20).await;
    assert!(problems(a).is_empty() && problems(b).is_empty());
    assert_eq!(world.ledger.called("initialize").len(), began);
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_can_process_moves_its_shard_once_and_no_other() {
    let world = World::with_shards(6).await;
    let is_poisoned = Arc::new(AtomicBool::new(false));
    let failures = Arc::new(AtomicU32::new(0));
    let behaviour = || {
        let (is_poisoned, failures) = (Arc::clone(&is_poisoned), Arc::clone(&failures));
        Behaviour::scripted(move |_, batch| {
            let poison = batch.iter().any(|record| record.partition_key() == "user-0");
            let fails = poison && is_poisoned.load(Ordering::Relaxed);
            failures.fetch_add(u32::from(fails), Ordering::Relaxed);
            if fails { Reaction::Fail } else { Reaction::Process }
        })
    };
    let workers = ["a", "b", "c"].map(|name| world.start_with(name, behaviour()));
    let all: Vec<_> = workers.iter().collect();
    world
        .until_processing(&all, &[2, 2, 2], Duration::from_secs(30))
        .await;
    let before = world.ledger.called("initialize").len();
    is_poisoned.store(true, Ordering::Relaxed);
    put_for(&world, 500).await;
    // The shard changes places with another one, that numbers stay even.
    let moved = world.ledger.called("initialize").len() - before;
    assert!((1..=3).contains(&moved), "{moved} moves");
    assert!(failures.load(Ordering::Relaxed) > 40, "it is tried on and on");
    let unfit = workers
        .iter()
        .filter(|worker| problems(worker).contains(&"worker-unfit"));
    assert_eq!(unfit.count(), 0);
    let told = workers
        .iter()
        .filter(|worker| problems(worker).contains(&"shards-failing"));
    assert_eq!(told.count(), 1);
    is_poisoned.store(false, Ordering::Relaxed);
    world.until_drained(Duration::from_secs(15)).await;
    world.assert_nothing_lost();
}
