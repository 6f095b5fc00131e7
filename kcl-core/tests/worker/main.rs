//! Workers read streams through the real SDK and a backend in the same process, in virtual time.

#![allow(clippy::expect_used, reason = "also in the helpers of tests")]

mod accounts;
mod broken;
mod checkpoints;
mod failures;
mod fleets;
mod measured;
mod resharding;
mod stops;
mod world;

use std::time::Duration;

use kcl_core::{Checkpoint, Error, WorkerPhase};
use tokio::time::Instant;
use world::World;

#[tokio::test(start_paused = true)]
async fn one_worker_reads_all_records_in_order_and_stops_in_good_order() {
    let world = World::with_shards(4).await;
    world.put(400).await;
    assert_eq!(world.put_per_shard().len(), 4, "records lie in all shards");

    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    assert_eq!(handle.status().phase, WorkerPhase::Starting);
    let started = Instant::now();
    let running = tokio::spawn(worker.run());
    world
        .eventually("all records are processed", 60, || world.delivered() >= 400)
        .await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "a fresh start took {:?}",
        started.elapsed()
    );
    assert_eq!(
        world.delivered_per_shard(),
        world.put_per_shard(),
        "each once, in the order of its shard"
    );

    let status = handle.status();
    assert_eq!(
        (status.phase, status.is_leader, status.leases_held),
        (WorkerPhase::Running, true, 4)
    );
    assert_eq!(
        status
            .shards
            .iter()
            .map(|shard| shard.records_processed)
            .sum::<u64>(),
        400
    );
    assert!(status.shards.iter().all(|shard| shard.problem.is_none()));
    let json = serde_json::to_value(&status).expect("serializable");
    assert_eq!(json["shards"][0]["state"], "processing");

    handle.shutdown().await;
    running.await.expect("not panicked").expect("stopped");
    assert_eq!(handle.status().phase, WorkerPhase::Stopped);
    assert_eq!(world.calls("shutdown_requested"), 4);
    assert_eq!(world.calls("lease_lost"), 0);
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
async fn records_that_arrive_later_are_delivered_within_the_idle_time() {
    let world = World::with_shards(1).await;
    let running = tokio::spawn(world.worker("one").build().expect("valid").run());
    world
        .eventually("the processor is there", 60, || world.calls("initialize") == 1)
        .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    for round in 1..=5 {
        world.put(1).await;
        world
            .eventually("the record is delivered", 2, || world.delivered() == round)
            .await;
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_worker_for_a_stream_that_does_not_exist_says_so() {
    let world = World::with_shards(1).await;
    let error = world
        .worker_for("one", "ordres")
        .build()
        .expect("valid")
        .run()
        .await
        .expect_err("no such stream");
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
        .worker_for("one", "not a name")
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
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    drop(worker);
    tokio::time::timeout(Duration::from_secs(1), handle.shutdown())
        .await
        .expect("at once");
}
