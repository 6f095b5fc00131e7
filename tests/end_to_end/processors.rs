//! Processors that fail, panic, block, or are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{Checkpoint, Problem, ShardState, WorkerStatus};
use kcl_tests::{Behaviour, Reaction, World, eventually};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

#[tokio::test(start_paused = true)]
async fn a_failing_processor_gets_the_same_batch_again_and_the_status_says_so() {
    let world = World::with_shards(1).await;
    world.put(5, 50).await;
    let worker = world.start_with("w1", Behaviour::at_first(6, Reaction::Fail));
    let is_told =
        |problem: &Problem| problem.code == "processor-failing" && problem.text.contains("not today");
    let is_failing = |status: &WorkerStatus| {
        let mut shards = status.shards.iter();
        shards.any(|shard| shard.attempts >= 2 && shard.problem.as_ref().is_some_and(is_told))
    };
    worker.until(Duration::from_secs(20), is_failing).await;
    assert_eq!(world.ledger.unique(), 0, "nothing is skipped");
    world.until_drained(Duration::from_secs(120)).await;
    world.assert_exactly_once();
    worker
        .until(Duration::from_secs(5), |status| {
            status.shards[0].problem.is_none()
        })
        .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_batch_is_repeated_until_it_succeeds_and_nothing_is_skipped() {
    for (reaction, text) in [
        (Reaction::Fail, "not today"),
        (Reaction::Panic, "the processor panicked: on purpose"),
    ] {
        let world = World::with_shards(1).await;
        world.put(20, 20).await;
        let fails = Arc::new(AtomicBool::new(true));
        let builder = world.builder("w1", Behaviour::while_set(&fails, reaction));
        let worker = world.run("w1", builder.prefetch_bytes_per_shard(1));
        // Longer than the fail-over time and, as nothing is read ahead, than a shard iterator lives.
        sleep(Duration::from_secs(900)).await;
        world.put(20, 20).await;
        let shard = worker.handle.status().shards.remove(0);
        assert!(shard.attempts > 50, "{shard:?}");
        let problem = shard.problem.expect("failing");
        assert!(
            problem.code == "processor-failing" && problem.since_ms > 890_000 && problem.text.contains(text),
            "{problem:?}"
        );
        assert_eq!(
            (shard.checkpoint.as_str(), world.ledger.unique()),
            ("TRIM_HORIZON", 0)
        );
        assert_eq!(world.ledger.calls("initialize"), 1, "the lease stayed");
        fails.store(false, Ordering::SeqCst);
        world.until_drained(Duration::from_secs(60)).await;
        world.assert_exactly_once();
        assert_eq!(worker.handle.status().shards[0].problem, None);
        worker.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_stops_at_once_while_a_processor_keeps_failing() {
    let world = World::with_shards(1).await;
    world.put(1, 1).await;
    let worker = world.start_with("w1", Behaviour::at_first(u32::MAX, Reaction::Fail));
    sleep(Duration::from_secs(120)).await;
    timeout(Duration::from_secs(3), worker.stop())
        .await
        .expect("in time");
    assert_eq!(
        world.leases().await[0].checkpoint,
        Checkpoint::TrimHorizon,
        "the failed batch is not checkpointed"
    );
    assert_eq!(world.ledger.calls("shutdown_requested"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panicking_processor_gets_the_same_batch_again() {
    let world = World::with_shards(2).await;
    world.put(10, 100).await;
    let worker = world.start_with("w1", Behaviour::at_first(3, Reaction::Panic));
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_exactly_once();
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_fails_for_long_keeps_its_lease() {
    let world = World::with_shards(1).await;
    world.put(5, 50).await;
    let worker = world.start_with("w1", Behaviour::at_first(u32::MAX, Reaction::Fail));
    let other = world.start("w2");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(worker.leases() + other.leases(), 1);
    let deliveries = world.ledger.unique();
    assert!(deliveries == 0 || other.leases() == 1);
}

#[tokio::test(start_paused = true)]
async fn a_blocked_processor_neither_loses_its_lease_nor_blocks_other_shards() {
    let world = World::with_shards(2).await;
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let behaviour = Behaviour::before_batch(move |shard, _| {
        let (blocks, released) = (shard.ends_with('0'), Arc::clone(&released));
        async move {
            if blocks {
                released.notified().await;
            }
            Ok(())
        }
    });
    let worker = world.start_with("w1", behaviour);
    world
        .until_processing(&[&worker], &[2], Duration::from_secs(5))
        .await;
    world.put(20, 200).await;
    sleep(Duration::from_secs(120)).await;
    let shards: Vec<_> = world.ledger.deliveries().into_iter().map(|d| d.shard).collect();
    assert!(
        !shards.is_empty() && shards.iter().all(|shard| shard.ends_with('1')),
        "the other shard flows"
    );
    let status = worker.handle.status();
    assert!(
        status
            .shards
            .iter()
            .all(|shard| shard.state == ShardState::Processing),
        "{status:?}"
    );
    let stuck = status
        .shards
        .iter()
        .find(|shard| shard.shard_id.ends_with('0'))
        .unwrap();
    assert!(
        stuck.progress_age_ms > 100_000,
        "the status shows that nothing moves: {stuck:?}"
    );
    for _ in 0..50 {
        release.notify_waiters();
        sleep(Duration::from_millis(50)).await;
    }
    world.until_drained(Duration::from_secs(1)).await;
    world.assert_exactly_once();
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_blocks_for_ever_does_not_keep_the_worker_from_stopping() {
    let world = World::with_shards(1).await;
    world.put(5, 50).await;
    let worker = world.start_with("w1", Behaviour::before_batch(|_, _| std::future::pending()));
    world
        .until_processing(&[&worker], &[1], Duration::from_secs(5))
        .await;
    timeout(Duration::from_secs(60), worker.stop())
        .await
        .expect("stops after the drain time-out");
    let lease = world.leases().await.remove(0);
    assert_eq!((lease.owner, lease.checkpoint.as_str()), (None, "TRIM_HORIZON"));
    let next = world.start("w2");
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_exactly_once();
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_hangs_does_not_keep_its_shard_beyond_the_drain_time_out() {
    let world = World::with_shards(1).await;
    world.put(1, 1).await;
    let hangs = Behaviour::scripted(|_, _| Reaction::Work(Duration::from_secs(3600)));
    let builder = world.builder("w1", hangs);
    let worker = world.run("w1", builder.drain_timeout(Duration::from_secs(7)));
    world
        .until_called("process_records", 1, Duration::from_secs(60))
        .await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(worker.leases(), 1, "a hanging processor does not stop renewals");

    let stopping = Instant::now();
    let stopped = tokio::spawn(worker.stop());
    let successor = world.start("w2");
    world.until_drained(Duration::from_secs(20)).await;
    world.assert_exactly_once();
    assert!(
        stopping.elapsed() > Duration::from_secs(7),
        "not before the time-out"
    );
    stopped.await.expect("not panicked");
    assert!(
        stopping.elapsed() < Duration::from_secs(15),
        "the worker does not wait for it either"
    );
    successor.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_succeeded_without_a_checkpoint_is_checkpointed_at_shutdown() {
    let world = World::with_shards(1).await;
    world.put(3, 3).await;
    let careless = Behaviour {
        checkpoints: false,
        ..Behaviour::default()
    };
    let worker = world.start_with("w1", careless);
    world.until_drained(Duration::from_secs(60)).await;
    assert_eq!(world.leases().await[0].checkpoint, Checkpoint::TrimHorizon);
    worker.stop().await;
    world.assert_exactly_once();
    assert!(matches!(world.leases().await[0].checkpoint, Checkpoint::At(_)));
}

#[tokio::test(start_paused = true)]
async fn a_processor_that_never_checkpoints_starts_over_with_its_successor_unless_it_stopped_well() {
    let world = World::with_shards(1).await;
    let careless = || Behaviour {
        checkpoints: false,
        ..Behaviour::default()
    };
    world.put(5, 50).await;
    let first = world.start_with("w1", careless());
    world.until_drained(Duration::from_secs(5)).await;
    first.kill().await;
    let second = world.start_with("w2", careless());
    let repeated = || (world.ledger.tally().duplicates == 50).then_some(());
    eventually(Duration::from_secs(20), repeated, || {
        world.ledger.tally().to_string()
    })
    .await;
    second.stop().await;
    let third = world.start("w3");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(
        world.ledger.tally().duplicates,
        50,
        "shutdown_requested checkpointed"
    );
    third.stop().await;
    world.assert_nothing_lost();
}
