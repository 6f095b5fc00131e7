//! What a worker takes up because it created it as its own, and how many leases it has room for.

use super::*;
use crate::store::tests::flaky::FlakyStore;

/// It holds one lease.
async fn worker_behind_a_lagging_index() -> (Arc<dyn LeaseStore>, TestWorker) {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = flaky.clone();
    fill(&store, 1).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[1], Duration::from_secs(1)).await;
    flaky.set_index_lags(true);
    (store, a)
}

fn created_by(id: &str, key: &str) -> Lease {
    Lease::new(key, Checkpoint::TrimHorizon).owned_by(id.into())
}

#[tokio::test(start_paused = true)]
async fn a_worker_takes_up_at_once_what_it_created_as_its_own_though_the_index_lags() {
    let (store, a) = worker_behind_a_lagging_index().await;
    let ours = [created_by("a", "s01"), created_by("b", "s02")];
    for lease in &ours {
        store.create(lease).await.unwrap();
    }
    a.fleet.take_up(ours.into_iter().map(|lease| lease.key));
    until_held(&[&a], &[2], Duration::from_millis(20)).await;
    sleep(Duration::from_millis(20)).await;
    assert!(!a.fleet.shared.keeper.holds(&"s02".into()), "another worker's");
    assert!(a.fleet.shared.created().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_leaves_gives_back_what_it_created_as_its_own_though_the_index_lags() {
    let (store, a) = worker_behind_a_lagging_index().await;
    a.fleet.prepare_to_leave(Duration::from_secs(4)).await;
    let late = created_by("a", "s01");
    store.create(&late).await.unwrap();
    a.fleet.take_up([late.key.clone()]);
    a.fleet.leave().await;
    assert_eq!(store.get(&late.key).await.unwrap().unwrap().owner, None);
}

#[tokio::test(start_paused = true)]
async fn a_worker_has_room_for_as_many_leases_as_it_may_have_until_it_leaves() {
    let store = table_of(3).await;
    let a = TestWorker::join_with(&store, "a", |options| options.max_leases = Some(4)).await;
    until_held(&[&a], &[3], Duration::from_secs(1)).await;
    let room_after = |key: &str| a.fleet.room_after(&key.into());
    assert_eq!((room_after("s00"), room_after("elsewhere")), (2, 1));
    a.fleet.take_up(["s03".into()]);
    assert_eq!(room_after("s00"), 1);
    let ending = a.fleet.held().remove(1);
    ending.checkpoint(Checkpoint::ShardEnd).await.unwrap();
    assert_eq!(room_after("s00"), 2);
    a.fleet.prepare_to_leave(Duration::from_secs(4)).await;
    assert_eq!(room_after("s00"), 0);
}
