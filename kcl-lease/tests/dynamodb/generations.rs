//! What other generations of workers left in their tables, and what this one does about it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use kcl_lease::{
    Checkpoint, ClientVersion, DynamoDbLeaseStore, Environment, FleetOptions, LeaderLock, Lease, LeaseStore,
    Membership, StoreErrorKind, TableOptions, WorkerRow, conformance,
};
use kcl_local::Backend;

use super::foreign::{create_table, replay, text};

const SEPARATE: [(&str, &str); 3] = [
    ("app", "leaseKey"),
    ("app-CoordinatorState", "key"),
    ("app-WorkerMetricStats", "wid"),
];

fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

async fn put(client: &Client, table: &str, item: &[(&str, AttributeValue)]) {
    let item = item
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let request = client.put_item().table_name(table).set_item(Some(item));
    request.send().await.unwrap();
}

/// Keys of all rows, sorted.
async fn keys(client: &Client, table: &str, key: &str) -> Vec<String> {
    let page = client.scan().table_name(table).send().await.unwrap();
    let mut keys: Vec<_> = page
        .items()
        .iter()
        .map(|item| item[key].as_s().unwrap().clone())
        .collect();
    keys.sort();
    keys
}

/// A lease as the Java KCL wrote it before 3.5.
async fn put_old_lease(client: &Client) {
    let lease = [
        ("leaseKey", text("shardId-000000000000")),
        ("leaseOwner", text("java")),
        ("leaseCounter", number(7)),
        ("checkpoint", text("TRIM_HORIZON")),
        ("checkpointSubSequenceNumber", number(0)),
        ("ownerSwitchesSinceCheckpoint", number(0)),
    ];
    put(client, "app", &lease).await;
}

async fn put_version(client: &Client, (table, key): (&str, &str), version: &str) {
    let row = [
        (key, text("Migration3.0")),
        ("cv", text(version)),
        ("mb", text("java")),
        ("mts", number(1)),
    ];
    put(client, table, &row).await;
}

async fn put_migration(client: &Client, status: &str) {
    let status = format!("TABLE_MIGRATION_STATUS_{status}");
    let row = [("key", text("TableMigration3.5")), ("tm", text(&status))];
    put(client, "app-CoordinatorState", &row).await;
}

/// The tables of an application of KCL 3.0 to 3.4.
async fn separate_tables(client: &Client) {
    for (table, key) in SEPARATE {
        create_table(client, table, key).await;
    }
    put_old_lease(client).await;
    put_version(client, SEPARATE[1], "CLIENT_VERSION_3X").await;
}

fn store_with(client: &Client, change: impl FnOnce(&mut TableOptions)) -> DynamoDbLeaseStore {
    let mut options = TableOptions::new("app");
    change(&mut options);
    DynamoDbLeaseStore::new(client.clone(), options)
}

fn store(client: &Client) -> DynamoDbLeaseStore {
    store_with(client, |_| {})
}

fn world() -> (Backend, Client) {
    let backend = Backend::start();
    let client = Client::new(&backend.sdk_config());
    (backend, client)
}

async fn join(store: DynamoDbLeaseStore) -> Result<Membership, String> {
    let options = FleetOptions::default();
    Membership::join(Arc::new(store), "rust", options, Environment::system())
        .await
        .map(|(fleet, _)| fleet)
        .map_err(|error| error.to_string())
}

fn worker(id: &str) -> WorkerRow {
    let mut row = WorkerRow::new(id, 1_800_000_000);
    row.process = Some("p".into());
    row.report_number = 1;
    row.report_period = Some(Duration::from_secs(3));
    row
}

fn lock(version: &str) -> LeaderLock {
    let mut lock = LeaderLock::new("rust".into(), Duration::from_secs(5), version);
    lock.held_digest = Some(1);
    lock
}

#[tokio::test(start_paused = true)]
async fn workers_of_2x_are_left_alone_and_the_error_says_what_to_do() {
    let (_backend, client) = world();
    create_table(&client, "app", "leaseKey").await;
    put_old_lease(&client).await;

    let refusal = join(store(&client)).await.expect_err("refused");
    for word in [
        "KCL 2.x",
        "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
        "take over from 2.x",
    ] {
        assert!(refusal.contains(word), "{refusal}");
    }
    assert_eq!(keys(&client, "app", "leaseKey").await, ["shardId-000000000000"]);
    let table = client
        .describe_table()
        .table_name("app")
        .send()
        .await
        .unwrap()
        .table;
    assert!(
        table.unwrap().global_secondary_indexes().is_empty(),
        "not even an index"
    );

    let takes_over = store_with(&client, |options| options.takes_over_from_2x = true);
    let fleet = join(takes_over).await.expect("joined");
    let ours = ClientVersion::new("unused", "nobody", 0);
    let found = store(&client).agree_on_version(&ours).await.unwrap();
    assert!(found.is_current(), "2.x is over from now on");
    fleet.abandon();
}

#[tokio::test(start_paused = true)]
async fn a_new_table_and_one_of_this_generation_are_joined() {
    let (_backend, client) = world();
    join(store(&client)).await.expect("a new application").abandon();
    store(&client)
        .create(&Lease::new("s", Checkpoint::TrimHorizon))
        .await
        .unwrap();
    join(store(&client))
        .await
        .expect("the same application")
        .abandon();
}

#[tokio::test(start_paused = true)]
async fn a_migration_from_2x_under_way_is_refused_wherever_it_is_recorded() {
    for version in [
        "CLIENT_VERSION_UPGRADE_FROM_2X",
        "CLIENT_VERSION_2X",
        "CLIENT_VERSION_3X_WITH_ROLLBACK",
    ] {
        for is_separate in [false, true] {
            let (_backend, client) = world();
            if is_separate {
                separate_tables(&client).await;
                put_version(&client, SEPARATE[1], version).await;
            } else {
                create_table(&client, "app", "leaseKey").await;
                put_version(&client, SEPARATE[0], version).await;
            }
            let before = keys(&client, "app", "leaseKey").await;
            let refusal = store(&client).prepare().await.unwrap_err();
            assert_eq!(refusal.kind(), StoreErrorKind::Incompatible);
            let message = refusal.to_string();
            assert!(
                message.contains(version) && message.contains("CLIENT_VERSION_CONFIG_3X"),
                "{message}"
            );
            assert_eq!(keys(&client, "app", "leaseKey").await, before);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_contract_holds_on_three_tables_and_while_they_are_merged() {
    for moves_to_single_table in [false, true] {
        conformance::run(|| async {
            let (_backend, client) = world();
            for (table, key) in SEPARATE {
                create_table(&client, table, key).await;
            }
            put_migration(&client, "DEPLOYED").await;
            let store = store_with(&client, |options| {
                options.moves_to_single_table = moves_to_single_table
            });
            Arc::new(store) as Arc<dyn LeaseStore>
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_three_tables_the_lease_table_gets_nothing_but_leases() {
    let (_backend, client) = world();
    separate_tables(&client).await;
    let store = store(&client);
    store.prepare().await.unwrap();
    store.report(&worker("rust")).await.unwrap();
    assert!(store.take_leader(&lock("1"), None).await.unwrap());
    store
        .create(&Lease::new("shardId-000000000001", Checkpoint::TrimHorizon))
        .await
        .unwrap();

    assert_eq!(
        keys(&client, "app", "leaseKey").await,
        ["shardId-000000000000", "shardId-000000000001"]
    );
    assert_eq!(
        keys(&client, "app-CoordinatorState", "key").await,
        ["Leader", "Migration3.0"]
    );
    assert_eq!(keys(&client, "app-WorkerMetricStats", "wid").await, ["rust"]);
    assert!(store.is_announced(&"rust".into()).await.unwrap());
    let snapshot = store.scan().await.unwrap();
    assert_eq!(
        (snapshot.leases.len(), snapshot.workers),
        (2, vec![worker("rust")])
    );

    store.retire(&"rust".into(), &"p".into()).await.unwrap();
    assert!(!store.is_announced(&"rust".into()).await.unwrap());
    assert!(store.release_leader(&lock("1")).await.unwrap());
    assert_eq!(
        keys(&client, "app-CoordinatorState", "key").await,
        ["Migration3.0"]
    );
}

#[tokio::test(start_paused = true)]
async fn tables_recorded_from_the_java_kcl_3_1_are_read_whole() {
    let (_backend, client) = world();
    for (table, key) in SEPARATE {
        create_table(&client, table, key).await;
        let recorded = table.replace("app", "kcltables");
        replay(
            &client,
            "kcl-3.1.3/08-two-workers-balanced.json",
            &recorded,
            table,
        )
        .await;
    }
    let store = store(&client);
    store.prepare().await.unwrap();
    let snapshot = store.scan().await.unwrap();
    assert!(snapshot.unreadable.is_empty(), "{:?}", snapshot.unreadable);
    let workers: Vec<_> = snapshot.workers.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((snapshot.leases.len(), workers), (4, vec!["workerA", "workerB"]));
    let lock = store.read_leader().await.unwrap().expect("there is a leader");
    assert_eq!((lock.owner.as_str(), lock.duration.as_secs()), ("workerA", 120));
}

#[tokio::test(start_paused = true)]
async fn a_move_to_the_single_table_is_joined_when_all_are_ready_and_followed_to_its_end() {
    let (_backend, client) = world();
    separate_tables(&client).await;
    let moving = || store_with(&client, |options| options.moves_to_single_table = true);
    let early = moving().prepare().await.unwrap_err();
    assert!(
        early.kind() == StoreErrorKind::Incompatible && early.to_string().contains("DEPLOYED"),
        "{early}"
    );

    put_migration(&client, "DEPLOYED").await;
    let (stays, moves) = (store(&client), moving());
    for (store, id) in [(&stays, "stays"), (&moves, "moves")] {
        store.prepare().await.unwrap();
        store.report(&worker(id)).await.unwrap();
    }
    for store in [&stays, &moves] {
        assert_eq!(
            store.scan().await.unwrap().workers,
            [worker("moves"), worker("stays")]
        );
        for id in ["moves", "stays"] {
            assert!(store.is_announced(&id.into()).await.unwrap());
        }
    }
    assert!(moves.take_leader(&lock("1"), None).await.unwrap());
    assert_eq!(
        stays.read_leader().await.unwrap(),
        Some(lock("1")),
        "there is one lock"
    );

    put_migration(&client, "COMPLETE").await;
    assert_eq!(
        moves.read_leader().await.unwrap(),
        None,
        "the lock is elected anew"
    );
    assert!(moves.take_leader(&lock("2"), None).await.unwrap());
    assert_eq!(stays.read_leader().await.unwrap(), Some(lock("2")));
    assert!(
        keys(&client, "app", "leaseKey")
            .await
            .contains(&"Leader".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_of_workers_that_is_missing_is_told() {
    let (_backend, client) = world();
    for (table, key) in &SEPARATE[..2] {
        create_table(&client, table, key).await;
    }
    let refusal = store(&client).prepare().await.unwrap_err().to_string();
    assert!(refusal.contains("app-WorkerMetricStats"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn tables_of_java_workers_with_names_of_their_own_are_used_once_they_are_named() {
    let (_backend, client) = world();
    for (table, key) in [
        ("app", "leaseKey"),
        ("state-of-app", "key"),
        ("workers-of-app", "wid"),
    ] {
        create_table(&client, table, key).await;
    }
    put_old_lease(&client).await;
    put_version(&client, ("state-of-app", "key"), "CLIENT_VERSION_3X").await;
    let refusal = store(&client).prepare().await.unwrap_err().to_string();
    for option in ["coordinator_state_table", "worker_metrics_table"] {
        assert!(refusal.contains(option), "{refusal}");
    }
    assert!(
        keys(&client, "state-of-app", "key").await == ["Migration3.0"],
        "nothing was written"
    );

    let named = store_with(&client, |options| {
        options.coordinator_state_table = Some("state-of-app".to_owned());
        options.worker_metrics_table = Some("workers-of-app".to_owned());
    });
    named.prepare().await.unwrap();
    named.report(&worker("rust")).await.unwrap();
    assert!(named.take_leader(&lock("1"), None).await.unwrap());
    assert_eq!(keys(&client, "app", "leaseKey").await, ["shardId-000000000000"]);
    assert_eq!(
        keys(&client, "state-of-app", "key").await,
        ["Leader", "Migration3.0"]
    );
    assert_eq!(keys(&client, "workers-of-app", "wid").await, ["rust"]);
}
