//! Processors that fail, panic or hang.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::{Checkpoint, FailurePolicy, RecordBatch, SkipRule};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{Reaction, World};

/// Fails until it is told to stop.
fn failing(world: &World, reaction: Reaction) -> Arc<AtomicU32> {
    let failures = Arc::new(AtomicU32::new(u32::MAX));
    let left = failures.clone();
    world.react(move |_, _| match left.load(Ordering::Relaxed) {
        0 => Reaction::Process,
        _ => reaction,
    });
    failures
}

#[tokio::test(start_paused = true)]
async fn a_failing_batch_is_repeated_until_it_succeeds_and_nothing_is_skipped() {
    for reaction in [Reaction::Fail, Reaction::Panic] {
        let world = World::with_shards(1).await;
        world.put(20).await;
        let failures = failing(&world, reaction);
        let worker = world
            .worker("one")
            .prefetch_bytes_per_shard(1)
            .build()
            .expect("valid");
        let handle = worker.handle();
        let running = tokio::spawn(worker.run());

        // Longer than the fail-over time and, as nothing is read ahead, than a shard iterator lives.
        sleep(Duration::from_secs(900)).await;
        world.put(20).await;
        let shard = handle.status().shards.remove(0);
        assert!(shard.attempts > 50, "{shard:?}");
        let problem = shard.problem.expect("failing");
        assert!(
            problem.code == "processor-failing" && problem.since_ms > 890_000,
            "{problem:?}"
        );
        let error = problem.text;
        let expected = if reaction == Reaction::Fail {
            "not today"
        } else {
            "the processor panicked: on purpose"
        };
        assert!(error.contains(expected), "{error}");
        assert_eq!(
            (shard.checkpoint.as_str(), world.delivered()),
            ("TRIM_HORIZON", 0)
        );
        assert_eq!(world.calls("initialize"), 1, "the lease stayed");

        failures.store(0, Ordering::Relaxed);
        world
            .eventually("everything is processed", 60, || world.delivered() == 40)
            .await;
        assert_eq!(world.delivered_per_shard(), world.put_per_shard());
        assert_eq!(handle.status().shards[0].problem, None);
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_of_many_costs_itself() {
    let world = World::with_shards(1).await;
    world.put(300).await;
    world.react(|_, batch| match holds(batch, "order 217") {
        true => Reaction::Fail,
        false => Reaction::Process,
    });
    let worker = world
        .worker("one")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("the records behind it are processed", 120, || {
            holds_all(&world, (0..300).filter(|number| *number != 217))
        })
        .await;
    let shard = handle.status().shards.remove(0);
    assert_eq!((shard.records_skipped, shard.problem), (1, None));
    world.put(1).await;
    world
        .eventually("the next record is processed", 60, || holds_all(&world, 300..301))
        .await;
    assert_eq!(handle.status().shards[0].records_skipped, 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_sink_skips_nothing() {
    for shards in [1, 3] {
        let world = World::with_shards(shards).await;
        world.put(1000).await;
        let failures = failing(&world, Reaction::Fail);
        let worker = world
            .worker("one")
            .failure_policy(skipping())
            .build()
            .expect("valid");
        let handle = worker.handle();
        let running = tokio::spawn(worker.run());
        sleep(Duration::from_secs(3600)).await;
        let told = handle.status().shards.remove(0).problem.expect("failing");
        assert!(
            told.text.contains("not skipped") && told.since_ms > 3_000_000,
            "{told:?}"
        );
        failures.store(0, Ordering::Relaxed);
        world
            .eventually("everything is processed", 120, || world.delivered() >= 1000)
            .await;
        assert_eq!(world.delivered_per_shard(), world.put_per_shard());
        let skipped = |shard: &kcl_core::ShardStatus| shard.records_skipped;
        assert_eq!(handle.status().shards.iter().map(skipped).sum::<u64>(), 0);
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_record_directly_behind_the_checkpoint_is_skipped_by_the_next_owner() {
    let world = World::with_shards(1).await;
    world.put(10).await;
    world.react(|_, batch| match holds(batch, "order 10") {
        true => Reaction::Fail,
        false => Reaction::Process,
    });
    let one = world
        .worker("one")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = one.handle();
    let running = tokio::spawn(one.run());
    world
        .eventually("the first ten are processed", 60, || world.delivered() == 10)
        .await;
    handle.shutdown().await;
    running.await.expect("not panicked").expect("stopped");
    world.put(10).await;
    let two = world
        .worker("two")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = two.handle();
    let running = tokio::spawn(two.run());
    world
        .eventually("those behind it are processed", 120, || holds_all(&world, 11..20))
        .await;
    assert_eq!(handle.status().shards[0].records_skipped, 1);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn of_two_bad_records_in_a_row_the_second_is_skipped_although_the_owner_changed_between_them() {
    let world = World::with_shards(1).await;
    world.put(10).await;
    world.react(
        |_, batch| match holds(batch, "order 4") || holds(batch, "order 5") {
            true => Reaction::Fail,
            false => Reaction::Process,
        },
    );
    let one = world
        .worker("one")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = one.handle();
    let running = tokio::spawn(one.run());
    let skipped = || {
        handle
            .status()
            .shards
            .first()
            .is_some_and(|shard| shard.records_skipped == 1)
    };
    world.eventually("the first one is skipped", 120, skipped).await;
    handle.shutdown().await;
    running.await.expect("not panicked").expect("stopped");
    let two = world
        .worker("two")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let running = tokio::spawn(two.run());
    world
        .eventually("those behind both are processed", 240, || {
            holds_all(&world, 6..10)
        })
        .await;
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn an_outage_for_one_shard_alone_skips_nothing() {
    let world = World::with_shards(3).await;
    world.put(300).await;
    let failures = Arc::new(AtomicU32::new(1));
    let away = failures.clone();
    let victim = world.put_per_shard().into_values().next().expect("records");
    world.react(move |_, batch| match away.load(Ordering::Relaxed) > 0 {
        true if batch.iter().any(|record| victim.contains(&payload(record))) => Reaction::Fail,
        _ => Reaction::Process,
    });
    let worker = world
        .worker("one")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    for _ in 0..60 {
        sleep(Duration::from_secs(10)).await;
        world.put(3).await;
    }
    failures.store(0, Ordering::Relaxed);
    world
        .eventually("everything is processed", 120, || world.is_complete())
        .await;
    let skipped = |shard: &kcl_core::ShardStatus| shard.records_skipped;
    assert_eq!(handle.status().shards.iter().map(skipped).sum::<u64>(), 0);
    running.abort();
}

fn payload(record: &kcl_core::Record) -> String {
    String::from_utf8_lossy(record.data()).into_owned()
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_batch_is_delivered_again_after_a_stop() {
    let world = World::with_shards(1).await;
    world.put(100).await;
    world.react(
        |worker, batch| match worker == "one" && holds(batch, "order 60") {
            true => Reaction::Fail,
            false => Reaction::ProcessWithoutCheckpoint,
        },
    );
    let worker = world
        .worker("one")
        .failure_policy(skipping())
        .build()
        .expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("half of the batch is processed", 60, || holds_all(&world, 0..60))
        .await;
    handle.shutdown().await;
    running.await.expect("not panicked").expect("stopped");
    assert!(matches!(world.leases().await[0].checkpoint, Checkpoint::At(_)));
    let two = tokio::spawn(world.worker("two").build().expect("valid").run());
    world
        .eventually("the rest is processed", 60, || world.is_complete())
        .await;
    assert_eq!(world.delivered_per_shard(), world.put_per_shard(), "each once");
    two.abort();
}

fn skipping() -> FailurePolicy {
    let five = NonZeroU32::new(5).expect("not zero");
    FailurePolicy::SkipAfter(SkipRule::new(five, Duration::from_secs(30)))
}

fn holds(batch: &RecordBatch, text: &str) -> bool {
    batch
        .iter()
        .any(|record| record.data().as_ref() == text.as_bytes())
}

fn holds_all(world: &World, numbers: impl IntoIterator<Item = usize>) -> bool {
    let delivered: BTreeSet<String> = world.delivered_per_shard().into_values().flatten().collect();
    numbers
        .into_iter()
        .all(|number| delivered.contains(&format!("order {number}")))
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_at_once_while_a_processor_keeps_failing() {
    let world = World::with_shards(1).await;
    world.put(1).await;
    failing(&world, Reaction::Fail);
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    sleep(Duration::from_secs(120)).await;
    timeout(Duration::from_secs(3), handle.shutdown())
        .await
        .expect("in time");
    running.await.expect("not panicked").expect("stopped");
    assert_eq!(
        world.leases().await[0].checkpoint,
        Checkpoint::TrimHorizon,
        "the failed batch is not checkpointed"
    );
    assert_eq!(world.calls("shutdown_requested"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_succeeded_without_a_checkpoint_is_checkpointed_at_shutdown() {
    let world = World::with_shards(1).await;
    world.put(3).await;
    world.react(|_, _| Reaction::ProcessWithoutCheckpoint);
    let worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world.eventually("processed", 60, || world.delivered() == 3).await;
    assert_eq!(world.leases().await[0].checkpoint, Checkpoint::TrimHorizon);
    handle.shutdown().await;
    running.await.expect("not panicked").expect("stopped");
    assert!(matches!(world.leases().await[0].checkpoint, Checkpoint::At(_)));
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_hangs_does_not_keep_its_shard_beyond_the_drain_time_out() {
    let world = World::with_shards(1).await;
    world.put(1).await;
    world.react(|worker, _| match worker {
        "one" => Reaction::Work(Duration::from_secs(3600)),
        _ => Reaction::Process,
    });
    let worker = world
        .worker("one")
        .drain_timeout(Duration::from_secs(7))
        .build()
        .expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("the processor hangs", 60, || world.calls("process") == 1)
        .await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(
        handle.status().leases_held,
        1,
        "a hanging processor does not stop renewals"
    );

    let stopping = Instant::now();
    tokio::spawn(async move { handle.shutdown().await });
    let successor = tokio::spawn(world.worker("two").build().expect("valid").run());
    world
        .eventually("another worker processes the record", 20, || {
            world.delivered() == 1
        })
        .await;
    assert!(
        stopping.elapsed() > Duration::from_secs(7),
        "not before the time-out"
    );
    running.await.expect("not panicked").expect("stopped");
    assert!(
        stopping.elapsed() < Duration::from_secs(15),
        "the worker does not wait for it either"
    );
    successor.abort();
}
