//! Processors that fail, panic or hang.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kcl_core::{Checkpoint, FailurePolicy};
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
        assert!(shard.is_failing && shard.attempts > 50, "{shard:?}");
        let error = shard.last_error.expect("failing");
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
        assert!(!handle.status().shards[0].is_failing);
        running.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_may_skip_a_poisoned_batch() {
    let world = World::with_shards(1).await;
    world.put(1).await;
    world.react(
        |_, batch| match batch.iter().any(|record| record.data().as_ref() == b"order 0") {
            true => Reaction::Fail,
            false => Reaction::Process,
        },
    );
    let three = NonZeroU32::new(3).expect("not zero");
    let worker = world
        .worker("one")
        .failure_policy(FailurePolicy::SkipAfter(three))
        .build()
        .expect("valid");
    let running = tokio::spawn(worker.run());
    world
        .eventually("the batch failed", 60, || world.calls("fail") == 3)
        .await;
    world.put(1).await;
    world
        .eventually("the next record is processed", 60, || world.delivered() == 1)
        .await;
    assert_eq!(world.calls("fail"), 3);
    running.abort();
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
