//! Shards that get no further, and shards that are not to: what is told of both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::testing::Remembering;
use kcl_core::{ShardState, ShardStatus, WorkerBuilder, WorkerStatus};
use kcl_lease::LeaseStore as _;
use kcl_local::faults::{Fault, Rule};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Reaction, World};
use tokio::time::sleep;

const MINUTE: Duration = Duration::from_secs(60);

/// What the hook was told: the reason, or that it is over.
type Told = Arc<Mutex<Vec<Option<String>>>>;

/// A worker whose shards stall after a minute.
fn watched(world: &World, behaviour: Behaviour) -> (WorkerBuilder, Told) {
    let told = Told::default();
    let teller = told.clone();
    let hook = move |shard: &ShardStatus| {
        let stalled = shard.stalled.as_ref().map(|problem| problem.text.clone());
        teller.lock().unwrap().push(stalled);
    };
    let builder = world.builder("one", behaviour);
    (builder.stalled_after(MINUTE).on_stalled(hook), told)
}

fn stalled(status: &WorkerStatus) -> Option<String> {
    let problem = status.shards.first()?.stalled.as_ref()?;
    assert_eq!(problem.code, "stalled");
    assert!(problem.since_ms >= 60_000);
    Some(problem.text.clone())
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_processor_is_busy_for_long_is_told_once_and_when_it_goes_on() {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    let (builder, told) = watched(&world, Behaviour::at_first(1, Reaction::Work(10 * MINUTE)));
    let worker = world.run("one", builder);
    let is_busy = |status: &WorkerStatus| {
        stalled(status).is_some_and(|why| why.contains("busy with one call of process_records"))
    };
    worker.until(2 * MINUTE, is_busy).await;
    world.until_drained(10 * MINUTE).await;
    worker.until(MINUTE, |status| stalled(status).is_none()).await;
    sleep(30 * MINUTE).await;
    let told = told.lock().unwrap().clone();
    assert!(
        matches!(&told[..], [Some(_), None]),
        "an idle shard does not stall: {told:?}"
    );
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_stalls_and_is_lost_does_not_stall_here_any_more() {
    let world = World::with_shards(1).await;
    let (builder, _) = watched(&world, Behaviour::default());
    let seen = Arc::new(Remembering::default());
    let one = world.run("one", builder.recorder(seen.clone()));
    one.until(MINUTE, |status| status.leases_held == 1).await;
    one.handle.pause();
    world.put(1, 10).await;
    one.until(3 * MINUTE, |_| seen.value("stalled") == 1.0).await;
    let lease = world.leases().await.remove(0);
    assert!(world.store().delete(&lease).await.unwrap());
    one.until(MINUTE, |_| seen.value("stalled") == 0.0).await;
    one.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_fails_is_told_with_the_failure() {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    let fails = Arc::new(AtomicBool::new(true));
    let (builder, told) = watched(&world, Behaviour::while_set(&fails, Reaction::Fail));
    let worker = world.run("one", builder);
    let is_failing = |status: &WorkerStatus| stalled(status).is_some_and(|why| why.contains("not today"));
    worker.until(3 * MINUTE, is_failing).await;
    fails.store(false, Ordering::SeqCst);
    let is_over = |status: &WorkerStatus| stalled(status).is_none() && told.lock().unwrap().len() == 2;
    worker.until(MINUTE, is_over).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_be_read_is_told_with_what_kinesis_says() {
    let world = World::with_shards(1).await;
    let (builder, _) = watched(&world, Behaviour::default());
    let worker = world.run("one", builder);
    worker.until(MINUTE, |status| status.leases_held == 1).await;
    let faults = &world.servers.faults;
    let rule = faults.add(Rule::on("GetRecords").fault(Fault::internal_error()));
    world.put(1, 10).await;
    let is_told = |status: &WorkerStatus| stalled(status).is_some_and(|why| why.contains("GetRecords"));
    worker.until(3 * MINUTE, is_told).await;
    faults.remove(rule);
    world.until_drained(MINUTE).await;
    worker.until(MINUTE, |status| stalled(status).is_none()).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_paused_delivers_nothing_keeps_its_lease_and_goes_on() {
    let world = World::with_shards(2).await;
    world.put(100, 200).await;
    let (builder, _) = watched(&world, Behaviour::default());
    let worker = world.run("one", builder);
    world.until_drained(MINUTE).await;
    worker.handle.pause_shard(&shard(0));
    let delivered = || {
        let deliveries = world.ledger.deliveries();
        deliveries.iter().filter(|it| it.shard == shard(0)).count()
    };
    let before = delivered();
    world.put(100, 200).await;
    let state = |status: &WorkerStatus| {
        let of = |it: &&ShardStatus| it.shard_id == shard(0);
        status
            .shards
            .iter()
            .find(of)
            .map(|it| (it.state, it.stalled.is_some()))
    };
    worker
        .until(MINUTE, |status| {
            state(status) == Some((ShardState::Paused, false))
        })
        .await;
    worker
        .until(3 * MINUTE, |status| {
            state(status) == Some((ShardState::Paused, true))
        })
        .await;
    sleep(10 * MINUTE).await;
    assert_eq!(delivered(), before);
    let status = worker.handle.status();
    assert_eq!((status.leases_held, status.is_paused), (2, false));
    worker.handle.resume_shard(&shard(0));
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    worker
        .until(MINUTE, |status| {
            state(status) == Some((ShardState::Processing, false))
        })
        .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_paused_for_all_stays_so_with_its_next_owner_until_that_one_resumes_it() {
    let world = World::with_shards(2).await;
    let one = world.start("one");
    one.until(MINUTE, |status| status.leases_held == 2).await;
    let paused = |status: &WorkerStatus| {
        let shards = status.shards.iter();
        let paused = shards.filter(|it| it.state == ShardState::Paused);
        paused.map(|it| it.shard_id.clone()).collect::<Vec<_>>()
    };
    one.handle.pause_shard_for_all(&shard(0)).await.expect("written");
    // It is so at once, and not only when a record comes.
    one.until(MINUTE, |status| paused(status) == [shard(0)]).await;
    let elsewhere = one.handle.pause_shard_for_all("shardId-000000000077").await;
    assert!(
        elsewhere
            .expect_err("unknown")
            .to_string()
            .contains("does not have")
    );
    world.put(100, 200).await;
    let two = world.start("two");
    assert!(one.stop().await.is_orderly());
    two.until(MINUTE, |status| {
        status.leases_held == 2 && paused(status) == [shard(0)]
    })
    .await;
    sleep(10 * MINUTE).await;
    let deliveries = world.ledger.deliveries();
    assert!(!deliveries.is_empty() && deliveries.iter().all(|it| it.shard == shard(1)));
    // What is paused here alone is resumed here alone.
    two.handle.resume_shard(&shard(0));
    sleep(MINUTE).await;
    assert_eq!(world.ledger.deliveries().len(), deliveries.len());
    two.handle.resume_shard_for_all(&shard(0)).await.expect("written");
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    assert_eq!(world.leases().await[0].paused_since, None);
    two.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_paused_can_be_stopped_and_its_shards_go_on_elsewhere() {
    let world = World::with_shards(2).await;
    let one = world.start("one");
    one.until(MINUTE, |status| status.leases_held == 2).await;
    one.handle.pause();
    world.put(100, 200).await;
    one.until(MINUTE, |status| {
        status.is_paused && status.shards.iter().all(|it| it.state == ShardState::Paused)
    })
    .await;
    assert_eq!(world.ledger.unique(), 0);
    let two = world.start("two");
    let stopped = one.stop().await;
    assert!(!stopped.is_cut_short);
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    two.stop().await;
}
