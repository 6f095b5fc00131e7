//! The DynamoDB store through the real SDK, against the bundled backend.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod foreign;
mod generations;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_types::timeout::TimeoutConfig;
use kcl_lease::{
    Checkpoint, Condition, DynamoDbLeaseStore, HashRange, Lease, LeaseChange, LeaseStore, StoreErrorKind,
    TableOptions, WorkerRow, WriteOutcome, conformance,
};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Loss, Rule};
use tokio::time::Instant;

use self::foreign::{replay, text};

fn client(backend: &Backend) -> Client {
    Client::new(&backend.sdk_config())
}

fn store(client: &Client) -> DynamoDbLeaseStore {
    DynamoDbLeaseStore::new(client.clone(), TableOptions::new("leases"))
}

#[tokio::test(start_paused = true)]
async fn meets_the_contract_of_a_lease_store() {
    let backend = Backend::start();
    let client = client(&backend);
    let tables = AtomicUsize::new(0);
    conformance::run(|| {
        let name = format!("table-{}", tables.fetch_add(1, Ordering::Relaxed));
        let store = DynamoDbLeaseStore::new(client.clone(), TableOptions::new(name));
        async move { Arc::new(store) as Arc<dyn LeaseStore> }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scan_may_lag_and_one_as_of_now_overlooks_nothing() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let store = store(&client(&backend));
    store.prepare().await.unwrap();
    faults.add(Rule::on("Scan").fault(Fault::stale(Duration::from_secs(2))));
    assert_eq!(store.scan().await.unwrap().leases, []);
    assert_eq!(store.scan_now().await.unwrap().leases, []);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let lease = Lease::new("shardId-000000000000", Checkpoint::TrimHorizon);
    assert!(store.create(&lease).await.unwrap());
    assert_eq!(store.scan().await.unwrap().leases, []);
    assert_eq!(store.scan_now().await.unwrap().leases, [lease]);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_although_its_client_has_no_time_outs_and_nobody_answers() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let config = aws_sdk_dynamodb::config::Builder::from(&backend.sdk_config());
    let patient = Client::from_conf(config.timeout_config(TimeoutConfig::disabled()).build());
    faults.add(Rule::any().fault(Fault::drop_request(Loss::Hang)));
    let start = Instant::now();
    let error = store(&patient).prepare().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(
        start.elapsed() <= Duration::from_secs(31),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn attributes_that_are_not_ours_survive_every_change() {
    let backend = Backend::start();
    let client = client(&backend);
    let store = store(&client);
    store.prepare().await.unwrap();
    let mut lease = Lease::new("s", Checkpoint::TrimHorizon).with_hash_range(HashRange::FULL);
    lease.owner = Some("a".into());
    store.create(&lease).await.unwrap();
    let add = client
        .update_item()
        .table_name("leases")
        .key("leaseKey", text("s"));
    let add = add
        .update_expression("SET futureAttribute = :v")
        .expression_attribute_values(":v", text("keep me"));
    add.send().await.unwrap();
    for change in [
        LeaseChange::Renew {
            throughput_kbps: Some(1.0),
        },
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: Checkpoint::ShardEnd,
            pending: None,
        },
        LeaseChange::Children(["c".to_owned()].into()),
        LeaseChange::BeginHandOff { to: "b".into() },
        LeaseChange::Assign { to: "b".into() },
        LeaseChange::Release,
    ] {
        let WriteOutcome::Applied(row) = store.write(&lease, &change).await.unwrap() else {
            panic!("{change:?}")
        };
        lease = row;
        let item = client
            .get_item()
            .table_name("leases")
            .key("leaseKey", text("s"))
            .send()
            .await
            .unwrap()
            .item;
        assert_eq!(item.unwrap()["futureAttribute"], text("keep me"), "{change:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_no_leases_are_skipped_and_broken_ones_are_reported() {
    let backend = Backend::start();
    let client = client(&backend);
    let store = store(&client);
    store.prepare().await.unwrap();
    store
        .create(&Lease::new("good", Checkpoint::Latest))
        .await
        .unwrap();
    let put = |key: &str| client.put_item().table_name("leases").item("leaseKey", text(key));
    put("foreign")
        .item("entityType", text("TABLE_MIGRATION"))
        .send()
        .await
        .unwrap();
    put("broken")
        .item("checkpoint", text("LATEST"))
        .send()
        .await
        .unwrap();
    let snapshot = store.scan().await.unwrap();
    assert_eq!(snapshot.leases.len(), 1);
    assert_eq!(snapshot.unreadable.len(), 1);
    assert_eq!(
        (&*snapshot.unreadable[0].key, &*snapshot.unreadable[0].problem),
        ("broken", "leaseCounter is missing")
    );
    let unreadable = store.get(&"broken".into()).await.unwrap_err();
    assert!(
        unreadable
            .to_string()
            .contains("row broken: leaseCounter is missing"),
        "{unreadable}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_is_told_from_a_missing_row() {
    let backend = Backend::start();
    let store = store(&client(&backend));
    let missing = store.get(&"s".into()).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::TableMissing);
    assert!(!missing.may_have_been_applied());
}

/// Fills a table with the items that a real Java KCL 3.5.1 left behind and reads it as a fleet member would.
#[tokio::test(start_paused = true)]
async fn a_table_of_the_java_kcl_is_read_whole() {
    let backend = Backend::start();
    let client = client(&backend);
    let store = store(&client);
    store.prepare().await.unwrap();
    let recording = "kcl-3.5.1/07-graceful-handoff-in-progress.json";
    replay(&client, recording, "kcl351tables", "leases").await;
    let snapshot = store.scan().await.unwrap();
    assert!(snapshot.unreadable.is_empty(), "{:?}", snapshot.unreadable);
    assert_eq!(snapshot.leases.len(), 4);
    assert_eq!(
        snapshot
            .workers
            .iter()
            .map(|row| row.id.as_str())
            .collect::<Vec<_>>(),
        ["workerA", "workerB"]
    );
    assert!(
        snapshot
            .workers
            .iter()
            .all(|row| row.report_period.is_none() && row.metrics.is_empty())
    );
    let lock = store.read_leader().await.unwrap().unwrap();
    assert_eq!((lock.owner.as_str(), lock.duration.as_secs()), ("workerA", 120));
    assert_eq!(
        store.assigned_to(&"workerB".into()).await.unwrap(),
        ["shardId-000000000003".into()]
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_notes_of_a_worker_outlasts_its_reports_and_not_its_process() {
    let backend = Backend::start();
    let store = store(&client(&backend));
    store.prepare().await.unwrap();
    let noted = async || store.scan().await.unwrap().workers[0].drained_since;
    let mut worker = WorkerRow::new("w", 1);
    worker.process = Some("p1".into());
    worker.failover_time = Some(Duration::from_secs(10));
    assert!(!store.drain(&worker.id, Some(7)).await.unwrap(), "there is none");
    store.announce(&worker).await.unwrap();
    assert!(store.drain(&worker.id, Some(7)).await.unwrap());
    worker.report_number = 1;
    worker.failover_time = None;
    assert!(store.report(&worker).await.unwrap());
    let row = store.scan().await.unwrap().workers.remove(0);
    assert_eq!((row.drained_since, row.failover_time), (Some(7), None));
    assert_eq!(row.trouble_to_leaders().condition, Condition::Unfit);
    assert!(store.drain(&worker.id, None).await.unwrap());
    assert_eq!(noted().await, None);

    assert!(store.drain(&worker.id, Some(8)).await.unwrap());
    worker.process = Some("p2".into());
    store.announce(&worker).await.unwrap();
    assert_eq!(noted().await, None, "it is another process's");

    let lease = Lease::new("s", Checkpoint::TrimHorizon);
    store.create(&lease).await.unwrap();
    assert!(
        !store.drain(&"s".into(), Some(9)).await.unwrap(),
        "it is no worker"
    );
    assert_eq!(store.get(&lease.key).await.unwrap(), Some(lease));
}
