//! A worker that leaves hands everything over, and leaves nothing behind.

use super::*;
use crate::keeper::LossReason;
use crate::store::tests::flaky::FlakyStore;
use crate::store::{LeaseChange, UnreadableRow, WriteOutcome};

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_hands_its_leases_over_within_two_seconds() {
    for leader_stops in [false, true] {
        let store = table_of(6).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[6], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        let c = TestWorker::join(&store, "c").await;
        until_held(&[&a, &b, &c], &[2, 2, 2], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(10)).await;
        let (leaver, rest) = if leader_stops { (a, [b, c]) } else { (c, [a, b]) };
        let leaving = tokio::spawn(leaver.stop());
        until_held(&[&rest[0], &rest[1]], &[3, 3], Duration::from_secs(2)).await;
        leaving.await.unwrap();
        let snapshot = store.scan().await.unwrap();
        assert_eq!(snapshot.workers.len(), 2, "the leaver's row is gone");
        sleep(Duration::from_secs(3)).await;
        assert_eq!(rest.iter().filter(|worker| worker.leads()).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_while_leases_are_on_their_way_to_it_strands_none() {
    for pause in (0..4500).step_by(100).map(Duration::from_millis) {
        let store = table_of(8).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[8], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        sleep(pause).await;
        b.stop().await;
        until_held(&[&a], &[8], Duration::from_millis(5500)).await;
    }
}

/// A hand-off from a worker that was cut off and has lost the lease: nobody but this worker knows that it is free.
#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_finishes_hand_offs_of_leases_that_it_lost() {
    let store = table_of(1).await;
    let key = LeaseKey::from("s00");
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[1], Duration::from_secs(5)).await;
    a.processor.abort();
    a.fleet.held()[0].lose(LossReason::Expired);
    let lease = store.get(&key).await.unwrap().unwrap();
    let to = "b".into();
    let began = store
        .write(&lease, &LeaseChange::BeginHandOff { to })
        .await
        .unwrap();
    assert!(matches!(began, WriteOutcome::Applied(_)));

    a.fleet.prepare_to_leave(Duration::from_secs(4)).await;
    a.fleet.leave().await;

    let left = store.get(&key).await.unwrap().unwrap();
    assert_eq!(left.owner, Some("b".into()));
    assert_eq!(left.checkpoint_owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_worker_frees_a_lease_that_it_lost_only_when_the_processor_has_let_go() {
    let store = table_of(1).await;
    let env = Environment::seeded(1, || UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let options = FleetOptions::with_failover_time(FAILOVER);
    let (fleet, mut acquired) = Membership::join(Arc::clone(&store), "a", options, env)
        .await
        .unwrap();
    let held = acquired.recv().await.expect("the only worker gets it");
    let owner = async || store.get(held.key()).await.unwrap().unwrap().owner;
    held.lose(LossReason::Expired);
    fleet.prepare_to_leave(Duration::from_secs(4)).await;
    assert_eq!(owner().await, Some("a".into()), "it is still at work");
    fleet.leave().await;
    assert_eq!(owner().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_keeps_no_other_one_from_being_freed() {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = flaky.clone();
    for key in ["a", "b", "c"] {
        store
            .create(&Lease::new(key, Checkpoint::TrimHorizon))
            .await
            .unwrap();
    }
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[3], Duration::from_secs(5)).await;
    a.processor.abort();
    for held in a.fleet.held() {
        held.lose(LossReason::Expired);
    }
    // The first one in the order in which they are given back.
    flaky.set_unreadable(vec![UnreadableRow {
        key: "a".to_owned(),
        problem: "leaseCounter is not a number".to_owned(),
    }]);
    a.fleet.prepare_to_leave(Duration::from_secs(4)).await;
    a.fleet.leave().await;
    flaky.set_unreadable(Vec::new());
    for (key, owner) in [("a", Some("a".into())), ("b", None), ("c", None)] {
        assert_eq!(
            store.get(&key.into()).await.unwrap().unwrap().owner,
            owner,
            "{key}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_worker_to_stop_leaves_nothing_behind_and_a_restart_is_immediate() {
    let store = table_of(4).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[4], Duration::from_secs(1)).await;
    a.stop().await;
    let snapshot = store.scan().await.unwrap();
    assert!(snapshot.leases.iter().all(|lease| lease.owner.is_none()));
    assert!(snapshot.workers.is_empty());
    assert_eq!(store.read_leader().await.unwrap(), None);
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&b], &[4], Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_successor_that_is_dead_was_left_is_the_leader_s_to_assign() {
    let store = table_of(4).await;
    let (a, b) = (
        TestWorker::join(&store, "a").await,
        TestWorker::join(&store, "b").await,
    );
    until_held(&[&a, &b], &[2, 2], Duration::from_secs(5)).await;
    // Its row and its leases look as if it lived.
    b.kill();
    a.stop().await;
    let c = TestWorker::join(&store, "c").await;
    let free = || c.count() >= 2;
    let start = Instant::now();
    while !free() {
        assert!(start.elapsed() < Duration::from_secs(1), "{} leases", c.count());
        sleep(Duration::from_millis(10)).await;
    }
    until_held(&[&c], &[4], 2 * FAILOVER).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_leaver_is_given_while_it_waits_for_its_successor_is_given_back() {
    let store = table_of(4).await;
    let (a, b) = (
        TestWorker::join(&store, "a").await,
        TestWorker::join(&store, "b").await,
    );
    until_held(&[&a, &b], &[2, 2], Duration::from_secs(5)).await;
    let late = Lease::new("late", Checkpoint::TrimHorizon);
    b.kill();
    let leaving = tokio::spawn(a.stop());
    sleep(Duration::from_secs(1)).await;
    assert!(!leaving.is_finished(), "b does not begin");
    store.create(&late).await.unwrap();
    let given = LeaseChange::Assign { to: "a".into() };
    store.write(&late, &given).await.unwrap();
    leaving.await.unwrap();
    assert_eq!(store.get(&late.key).await.unwrap().unwrap().owner, None);
}

#[tokio::test(start_paused = true)]
async fn what_a_leader_gives_to_the_dead_while_it_leaves_is_free_when_it_has_left() {
    let store = table_of(2).await;
    let (a, b) = (
        TestWorker::join(&store, "a").await,
        TestWorker::join(&store, "b").await,
    );
    until_held(&[&a, &b], &[1, 1], Duration::from_secs(5)).await;
    assert!(a.leads());
    b.kill();
    a.fleet.prepare_to_leave(Duration::from_secs(4)).await;
    let freed = Lease::new("freed", Checkpoint::TrimHorizon);
    store.create(&freed).await.unwrap();
    let owner = async || store.get(&freed.key).await.unwrap().unwrap().owner;
    let leaving = tokio::spawn(async move { a.fleet.leave().await });
    sleep(Duration::from_millis(100)).await;
    assert_eq!(owner().await, Some("b".into()), "it looks alive");
    leaving.await.unwrap();
    assert_eq!(owner().await, None);
}
