//! Where reading starts.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::{Checkpoint, Environment, InitialPosition, PendingCheckpoint};
use kcl_lease::{LeaseChange, LeaseKey, LeaseStore};
use kcl_tests::{Behaviour, Reaction, Running, World};
use tokio::time::sleep;

fn counters(world: &World) -> BTreeMap<String, u64> {
    let mut least = BTreeMap::new();
    for d in world.ledger.deliveries() {
        let first = least.entry(d.key).or_insert(d.counter);
        *first = (*first).min(d.counter);
    }
    least
}

fn start_at_latest(world: &World, name: &str, behaviour: Behaviour) -> Running {
    let builder = world.builder(name, behaviour);
    world.run(name, builder.initial_position(InitialPosition::Latest))
}

#[tokio::test(start_paused = true)]
async fn latest_skips_what_was_put_before_and_nothing_after() {
    let world = World::with_shards(3).await;
    world.put(10, 100).await;
    let worker = start_at_latest(&world, "w1", Behaviour::default());
    world
        .until_processing(&[&worker], &[3], Duration::from_secs(5))
        .await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ledger.unique(), 0);
    world.put(10, 100).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.ledger.unique(), 100);
    assert!(counters(&world).values().all(|first| *first == 10));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_at_the_latest_record_is_a_fixed_place_for_all_successors() {
    let world = World::with_shards(1).await;
    world.put(1, 5).await;
    sleep(Duration::from_secs(60)).await;
    let one = start_at_latest(&world, "one", Behaviour::default());
    world.until_called("initialize", 1, Duration::from_secs(60)).await;
    sleep(Duration::from_secs(60)).await;
    one.stop().await;

    // Between two workers, and before any checkpoint.
    world.put(1, 5).await;
    let two = start_at_latest(&world, "two", Behaviour::at_first(u32::MAX, Reaction::Fail));
    world
        .until_called("process_records", 1, Duration::from_secs(60))
        .await;
    two.kill().await;

    let _three = start_at_latest(&world, "three", Behaviour::default());
    let delivered = || (world.ledger.unique() == 5).then_some(());
    world
        .until(Duration::from_secs(60), delivered, || {
            world.ledger.tally().to_string()
        })
        .await;
    let deliveries = world.ledger.deliveries();
    let counters: Vec<_> = deliveries.iter().map(|d| d.counter).collect();
    assert_eq!(counters, [5, 6, 7, 8, 9]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.leases().await[0].pending_checkpoint,
        None,
        "the first checkpoint clears the note"
    );
}

#[tokio::test(start_paused = true)]
async fn children_of_a_shard_read_from_latest_are_read_whole() {
    let world = World::with_shards(1).await;
    world.put(10, 100).await;
    let worker = start_at_latest(&world, "w1", Behaviour::default());
    world
        .until_processing(&[&worker], &[1], Duration::from_secs(5))
        .await;
    sleep(Duration::from_secs(2)).await;
    world.ledger.forget_puts();
    let before = world.ledger.unique();
    assert_eq!(before, 0);
    world.split("shardId-000000000000").await;
    world.put(10, 200).await;
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_exactly_once();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_timestamp_starts_with_the_first_record_at_or_after_it() {
    let world = World::with_shards(3).await;
    world.put(10, 100).await;
    sleep(Duration::from_secs(60)).await;
    let middle = world.servers.backend.clock().now();
    sleep(Duration::from_secs(60)).await;
    world.put(10, 100).await;
    world.split("shardId-000000000001").await;
    world.put(10, 100).await;
    let builder = world
        .builder("w1", Behaviour::default())
        .initial_position(InitialPosition::AtTimestamp(middle));
    let worker = world.run("w1", builder);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.ledger.unique(), 200);
    assert!(counters(&world).values().all(|first| *first == 10));
    assert!(world.ledger.tally().disorder.is_empty());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_trim_horizon_starts_with_closed_shards_that_still_hold_records() {
    let world = World::with_shards(1).await;
    world.put(10, 100).await;
    world.split("shardId-000000000000").await;
    world.put(10, 100).await;
    let worker = world.start("w1");
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_exactly_once();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_first_reader_whose_clock_is_a_day_ahead_does_not_keep_the_next_one_from_reading() {
    let world = World::with_shards(1).await;
    let clock = world.servers.backend.clock().clone();
    let ahead = move || clock.now() + Duration::from_secs(86_400);
    let builder = world
        .builder("w1", Behaviour::default())
        .initial_position(InitialPosition::Latest)
        .environment(Environment::seeded(7, ahead));
    let first = world.run("w1", builder);
    world
        .until_processing(&[&first], &[1], Duration::from_secs(5))
        .await;
    first.kill().await;
    world.put(5, 50).await;
    let second = start_at_latest(&world, "w2", Behaviour::default());
    world.until_drained(Duration::from_secs(30)).await;
    world.assert_nothing_lost();
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_prepared_by_the_first_reader_does_not_hide_where_it_began() {
    let world = World::with_shards(1).await;
    let first = start_at_latest(&world, "w1", Behaviour::default());
    world
        .until_processing(&[&first], &[1], Duration::from_secs(5))
        .await;
    first.kill().await;
    world.put(5, 50).await;
    let (store, key) = (world.store(), LeaseKey::from("shardId-000000000000"));
    let lease = store.get(&key).await.expect("read").expect("a lease");
    let prepared = LeaseChange::Checkpoint {
        throughput_kbps: None,
        checkpoint: Checkpoint::Latest,
        pending: Some(PendingCheckpoint::new(Checkpoint::TrimHorizon, None)),
    };
    store.write(&lease, &prepared).await.expect("written");
    let second = start_at_latest(&world, "w2", Behaviour::default());
    world.until_drained(Duration::from_secs(30)).await;
    world.assert_nothing_lost();
    second.stop().await;
}
