//! Splits and merges while workers read.

use std::time::Duration;

use kcl_core::ShardState;
use tokio::time::{Instant, sleep};

use crate::world::{STREAM, World};

pub(crate) const MIDDLE: &str = "170141183460469231731687303715884105728";
const QUARTER: &str = "85070591730234615865843651857942052864";

fn shard(number: u32) -> String {
    format!("shardId-{number:012}")
}

pub(crate) async fn split(world: &World, number: u32, at: &str) {
    let request = world
        .kinesis
        .split_shard()
        .stream_name(STREAM)
        .shard_to_split(shard(number));
    request.new_starting_hash_key(at).send().await.expect("split");
    world.until_active().await;
}

async fn merge(world: &World, number: u32, adjacent: u32) {
    let request = world
        .kinesis
        .merge_shards()
        .stream_name(STREAM)
        .shard_to_merge(shard(number));
    request
        .adjacent_shard_to_merge(shard(adjacent))
        .send()
        .await
        .expect("merged");
    world.until_active().await;
}

#[tokio::test(start_paused = true)]
async fn splits_and_merges_are_followed_parents_first() {
    let world = World::with_shards(1).await;
    world.put(50).await;
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("reading began", 60, || world.delivered() > 0)
        .await;
    split(&world, 0, MIDDLE).await;
    world.put(50).await;
    world
        .eventually("the children are read", 60, || world.delivered() == 100)
        .await;
    merge(&world, 1, 2).await;
    world.put(50).await;
    world
        .eventually("the merged shard is read", 60, || world.delivered() == 150)
        .await;

    assert_eq!(
        world.delivered_per_shard(),
        world.put_per_shard(),
        "each once, in order"
    );
    let ended: Vec<_> = world
        .calls_of("shard_ended")
        .into_iter()
        .map(|(_, shard)| shard)
        .collect();
    let initialized: Vec<_> = world
        .calls_of("initialize")
        .into_iter()
        .map(|(_, shard)| shard)
        .collect();
    assert_eq!(initialized.len(), 4, "each shard has one processor");
    assert_eq!(initialized[3], shard(3));
    assert_eq!(ended.len(), 3);
    assert_eq!(
        handle.status().shards.last().map(|shard| shard.state),
        Some(ShardState::Processing)
    );

    // Once the children were started, the leases of the ended shards go, quietly.
    sleep(Duration::from_secs(150)).await;
    let left: Vec<_> = world
        .leases()
        .await
        .into_iter()
        .map(|lease| lease.key.to_string())
        .collect();
    assert_eq!(left, [shard(3)]);
    assert_eq!(world.calls("lease_lost"), 0);
    assert_eq!(handle.status().shards.len(), 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_resharded_before_the_start_is_read_from_its_first_shards() {
    let world = World::with_shards(2).await;
    world.put(40).await;
    merge(&world, 0, 1).await;
    world.put(40).await;
    split(&world, 2, MIDDLE).await;
    world.put(40).await;
    let one = tokio::spawn(world.worker("one").build().expect("valid").run());
    let two = tokio::spawn(world.worker("two").build().expect("valid").run());
    world
        .eventually("everything is read", 120, || world.delivered() >= 120)
        .await;
    assert_eq!(
        world.delivered_per_shard(),
        world.put_per_shard(),
        "each once, in order"
    );
    let seen: Vec<_> = world
        .calls_of("initialize")
        .into_iter()
        .map(|(_, shard)| shard)
        .collect();
    let position = |number| {
        seen.iter()
            .position(|seen| *seen == shard(number))
            .expect("initialized")
    };
    assert!(position(2) > position(0) && position(2) > position(1), "{seen:?}");
    assert!(position(3) > position(2) && position(4) > position(2), "{seen:?}");
    one.abort();
    two.abort();
}

/// The children of a split that are not begun by the worker of their parent, one of three, and how soon all are begun.
async fn children_that_go_elsewhere(max_leases: usize) -> (Vec<String>, Duration) {
    let world = World::with_shards(2).await;
    let run = |id| {
        let worker = world.worker(id).max_leases(max_leases).build().expect("valid");
        tokio::spawn(worker.run())
    };
    let running = ["one", "two", "three"].map(run);
    world.put(10).await;
    world
        .eventually("both shards are read", 60, || world.delivered() == 10)
        .await;
    sleep(Duration::from_secs(5)).await;
    let initialized = || world.calls_of("initialize").into_iter();
    let (owner, _) = initialized().rfind(|(_, of)| *of == shard(0)).expect("read");
    split(&world, 0, QUARTER).await;
    let since = Instant::now();
    let of_children = || initialized().filter(|(_, of)| *of > shard(1));
    world
        .eventually("both children are begun", 60, || of_children().count() >= 2)
        .await;
    let elsewhere = of_children().filter(|(worker, _)| *worker != owner);
    let elsewhere = elsewhere.map(|(_, shard)| shard).collect();
    running.iter().for_each(tokio::task::JoinHandle::abort);
    (elsewhere, since.elapsed())
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
