//! Starting: one worker, many workers, and what keeps a worker from starting.

use std::time::Duration;

use kcl_core::TableCreation;
use kcl_local::faults::{Fault, Rule};
use kcl_tests::{Behaviour, World, eventually, scenarios};

#[tokio::test(start_paused = true)]
async fn one_worker_processes_many_shards_exactly_once_and_in_order() {
    let world = World::with_shards(32).await;
    world.put(100, 2_000).await;
    let worker = world.start("w1");
    world.until_drained(Duration::from_secs(10)).await;
    world.put(100, 2_000).await;
    world.until_drained(Duration::from_secs(10)).await;
    worker.stop().await;
    world.assert_exactly_once();
    assert_eq!(world.ledger.calls("initialize"), 32);
    assert_eq!(world.ledger.calls("shutdown_requested"), 32);
    let leases = world.leases().await;
    assert!(
        leases.iter().all(|lease| lease.owner.is_none()),
        "a stopped worker leaves nothing behind"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fresh_application_reads_its_first_record_within_a_second() {
    let world = World::with_shards(4).await;
    world.put(8, 8).await;
    let start = tokio::time::Instant::now();
    let worker = world.start("w1");
    eventually(
        Duration::from_secs(1),
        || (world.ledger.unique() > 0).then_some(()),
        || "nothing was read".into(),
    )
    .await;
    assert!(start.elapsed() < Duration::from_secs(1));
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn three_workers_balance_and_share_the_stream() {
    let world = World::with_shards(9).await;
    let workers = ["w1", "w2", "w3"].map(|name| world.start(name));
    let all: Vec<_> = workers.iter().collect();
    world.put(50, 500).await;
    world
        .until_processing(&all, &[3, 3, 3], Duration::from_secs(15))
        .await;
    world.put(50, 500).await;
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_exactly_once();
    assert_eq!(
        workers
            .iter()
            .filter(|worker| worker.handle.status().is_leader)
            .count(),
        1
    );
    let leader = workers
        .iter()
        .find(|worker| worker.handle.status().is_leader)
        .unwrap();
    assert_eq!(leader.handle.status().workers, Some(3));
}

#[tokio::test(start_paused = true)]
async fn however_many_workers_start_a_new_application_at_the_same_moment_all_come_up() {
    for (workers, shards) in [(2, 7), (5, 10), (50, 100)] {
        let world = World::with_shards(shards).await;
        world
            .servers
            .faults
            .add(Rule::any().fault(Fault::none().after(Duration::from_millis(5))));
        world.put(200, 1_000).await;
        let fleet: Vec<_> = (1..=workers).map(|n| world.start(&format!("w{n}"))).collect();
        let all: Vec<_> = fleet.iter().collect();
        let shards = usize::try_from(shards).unwrap();
        let shares: Vec<_> = (0..workers).map(|n| (shards + n) / workers).collect();
        world
            .until_processing(&all, &shares, Duration::from_secs(15))
            .await;
        world.put(200, 1_000).await;
        world.until_drained(Duration::from_secs(10)).await;
        world.assert_exactly_once();
        for worker in fleet {
            worker.stop().await;
        }
        assert_eq!(world.leases().await.len(), shards);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_start_goes_on_where_the_first_stopped() {
    scenarios::a_second_start_goes_on_where_the_first_stopped(World::with_shards(4).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_that_may_not_be_created_is_an_error_that_says_what_is_required() {
    let world = World::with_shards(1).await;
    let builder = world
        .builder("w1", Behaviour::default())
        .table_creation(TableCreation::MustExist);
    let error = world
        .run("w1", builder)
        .ended()
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        error.contains("LeaseOwnerToLeaseKeyIndex") && error.contains("app"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_an_error_that_names_it() {
    let world = World::with_shards(1).await;
    world
        .kinesis
        .delete_stream()
        .stream_name("clicks")
        .send()
        .await
        .unwrap();
    let error = world.start("w1").ended().await.expect_err("refused").to_string();
    assert!(error.contains("clicks"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_worker_takes_more_leases_than_its_limit() {
    let world = World::with_shards(6).await;
    let limited = |name: &str| world.run(name, world.builder(name, Behaviour::default()).max_leases(2));
    let (first, second) = (limited("w1"), limited("w2"));
    world
        .until_processing(&[&first, &second], &[2, 2], Duration::from_secs(10))
        .await;
    let third = limited("w3");
    world
        .until_processing(&[&first, &second, &third], &[2, 2, 2], Duration::from_secs(10))
        .await;
}
