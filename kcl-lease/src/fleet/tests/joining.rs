//! Whoever joins gets its share of the leases soon, or advice.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lone_worker_takes_everything_at_once() {
    let store = table_of(8).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[8], Duration::from_millis(500)).await;
    assert!(a.leads());
    assert_eq!(a.fleet.status().workers, Some(1));
}

#[tokio::test(start_paused = true)]
async fn five_workers_that_start_together_share_evenly() {
    let store = table_of(10).await;
    let workers =
        futures_util::future::join_all(["a", "b", "c", "d", "e"].map(|id| TestWorker::join(&store, id)))
            .await;
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[2, 2, 2, 2, 2], Duration::from_secs(8)).await;
    assert_eq!(workers.iter().filter(|worker| worker.leads()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_joins_gets_its_share_in_seconds() {
    let store = table_of(8).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[8], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(20)).await;
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&a, &b], &[4, 4], Duration::from_secs(7)).await;
}

#[tokio::test(start_paused = true)]
async fn joining_is_refused_with_advice_under_a_reserved_id_or_in_a_fleet_of_another_protocol() {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
    let join = |id: &str| {
        Membership::join(
            Arc::clone(&store),
            WorkerId::from(id),
            FleetOptions::default(),
            Environment::system(),
        )
    };
    for id in [
        "",
        "Leader",
        "Migration3.0",
        "TableMigration3.5",
        "shardId-000000000007",
        "123456789012:clicks:1:shardId-000000000007",
    ] {
        assert!(
            matches!(join(id).await, Err(JoinError::ReservedWorkerId(_))),
            "{id:?}"
        );
    }
    let old = ClientVersion {
        version: "CLIENT_VERSION_2X".into(),
        modified_by: "java".into(),
        modified_at: 1,
    };
    store.agree_on_version(&old).await.unwrap();
    let refusal = join("w").await.expect_err("refused").to_string();
    assert!(
        refusal.contains("CLIENT_VERSION_2X") && refusal.contains("finish the migration"),
        "{refusal}"
    );
    assert!(
        store.scan().await.unwrap().workers.is_empty(),
        "and nothing was written"
    );
}
