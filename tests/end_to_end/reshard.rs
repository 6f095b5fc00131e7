//! Splits and merges: parents before children, nothing lost, nothing out of order.

use std::time::Duration;

use kcl_core::ShardState;
use kcl_tests::scenarios::{self, assert_after, shard};
use kcl_tests::{Behaviour, World};
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn a_split_is_followed_by_both_children_within_four_seconds() {
    scenarios::a_split_is_followed_by_both_children(World::with_shards(2).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_merged_shard_waits_for_both_parents() {
    scenarios::a_merged_shard_waits_for_both_parents(World::with_shards(2).await).await;
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_are_followed_parents_first() {
    let world = World::with_shards(1).await;
    world.put(50, 50).await;
    let worker = world.start("one");
    world.until_drained(Duration::from_secs(60)).await;
    world.split(&shard(0)).await;
    world.put(50, 50).await;
    world.until_drained(Duration::from_secs(60)).await;
    world.merge(&shard(1), &shard(2)).await;
    world.put(50, 50).await;
    world.until_drained(Duration::from_secs(60)).await;

    world.assert_exactly_once();
    let initialized = world.ledger.called("initialize");
    assert_eq!(initialized.len(), 4, "each shard has one processor");
    assert_eq!(initialized[3].1, shard(3));
    assert_eq!(world.ledger.calls("shard_ended"), 3);
    assert_eq!(
        worker.handle.status().shards.last().map(|shard| shard.state),
        Some(ShardState::Processing)
    );

    // Once the children were started, the leases of the ended shards go, quietly.
    sleep(Duration::from_secs(150)).await;
    let leases = world.leases().await;
    let left: Vec<_> = leases.iter().map(|lease| lease.key.as_str()).collect();
    assert_eq!(left, [shard(3)]);
    assert_eq!(world.ledger.calls("lease_lost"), 0);
    assert_eq!(worker.handle.status().shards.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_resharded_before_the_start_is_read_from_its_first_shards() {
    let world = World::with_shards(2).await;
    world.put(40, 40).await;
    world.merge(&shard(0), &shard(1)).await;
    world.put(40, 40).await;
    world.split(&shard(2)).await;
    world.put(40, 40).await;
    let _workers = [world.start("one"), world.start("two")];
    world.until_drained(Duration::from_secs(120)).await;
    world.assert_exactly_once();
    let seen = world.ledger.called("initialize");
    let position = |number| {
        let mut seen = seen.iter();
        seen.position(|(_, of)| *of == shard(number))
            .expect("initialized")
    };
    assert!(position(2) > position(0) && position(2) > position(1), "{seen:?}");
    assert!(position(3) > position(2) && position(4) > position(2), "{seen:?}");
}

/// The children of a split that are not begun by the worker of their parent, one of three, and how soon all are begun.
async fn children_that_go_elsewhere(max_leases: usize) -> (Vec<String>, Duration) {
    let world = World::with_shards(2).await;
    let run = |id| {
        let builder = world.builder(id, Behaviour::default());
        world.run(id, builder.max_leases(max_leases))
    };
    let _running = ["one", "two", "three"].map(run);
    world.put(10, 10).await;
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_exactly_once();
    sleep(Duration::from_secs(5)).await;
    let initialized = || world.ledger.called("initialize").into_iter();
    let (owner, _) = initialized().rfind(|(_, of)| *of == shard(0)).expect("read");
    world.split(&shard(0)).await;
    let since = Instant::now();
    let of_children = || initialized().filter(|(_, of)| *of > shard(1));
    let are_begun = || (of_children().count() >= 2).then_some(());
    let not_begun = || format!("{:?}", world.ledger.called("initialize"));
    world.until(Duration::from_secs(60), are_begun, not_begun).await;
    let elsewhere = of_children().filter(|(worker, _)| *worker != owner);
    (elsewhere.map(|(_, shard)| shard).collect(), since.elapsed())
}

#[tokio::test(start_paused = true)]
async fn children_are_begun_at_once_where_their_parent_was_read() {
    let (elsewhere, took) = children_that_go_elsewhere(100).await;
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(took < Duration::from_millis(1_300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_child_for_which_the_worker_of_its_parent_has_no_room_goes_elsewhere() {
    let (elsewhere, _) = children_that_go_elsewhere(1).await;
    assert_eq!(elsewhere, [shard(3)]);
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
        sleep(Duration::from_secs(1)).await;
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
    let dynamodb = aws_sdk_dynamodb::Client::new(&world.aws(""));
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
