//! Starting: one worker, many workers, and what keeps a worker from starting.

use std::collections::BTreeSet;
use std::time::Duration;

use kcl_core::{Checkpoint, Error, TableCreation, WorkerPhase, WorkerStatus};
use kcl_local::faults::{Fault, Rule};
use kcl_tests::{Behaviour, World, WorldOptions, eventually, scenarios};
use tokio::time::timeout;

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
async fn one_worker_reads_all_records_in_order_and_stops_in_good_order() {
    let world = World::with_shards(4).await;
    world.put(100, 400).await;
    let worker = world.start("one");
    let handle = worker.handle.clone();
    assert_eq!(handle.status().phase, WorkerPhase::Starting);
    let processed = |status: &WorkerStatus| {
        let of_shards = status.shards.iter().map(|shard| shard.records_processed);
        of_shards.sum::<u64>()
    };
    worker
        .until(Duration::from_secs(5), |status| processed(status) >= 400)
        .await;
    world.assert_exactly_once();
    let deliveries = world.ledger.deliveries();
    let read: BTreeSet<_> = deliveries.iter().map(|d| &d.shard).collect();
    assert_eq!(read.len(), 4, "records lie in all shards");

    let status = handle.status();
    assert_eq!(
        (status.phase, status.is_leader, status.leases_held),
        (WorkerPhase::Running, true, 4)
    );
    assert_eq!(processed(&status), 400);
    assert!(status.shards.iter().all(|shard| shard.problem.is_none()));
    let json = serde_json::to_value(&status).expect("serializable");
    assert_eq!(json["shards"][0]["state"], "processing");

    worker.stop().await;
    assert_eq!(handle.status().phase, WorkerPhase::Stopped);
    assert_eq!(world.ledger.calls("shutdown_requested"), 4);
    assert_eq!(world.ledger.calls("lease_lost"), 0);
    let leases = world.leases().await;
    assert_eq!(leases.len(), 4);
    for lease in leases {
        assert_eq!(lease.owner, None, "{} was released", lease.key);
        assert!(
            matches!(lease.checkpoint, Checkpoint::At(_)),
            "{} was checkpointed",
            lease.key
        );
    }
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
async fn a_worker_for_a_stream_that_does_not_exist_says_so() {
    let world = World::new(WorldOptions {
        shards: 1,
        is_policed: false,
        ..WorldOptions::default()
    })
    .await;
    let ended = world.on_stream("ordres").start("one").ended().await;
    let error = ended.expect_err("no such stream");
    assert!(matches!(error, Error::Stream { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("ordres") && text.contains("check the name, region and account"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_is_refused_with_all_its_problems() {
    let world = World::with_shards(1).await;
    let worker = world
        .on_stream("not a name")
        .builder("one", Behaviour::default())
        .failover_time(Duration::ZERO)
        .max_records(0);
    let text = worker.build().expect_err("wrong").to_string();
    for part in [
        "failover_time is 0ns; allowed are 1s to 3600s",
        "max_records is 0",
        "\"not a name\" names no stream",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_does_not_wait_for_a_worker_that_never_runs() {
    let world = World::with_shards(1).await;
    let worker = world.builder("one", Behaviour::default());
    let worker = worker.build().expect("valid");
    let handle = worker.handle();
    drop(worker);
    timeout(Duration::from_secs(1), handle.shutdown())
        .await
        .expect("at once");
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
