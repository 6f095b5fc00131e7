//! Shards that change hands: a worker joins, stops, dies, or sleeps through its lease.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{LeaseChange, LeaseStore};
use kcl_tests::{Behaviour, Running, World, eventually, scenarios};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// Workers w1.. of which the first leads, balanced over six shards, with records flowing.
async fn balanced(world: &World, count: usize) -> Vec<Running> {
    let mut workers = Vec::new();
    for i in 1..=count {
        workers.push(world.start(&format!("w{i}")));
        let all: Vec<_> = workers.iter().collect();
        let expected = vec![6 / i; i];
        world
            .until_processing(&all, &expected, Duration::from_secs(20))
            .await;
    }
    assert!(workers[0].handle.status().is_leader);
    workers
}

/// Puts 60 records, spread over all shards, every 200 ms.
async fn keep_putting(world: World) {
    loop {
        world.put(60, 60).await;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until each of `shards` has delivered a record to somebody else; how long that took since `since`.
async fn until_taken(
    world: &World,
    shards: &[String],
    from: &str,
    since: Instant,
    limit: Duration,
) -> Duration {
    let taken = |shard: &String| {
        world
            .ledger
            .first_since(since, |d| d.shard == *shard && d.worker != from)
            .map(|d| d.at)
    };
    let all = || shards.iter().map(taken).collect::<Option<Vec<_>>>();
    let times = eventually(limit, all, || {
        format!("{shards:?} of {from} do not all flow again")
    })
    .await;
    times
        .into_iter()
        .max()
        .map_or(Duration::ZERO, |last| last - since)
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_takes_its_share_without_a_duplicate() {
    let world = World::with_shards(6).await;
    let producer = tokio::spawn(keep_putting(world.clone()));
    let mut workers = balanced(&world, 1).await;
    workers.push(world.start("w2"));
    let all: Vec<_> = workers.iter().collect();
    world
        .until_processing(&all, &[3, 3], Duration::from_secs(8))
        .await;
    producer.abort();
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_is_handed_its_share_without_duplicates() {
    let world = World::with_shards(4).await;
    world.put(100, 100).await;
    let one = world.start("one");
    world.until_drained(Duration::from_secs(60)).await;
    let two = world.start("two");
    world
        .until_processing(&[&one, &two], &[2, 2], Duration::from_secs(60))
        .await;
    world.put(100, 100).await;
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_exactly_once();
    let handed_over = world.ledger.calls("shutdown_requested");
    assert_eq!(handed_over, 2, "two shards were handed over");

    // The first worker, by now the leader, leaves: its shards go straight to the other one.
    one.stop().await;
    world.put(100, 100).await;
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_exactly_once();
    assert_eq!(two.leases(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_workers_shards_are_taken_over() {
    let world = World::with_shards(4).await;
    world.put(100, 100).await;
    let first = world.start("one");
    world.until_drained(Duration::from_secs(60)).await;
    let _second = world.start("two");
    sleep(Duration::from_secs(30)).await;
    first.kill().await;
    world.put(100, 100).await;
    world.until_drained(Duration::from_secs(60)).await;
    world.assert_nothing_lost();
    let told = world.ledger.calls("lease_lost");
    assert_eq!(told, 0, "the crashed worker was told nothing");
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_s_shards_flow_again_within_the_fail_over_time_and_three_seconds() {
    for victim in [1, 0] {
        let world = World::with_shards(6).await;
        let producer = tokio::spawn(keep_putting(world.clone()));
        let mut workers = balanced(&world, 3).await;
        sleep(Duration::from_secs(21)).await;
        let victim = workers.remove(victim);
        let (name, shards, killed_at) = (victim.name.clone(), victim.processing(), Instant::now());
        assert_eq!(shards.len(), 2);
        victim.kill().await;
        until_taken(&world, &shards, &name, killed_at, Duration::from_secs(13)).await;
        let rest: Vec<_> = workers.iter().collect();
        world
            .until_processing(&rest, &[3, 3], Duration::from_secs(5))
            .await;
        producer.abort();
        world.until_drained(Duration::from_secs(5)).await;
        world.assert_nothing_lost();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_s_shards_flow_again_within_two_seconds_without_a_duplicate() {
    for leaver in [1, 0] {
        let world = World::with_shards(6).await;
        let producer = tokio::spawn(keep_putting(world.clone()));
        let mut workers = balanced(&world, 3).await;
        sleep(Duration::from_secs(5)).await;
        let leaver = workers.remove(leaver);
        let (name, shards, told_at) = (leaver.name.clone(), leaver.processing(), Instant::now());
        let stopping = tokio::spawn(leaver.stop());
        until_taken(&world, &shards, &name, told_at, Duration::from_secs(2)).await;
        stopping.await.unwrap();
        let rest: Vec<_> = workers.iter().collect();
        world
            .until_processing(&rest, &[3, 3], Duration::from_secs(5))
            .await;
        producer.abort();
        world.until_drained(Duration::from_secs(5)).await;
        world.assert_exactly_once();
        assert_eq!(world.ledger.called("lease_lost"), vec![], "nobody lost anything");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_deploy_loses_nothing_and_repeats_nothing() {
    let world = World::with_shards(6).await;
    let producer = tokio::spawn(keep_putting(world.clone()));
    let mut workers = balanced(&world, 3).await;
    for generation in 0..3 {
        let old = workers.remove(0);
        workers.push(world.start(&format!("new{generation}")));
        old.stop().await;
        sleep(Duration::from_secs(3)).await;
    }
    let all: Vec<_> = workers.iter().collect();
    world
        .until_processing(&all, &[2, 2, 2], Duration::from_secs(15))
        .await;
    producer.abort();
    world.until_drained(Duration::from_secs(5)).await;
    world.assert_exactly_once();
}

#[tokio::test(start_paused = true)]
async fn a_killed_worker_is_replaced_by_its_peer() {
    scenarios::a_killed_worker_is_replaced_by_its_peer(World::with_shards(4).await).await;
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_a_stream_and_hand_it_on() {
    scenarios::two_workers_share_a_stream_and_hand_it_on(World::with_shards(2).await).await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_worker_that_is_killed_is_followed_by_a_new_one() {
    scenarios::a_lone_worker_that_is_killed_is_followed_by_a_new_one(World::with_shards(4).await).await;
}

/// A worker whose every request and whose processor stand still, as in a frozen process, and that then goes on.
#[tokio::test(start_paused = true)]
async fn a_worker_that_sleeps_through_its_lease_wakes_up_to_a_loss() {
    let world = World::with_shards(2).await;
    let frozen = Arc::new(Notify::new());
    let thaw = Arc::clone(&frozen);
    let is_frozen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let freezes = Arc::clone(&is_frozen);
    let behaviour = Behaviour::before_batch(move |_, _| {
        let (frozen, freezes) = (Arc::clone(&frozen), Arc::clone(&freezes));
        async move {
            if freezes.load(std::sync::atomic::Ordering::SeqCst) {
                frozen.notified().await;
            }
            Ok(())
        }
    });
    let sleeper = world.start_with("sleeper", behaviour);
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(5)).await;

    is_frozen.store(true, std::sync::atomic::Ordering::SeqCst);
    world.servers.faults.cut_with(
        "sleeper",
        kcl_local::faults::Fault::drop_request(kcl_local::faults::Loss::Hang),
    );
    world.put(20, 200).await;
    let other = world.start("other");
    world.until_drained(Duration::from_secs(14)).await;
    sleep(Duration::from_secs(60)).await;
    let checkpoints: Vec<_> = world
        .leases()
        .await
        .into_iter()
        .map(|lease| (lease.key, lease.checkpoint))
        .collect();

    is_frozen.store(false, std::sync::atomic::Ordering::SeqCst);
    world.servers.faults.heal("sleeper");
    for _ in 0..4 {
        thaw.notify_waiters();
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let after: Vec<_> = world
        .leases()
        .await
        .into_iter()
        .map(|lease| (lease.key, lease.checkpoint))
        .collect();
    assert_eq!(after, checkpoints, "a stale owner wrote a checkpoint");
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(10)).await;
    world.assert_nothing_lost();
    world
        .until_processing(&[&sleeper, &other], &[1, 1], Duration::from_secs(20))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_stolen_in_the_middle_of_a_batch_refuses_the_old_owner_s_checkpoint() {
    let world = World::with_shards(1).await;
    let proceed = Arc::new(Notify::new());
    let proceeds = Arc::clone(&proceed);
    let behaviour = Behaviour::before_batch(move |_, _| {
        let proceeds = Arc::clone(&proceeds);
        async move {
            proceeds.notified().await;
            Ok(())
        }
    });
    let victim = world.start_with("victim", behaviour);
    world.put(5, 50).await;
    world
        .until_called("process_records", 1, Duration::from_secs(10))
        .await;
    let lease = world.leases().await.remove(0);
    let steal = LeaseChange::Assign { to: "thief".into() };
    world.store().write(&lease, &steal).await.unwrap();
    proceed.notify_one();
    world.until_called("lease_lost", 1, Duration::from_secs(5)).await;
    let lease = world.leases().await.remove(0);
    assert_eq!(
        lease.checkpoint.as_str(),
        "TRIM_HORIZON",
        "its checkpoint must fail"
    );
    assert_eq!(lease.owner, Some("thief".into()));
    victim.kill().await;
}

/// Runs a worker until it has processed all of some new records, and stops it; its fencing token.
async fn token_of(world: &World, name: &str) -> u64 {
    let worker = world.start(name);
    world.put(3, 30).await;
    world.until_drained(Duration::from_secs(5)).await;
    worker.stop().await;
    world.ledger.deliveries().last().expect("delivered").token
}

#[tokio::test(start_paused = true)]
async fn fencing_tokens_go_on_to_grow_when_the_table_is_restored_or_made_anew() {
    let world = World::with_shards(1).await;
    let client = aws_sdk_dynamodb::Client::new(&world.aws(""));
    let first = token_of(&world, "w1").await;
    let backup = client.scan().table_name("app").send().await.expect("scanned");
    let second = token_of(&world, "w2").await;
    assert!(second > first);
    for row in backup.items() {
        let restored = client.put_item().table_name("app").set_item(Some(row.clone()));
        restored.send().await.expect("restored");
    }
    let third = token_of(&world, "w3").await;
    assert!(third > second, "{third} after {second}");
    client
        .delete_table()
        .table_name("app")
        .send()
        .await
        .expect("deleted");
    let fourth = token_of(&world, "w4").await;
    assert!(fourth > third, "{fourth} after {third}");
}

#[tokio::test(start_paused = true)]
async fn fencing_tokens_grow_with_every_owner() {
    let world = World::with_shards(1).await;
    for name in ["w1", "w2", "w3"] {
        let worker = world.start(name);
        world.put(3, 30).await;
        world.until_drained(Duration::from_secs(5)).await;
        worker.stop().await;
    }
    let deliveries = world.ledger.deliveries();
    let mut tokens: Vec<_> = deliveries.iter().map(|d| d.token).collect();
    assert!(tokens.is_sorted());
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}
