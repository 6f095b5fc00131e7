//! Several workers.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use kcl_core::InitialPosition;

use crate::world::{Reaction, World};

#[tokio::test(start_paused = true)]
async fn a_crashed_workers_shards_are_taken_over() {
    let world = World::with_shards(4).await;
    world.put(100).await;
    let first = tokio::spawn(world.worker("one").build().expect("valid").run());
    world
        .eventually("the first batches are processed", 60, || world.delivered() == 100)
        .await;
    let second = tokio::spawn(world.worker("two").build().expect("valid").run());
    sleep(Duration::from_secs(30)).await;
    first.abort();
    world.put(100).await;
    let crashed = Instant::now();
    world
        .eventually("the survivor reads everything", 60, || world.is_complete())
        .await;
    println!("taken over after {:?}", crashed.elapsed());
    for (shard, put) in world.put_per_shard() {
        let mut seen = world.delivered_per_shard()[&shard].clone();
        seen.dedup();
        assert!(seen.len() >= put.len(), "{shard}");
    }
    assert_eq!(
        world.calls("lease_lost"),
        0,
        "the crashed worker was told nothing"
    );
    second.abort();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_is_handed_its_share_without_duplicates() {
    let world = World::with_shards(4).await;
    world.put(100).await;
    let one = world.worker("one").build().expect("valid");
    let one_handle = one.handle();
    let one_running = tokio::spawn(one.run());
    world
        .eventually("processed", 60, || world.delivered() == 100)
        .await;

    let two = world.worker("two").build().expect("valid");
    let two_handle = two.handle();
    let two_running = tokio::spawn(two.run());
    let joined = Instant::now();
    world
        .eventually("the shards are shared", 60, || {
            two_handle.status().leases_held == 2
        })
        .await;
    println!("balanced after {:?}", joined.elapsed());
    world.put(100).await;
    world
        .eventually("processed", 60, || world.delivered() >= 200)
        .await;
    assert_eq!(
        world.delivered_per_shard(),
        world.put_per_shard(),
        "nothing twice, nothing out of order"
    );
    assert_eq!(
        world.calls("shutdown_requested"),
        2,
        "two shards were handed over"
    );

    // The first worker, by now the leader, leaves: its shards go straight to the other one.
    let leaving = Instant::now();
    one_handle.shutdown().await;
    one_running.await.expect("not panicked").expect("stopped");
    println!("left after {:?}", leaving.elapsed());
    world.put(100).await;
    world
        .eventually("processed by the other", 60, || world.delivered() >= 300)
        .await;
    assert_eq!(
        world.delivered_per_shard(),
        world.put_per_shard(),
        "nothing twice, nothing out of order"
    );
    assert_eq!(two_handle.status().leases_held, 4);
    two_running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_start_at_the_latest_record_is_a_fixed_place_for_all_successors() {
    let world = World::with_shards(1).await;
    world.put(5).await;
    sleep(Duration::from_secs(60)).await;
    let worker = |id| {
        world
            .worker(id)
            .initial_position(InitialPosition::Latest)
            .build()
            .expect("valid")
    };

    let one = worker("one");
    let handle = one.handle();
    tokio::spawn(one.run());
    world
        .eventually("reading began", 60, || world.calls("initialize") == 1)
        .await;
    sleep(Duration::from_secs(60)).await;
    handle.shutdown().await;

    // Between two workers, and before any checkpoint.
    world.put(5).await;
    world.react(|_, _| Reaction::Fail);
    let two = tokio::spawn(worker("two").run());
    world
        .eventually("the records arrive", 60, || world.calls("fail") > 0)
        .await;
    two.abort();

    world.react(|_, _| Reaction::Process);
    let three = tokio::spawn(worker("three").run());
    world
        .eventually("all are processed", 60, || world.delivered() == 5)
        .await;
    let (put, seen) = (world.put_per_shard(), world.delivered_per_shard());
    assert_eq!(put["shardId-000000000000"][5..], seen["shardId-000000000000"]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.leases().await[0].pending_checkpoint,
        None,
        "the first checkpoint clears the note"
    );
    three.abort();
}
