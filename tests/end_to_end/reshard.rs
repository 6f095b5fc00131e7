//! Splits and merges: parents before children, nothing lost, nothing out of order.

use std::time::Duration;

use kcl_tests::World;
use kcl_tests::scenarios::{self, assert_after, shard};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_split_is_followed_by_both_children_within_four_seconds() {
    scenarios::a_split_is_followed_by_both_children(World::with_shards(2).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_merged_shard_waits_for_both_parents() {
    scenarios::a_merged_shard_waits_for_both_parents(World::with_shards(2).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_split_before_its_parent_is_read_is_followed_generation_by_generation() {
    let world = World::with_shards(1).await;
    world.put(40, 200).await;
    world.split(&shard(0)).await;
    world.put(40, 200).await;
    world.split(&shard(1)).await;
    world.split(&shard(2)).await;
    world.put(40, 200).await;
    world.merge(&shard(4), &shard(5)).await;
    world.put(40, 200).await;
    let workers = [world.start("w1"), world.start("w2"), world.start("w3")];
    world.until_drained(Duration::from_secs(30)).await;
    world.assert_exactly_once();
    for (parent, child) in [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6), (4, 7), (5, 7)] {
        assert_after(&world, &shard(parent), &shard(child));
    }
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn ended_leases_are_removed_once_their_children_were_started() {
    let world = World::with_shards(1).await;
    let worker = world.start("w1");
    world.put(10, 100).await;
    world.until_drained(Duration::from_secs(5)).await;
    world.split(&shard(0)).await;
    world.put(10, 100).await;
    world.until_drained(Duration::from_secs(10)).await;
    let start = Instant::now();
    while world.leases().await.len() != 2 {
        assert!(
            start.elapsed() < Duration::from_secs(180),
            "{:?}",
            world.leases().await
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.put(10, 100).await;
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_exactly_once();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn doubling_and_halving_the_stream_under_load_loses_nothing() {
    let world = World::with_shards(4).await;
    let workers = [world.start("w1"), world.start("w2")];
    for count in [8, 4, 6] {
        world.put(100, 500).await;
        let scale = world
            .kinesis
            .update_shard_count()
            .stream_name("clicks")
            .target_shard_count(count);
        scale.scaling_type("UNIFORM_SCALING".into()).send().await.unwrap();
        world.put(100, 500).await;
    }
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_exactly_once();
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn a_worker_killed_while_shards_split_leaves_no_hole() {
    let world = World::with_shards(2).await;
    let (first, second) = (world.start("w1"), world.start("w2"));
    world.put(60, 300).await;
    world
        .until_processing(&[&first, &second], &[1, 1], Duration::from_secs(10))
        .await;
    world.split(&shard(0)).await;
    world.split(&shard(1)).await;
    world.put(60, 300).await;
    first.kill().await;
    world.until_drained(Duration::from_secs(30)).await;
    world.assert_nothing_lost();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_by_hand_comes_back() {
    let world = World::with_shards(4).await;
    let worker = world.start("w1");
    world.put(40, 400).await;
    world.until_drained(Duration::from_secs(5)).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.servers.backend.sdk_config());
    let key = aws_sdk_dynamodb::types::AttributeValue::S(shard(2));
    dynamodb
        .delete_item()
        .table_name("app")
        .key("leaseKey", key)
        .send()
        .await
        .unwrap();
    world.put(40, 400).await;
    world.until_drained(Duration::from_secs(420)).await;
    world.assert_nothing_lost();
    worker.stop().await;
}
