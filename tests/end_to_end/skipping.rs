//! Processors that may skip a record that fails alone: one that is bad costs itself, an outage costs nothing.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{Checkpoint, FailurePolicy, LastResort, ShardStatus};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Reaction, Running, World};
use tokio::time::sleep;

/// Fails with each batch that holds one of these records of the only key.
fn failing_at(bad: &'static [u64]) -> Behaviour {
    Behaviour::scripted(|_, batch| {
        let is_bad = |data: &[u8]| bad.iter().any(|counter| data == counter.to_string().as_bytes());
        match batch.iter().any(|record| is_bad(record.data())) {
            true => Reaction::Fail,
            false => Reaction::Process,
        }
    })
}

/// A worker that skips a record which has failed five times and for half a minute.
fn start(world: &World, name: &str, behaviour: Behaviour) -> Running {
    let five = NonZeroU32::new(5).expect("not zero");
    let policy = FailurePolicy::after(five, Duration::from_secs(30)).then(LastResort::Skip);
    world.run(name, world.builder(name, behaviour).failure_policy(policy))
}

/// How many records each of the worker's shards has skipped.
fn skipped(worker: &Running) -> Vec<u64> {
    let skipped = |shard: &ShardStatus| shard.records_skipped;
    worker.handle.status().shards.iter().map(skipped).collect()
}

/// Waits until so many records are missing; which they are.
async fn until_missing(world: &World, count: usize, limit: Duration) -> Vec<String> {
    let are_missing = || (world.ledger.unique() + count == world.ledger.put()).then_some(());
    world
        .until(limit, are_missing, || world.ledger.tally().to_string())
        .await;
    world.ledger.tally().lost
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn one_bad_record_of_many_costs_itself() {
    let world = World::with_shards(1).await;
    world.put(1, 300).await;
    let worker = start(&world, "one", failing_at(&[217]));
    assert_eq!(until_missing(&world, 1, 2 * MINUTE).await, ["user-0:217"]);
    let status = worker.handle.status();
    assert_eq!((skipped(&worker), &status.shards[0].problem), (vec![1], &None));
    world.put(1, 1).await;
    assert_eq!(until_missing(&world, 1, MINUTE).await, ["user-0:217"]);
    assert_eq!(skipped(&worker), [1]);
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_sink_skips_nothing() {
    for shards in [1, 3] {
        let world = World::with_shards(shards).await;
        world.put(100, 1000).await;
        let is_away = Arc::new(AtomicBool::new(true));
        let worker = start(&world, "one", Behaviour::while_set(&is_away, Reaction::Fail));
        sleep(60 * MINUTE).await;
        let told = worker.handle.status().shards.remove(0).problem.expect("failing");
        assert!(
            told.text.contains("not given up") && told.since_ms > 3_000_000,
            "{told:?}"
        );
        is_away.store(false, Ordering::SeqCst);
        world.until_drained(2 * MINUTE).await;
        world.assert_exactly_once();
        assert_eq!(skipped(&worker).iter().sum::<u64>(), 0);
        worker.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_for_one_shard_alone_skips_nothing() {
    let world = World::with_shards(3).await;
    world.put(100, 300).await;
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let behaviour = Behaviour::scripted(move |of, _| match away.load(Ordering::SeqCst) && of == shard(0) {
        true => Reaction::Fail,
        false => Reaction::Process,
    });
    let worker = start(&world, "one", behaviour);
    for _ in 0..60 {
        sleep(Duration::from_secs(10)).await;
        world.put(3, 3).await;
    }
    is_away.store(false, Ordering::SeqCst);
    world.until_drained(2 * MINUTE).await;
    world.assert_nothing_lost();
    assert_eq!(skipped(&worker).iter().sum::<u64>(), 0);
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_directly_behind_the_checkpoint_is_skipped_by_the_next_owner() {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    let one = start(&world, "one", failing_at(&[10]));
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    one.stop().await;
    world.put(1, 10).await;
    let two = start(&world, "two", failing_at(&[10]));
    assert_eq!(until_missing(&world, 1, 2 * MINUTE).await, ["user-0:10"]);
    assert_eq!(skipped(&two), [1]);
    two.kill().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_bad_records_in_a_row_the_second_is_skipped_although_the_owner_changed_between_them() {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    let one = start(&world, "one", failing_at(&[4, 5]));
    one.until(2 * MINUTE, |_| skipped(&one) == [1]).await;
    one.stop().await;
    let two = start(&world, "two", failing_at(&[4, 5]));
    let missing = until_missing(&world, 2, 4 * MINUTE).await;
    assert_eq!(missing, ["user-0:4", "user-0:5"]);
    two.kill().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_batch_is_delivered_again_after_a_stop() {
    let world = World::with_shards(1).await;
    world.put(1, 100).await;
    let without_checkpoint = |behaviour| Behaviour {
        checkpoints: false,
        ..behaviour
    };
    let one = start(&world, "one", without_checkpoint(failing_at(&[60])));
    let missing = until_missing(&world, 40, MINUTE).await;
    assert_eq!(missing.first().map(String::as_str), Some("user-0:60"));
    one.stop().await;
    assert!(matches!(world.leases().await[0].checkpoint, Checkpoint::At(_)));
    let two = world.start_with("two", without_checkpoint(Behaviour::default()));
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    two.kill().await;
}
