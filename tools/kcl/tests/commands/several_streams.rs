//! The table of a fleet that reads several streams.

use std::time::Duration;

use kcl_core::Streams;
use tokio::time::sleep;

use super::world::{Running, World};

/// Two streams of one shard each, with a record in each, which a worker has processed.
async fn of_two_streams() -> (World, Running) {
    let world = World::with_shards(1).await;
    world.create_stream("orders", 1).await;
    let worker = world.worker_on("w1", Streams::fixed(["clicks", "orders"]));
    world.put("a click", "k").await;
    world.put_to("orders", "an order", "k").await;
    world
        .until("processed", async || world.processed().len() == 2)
        .await;
    (world, worker)
}

/// The key of the lease of a stream's shard.
async fn key_of(world: &World, stream: &str) -> String {
    let leases = world.table().await.leases;
    let its = leases.iter().find(|lease| lease.key.as_str().contains(stream));
    its.expect("there is one").key.to_string()
}

#[tokio::test(start_paused = true)]
async fn shards_of_the_same_name_are_told_apart() {
    let (world, worker) = of_two_streams().await;
    let (clicks, orders) = (key_of(&world, "clicks").await, key_of(&world, "orders").await);
    world
        .kcl(&["list"])
        .await
        .says(0, &["1 worker, 2 shards", &clicks, &orders]);
    let lags = world.kcl(&["list", "--lag"]).await;
    lags.says(2, &["it is one of several streams: name one with --stream"]);
    world.put_to("orders", "another order", "k").await;
    let lags = world
        .kcl(&["--json", "list", "--lag", "--stream", "orders"])
        .await
        .json();
    for shard in lags["shards"].as_array().unwrap() {
        assert_eq!(shard["lag"].is_null(), shard["lease"] == clicks, "{shard}");
    }
    world
        .kcl(&["explain", &orders])
        .await
        .says(0, &["w1, a Rust worker", "the leader leaves it where it is"]);
    let told = world.kcl(&["pause", &orders, "--yes"]).await;
    told.says(0, &["1 row written."]);
    assert_eq!(world.lease(&clicks).await.paused_since, None);
    world
        .kcl(&["resume", "--all", "--yes"])
        .await
        .says(0, &["1 row written."]);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_of_several_streams_is_processed_anew() {
    let (world, worker) = of_two_streams().await;
    world.processed.lock().unwrap().clear();
    let told = world
        .kcl(&["reset", "--only-stream", "orders", "--to", "beginning", "--yes"])
        .await;
    told.says(0, &["1 row written.", "w1 has begun anew with"]);
    world
        .until("processed", async || !world.processed().is_empty())
        .await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.processed(), ["an order"]);
    let told = world
        .kcl(&["reset", "--only-stream", "views", "--to", "beginning", "--yes"])
        .await;
    told.says(1, &["no lease of the table names the stream views"]);
    worker.stop().await;
}
