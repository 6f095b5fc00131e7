//! The leases are of another stream: the application was started on the wrong one, or the stream was deleted and made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{Checkpoint, Error, OtherStream, ShardState, ShardStatus, WorkerBuilder, WorkerStatus};
use kcl_lease::{ClientVersion, Lease, LeaseStore, StreamIdentity};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Reaction, World, WorldOptions};
use tokio::time::sleep;

async fn world(shards: i32) -> World {
    World::new(WorldOptions {
        shards,
        is_policed: false,
        ..WorldOptions::default()
    })
    .await
}

/// A world whose application has processed and checkpointed records of each shard, and stopped.
async fn with_progress(shards: i32) -> World {
    let world = world(shards).await;
    let worker = world.start("w1");
    world.put(80, 800).await;
    world.until_checkpointed(Duration::from_secs(20)).await;
    worker.stop().await;
    world
}

/// Deletes the world's stream and makes another one under its name.
async fn make_anew(world: &World, shards: i32) {
    // Creation is told in whole seconds; at the service a stream takes longer than that to go and to come.
    sleep(Duration::from_secs(5)).await;
    let deletion = world.kinesis.delete_stream().stream_name("clicks");
    deletion.send().await.unwrap();
    let is_there = async || {
        let summary = world.kinesis.describe_stream_summary().stream_name("clicks");
        summary.send().await.is_ok()
    };
    while is_there().await {
        sleep(Duration::from_secs(1)).await;
    }
    world.ledger.forget_puts();
    world.create_stream(shards).await;
}

fn anew(builder: WorkerBuilder) -> WorkerBuilder {
    builder.on_other_stream(OtherStream::BeginAnew)
}

/// What a worker of the application says that is to read another stream.
async fn refusal(world: &World) -> String {
    match world.start("w2").ended().await {
        Err(error @ Error::OtherStream(_)) => error.to_string(),
        other => panic!("it is not refused: {other:?}"),
    }
}

/// What says that a table is one of today.
fn java() -> ClientVersion {
    ClientVersion::new(ClientVersion::CURRENT, "java", 1)
}

fn progress(leases: &[Lease]) -> Vec<(String, String)> {
    let line = |lease: &Lease| (lease.key.to_string(), lease.checkpoint.to_string());
    leases.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn an_application_on_a_wrong_smaller_stream_is_refused_and_its_checkpoints_stay() {
    let world = with_progress(8).await;
    let before = world.store().scan().await.unwrap();
    let small = world.on_stream("small");
    small.create_stream(2).await;
    let text = refusal(&small).await;
    assert!(
        text.contains("they were made for clicks") && text.contains("small"),
        "{text}"
    );
    sleep(Duration::from_secs(300)).await;
    let after = world.store().scan().await.unwrap();
    assert_eq!((before.leases, before.workers), (after.leases, after.workers));
}

#[tokio::test(start_paused = true)]
async fn without_a_record_the_leases_themselves_show_that_they_are_of_a_larger_stream() {
    let world = world(2).await;
    let store = world.store();
    store.prepare().await.unwrap();
    store.agree_on_version(&java()).await.unwrap();
    let lease = |number| Lease::new(shard(number), kcl_lease::Checkpoint::parse("77", 0).unwrap());
    for number in 0..8 {
        store.create(&lease(number)).await.unwrap();
    }
    let text = refusal(&world).await;
    assert!(text.contains("another stream than clicks"), "{text}");
    assert_eq!(progress(&world.leases().await).len(), 8);
    assert!(
        world.store().stream().await.unwrap().is_none(),
        "nothing was written"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_made_anew_while_nobody_ran_is_refused() {
    let world = with_progress(2).await;
    let before = progress(&world.leases().await);
    make_anew(&world, 4).await;
    let text = refusal(&world).await;
    assert!(text.contains("Nothing was written"), "{text}");
    assert_eq!(progress(&world.leases().await), before);
}

#[tokio::test(start_paused = true)]
async fn it_is_read_from_its_beginning_by_choice_and_the_old_leases_are_kept() {
    let world = with_progress(2).await;
    let before = progress(&world.leases().await);
    let was = world.store().stream().await.unwrap().unwrap();
    make_anew(&world, 4).await;
    world.put(60, 600).await;
    let delivered = world.ledger.unique();
    let worker = world.run("w2", anew(world.builder("w2", Behaviour::default())));
    let is_read = |_: &WorkerStatus| world.ledger.deliveries().len() >= delivered + 600;
    worker.until(Duration::from_secs(30), is_read).await;
    let (of, kept): (Vec<StreamIdentity>, Vec<Lease>) =
        world.store().kept().await.unwrap().into_iter().unzip();
    assert_eq!(progress(&kept), before);
    assert!(of.iter().all(|of| *of == was));
    assert_ne!(world.store().stream().await.unwrap().unwrap(), was);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_runs_notices_and_ends_with_an_error() {
    let world = world(2).await;
    let worker = world.start("w1");
    world.put(80, 800).await;
    world.until_checkpointed(Duration::from_secs(20)).await;
    let before = progress(&world.leases().await);
    let delivered = world.ledger.deliveries().len();
    make_anew(&world, 4).await;
    world.put(60, 600).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), worker.ended());
    match ended.await.expect("it ends") {
        Err(error @ Error::OtherStream(_)) => {
            assert!(error.to_string().contains("which is gone"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        progress(&world.leases().await),
        before,
        "nothing ended, nothing deleted"
    );
    let of_the_next = world.ledger.deliveries().len() - delivered;
    assert_eq!(of_the_next, 0, "nothing of the next stream was read");
}

#[tokio::test(start_paused = true)]
async fn the_next_stream_is_not_read_with_leases_of_which_nothing_was_processed() {
    let world = world(2).await;
    let worker = world.start("w1");
    worker
        .until(Duration::from_secs(20), |status| status.leases_held == 2)
        .await;
    make_anew(&world, 2).await;
    world.put(60, 600).await;
    let ended = tokio::time::timeout(Duration::from_secs(60), worker.ended());
    let ended = ended.await.expect("it ends");
    assert!(matches!(ended, Err(Error::OtherStream(_))), "{ended:?}");
    assert_eq!(world.ledger.deliveries().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_its_parents_is_not_begun_in_the_next_stream() {
    let world = World::new(WorldOptions {
        shards: 2,
        is_policed: false,
        failover_time: Duration::from_secs(1_000),
        ..WorldOptions::default()
    })
    .await;
    world.merge(&shard(0), &shard(1)).await;
    let store = world.store();
    store.prepare().await.unwrap();
    store.agree_on_version(&java()).await.unwrap();
    let lease = |number| Lease::new(shard(number), Checkpoint::TrimHorizon);
    let mut parents = [0, 1].map(lease);
    for parent in &mut parents {
        parent.owner = Some("w2".into());
    }
    for parent in &parents {
        store.create(parent).await.unwrap();
    }
    let mut child = lease(2);
    child.parents = [shard(0), shard(1)].into();
    store.create(&child).await.unwrap();
    // It reads nothing, so no read tells it what becomes of the stream.
    let worker = world.start("w1");
    let waits = |shard: &ShardStatus| shard.state == ShardState::WaitingOnParents;
    worker
        .until(Duration::from_secs(30), |status| status.shards.iter().any(waits))
        .await;
    make_anew(&world, 2).await;
    world.put(60, 600).await;
    world.merge(&shard(0), &shard(1)).await;
    // As a worker does that sets the leases of the stream before aside.
    for parent in &parents {
        assert!(store.delete(parent).await.unwrap());
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), worker.ended());
    let ended = ended.await.expect("it ends");
    assert!(matches!(ended, Err(Error::OtherStream(_))), "{ended:?}");
    assert_eq!(world.ledger.calls("initialize"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_gone_is_told_until_it_is_seen_who_has_its_name() {
    let world = world(2).await;
    let worker = world.run("w1", anew(world.builder("w1", Behaviour::default())));
    world.put(80, 800).await;
    world.until_checkpointed(Duration::from_secs(20)).await;
    let told = |status: &WorkerStatus| {
        let is_missed = |problem: &kcl_lease::Problem| problem.code == "stream-not-found";
        let shards = status.shards.iter().filter_map(|shard| shard.problem.as_ref());
        (
            status.problems.iter().any(is_missed),
            shards.filter(|problem| is_missed(problem)).count(),
        )
    };
    sleep(Duration::from_secs(5)).await;
    let deletion = world.kinesis.delete_stream().stream_name("clicks");
    deletion.send().await.unwrap();
    worker
        .until(Duration::from_secs(15), |status| told(status) == (true, 2))
        .await;
    world.ledger.forget_puts();
    world.create_stream(2).await;
    let delivered = world.ledger.deliveries().len();
    world.put(60, 600).await;
    let is_read = || world.ledger.deliveries().len() >= delivered + 600;
    worker
        .until(Duration::from_secs(60), |status| {
            is_read() && told(status) == (false, 0)
        })
        .await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_runs_begins_anew_by_choice() {
    let world = world(2).await;
    let workers: Vec<_> = ["w1", "w2"]
        .map(|name| world.run(name, anew(world.builder(name, Behaviour::default()))))
        .into();
    world.put(80, 800).await;
    world.until_checkpointed(Duration::from_secs(20)).await;
    make_anew(&world, 4).await;
    let delivered = world.ledger.deliveries().len();
    world.put(60, 600).await;
    world
        .until(
            Duration::from_secs(120),
            || (world.ledger.deliveries().len() >= delivered + 600).then_some(()),
            || {
                let statuses: Vec<_> = workers.iter().map(|worker| worker.handle.status()).collect();
                format!(
                    "{} delivered, {statuses:?}",
                    world.ledger.deliveries().len() - delivered
                )
            },
        )
        .await;
    assert_eq!(world.leases().await.len(), 4);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_a_stream_that_is_gone_is_not_shown_though_its_call_goes_on() {
    let world = world(2).await;
    let is_slow = Arc::new(AtomicBool::new(false));
    let slow = is_slow.clone();
    let behaviour = Behaviour::scripted(
        move |of, _| match slow.load(Ordering::Relaxed) && of == shard(1) {
            true => Reaction::Work(Duration::from_secs(300)),
            false => Reaction::Process,
        },
    );
    let worker = world.run("w1", anew(world.builder("w1", behaviour)));
    world.put(80, 800).await;
    world.until_checkpointed(Duration::from_secs(20)).await;
    is_slow.store(true, Ordering::Relaxed);
    world.put(80, 800).await;
    make_anew(&world, 1).await;
    worker
        .until(Duration::from_secs(120), |status| {
            let shown: Vec<_> = status
                .shards
                .iter()
                .map(|shard| shard.shard_id.as_str())
                .collect();
            shown == [shard(0)]
        })
        .await;
    worker.stop().await;
}
