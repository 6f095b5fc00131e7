//! How the lease table is made, and when it is left alone.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{BillingMode, KeySchemaElement, PointInTimeRecoveryStatus, TableDescription};
use kcl_lease::{
    Billing, DynamoDbLeaseStore, LeaseStore, StoreError, StoreErrorKind, TableCreation, TableOptions,
};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Rule};

use super::client;
use super::foreign::create_table;

async fn prepare(client: &Client, options: TableOptions) -> Result<(), StoreError> {
    DynamoDbLeaseStore::new(client.clone(), options).prepare().await
}

async fn describe(client: &Client, table: &str) -> TableDescription {
    let description = client.describe_table().table_name(table).send().await.unwrap();
    description.table.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_table_has_the_schema_of_the_java_kcl_and_takes_one_request() {
    let requests = FaultScript::new();
    let count = |operation: &str| requests.add(Rule::on(operation).fault(Fault::none()));
    let (creations, updates) = (count("CreateTable"), count("UpdateTable"));
    let backend = Backend::builder().faults(requests.clone()).build();
    let client = client(&backend);
    let mut options = TableOptions::new("leases");
    options.tags = [("team".into(), "clicks".into())].into();
    options.deletion_protection = true;
    DynamoDbLeaseStore::new(client.clone(), options)
        .prepare()
        .await
        .unwrap();
    assert_eq!((requests.hits(creations), requests.hits(updates)), (1, 0));
    let table = describe(&client, "leases").await;
    assert_eq!(table.key_schema().len(), 1);
    assert_eq!(table.key_schema()[0].attribute_name(), "leaseKey");
    let [index] = table.global_secondary_indexes() else {
        panic!("{table:?}")
    };
    assert_eq!(index.index_name(), Some("LeaseOwnerToLeaseKeyIndex"));
    let keys: Vec<_> = index
        .key_schema()
        .iter()
        .map(KeySchemaElement::attribute_name)
        .collect();
    assert_eq!(keys, ["leaseOwner", "leaseKey"]);
    assert_eq!(table.deletion_protection_enabled(), Some(true));
    assert_eq!(
        table
            .billing_mode_summary()
            .and_then(|summary| summary.billing_mode()),
        Some(&BillingMode::PayPerRequest)
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_that_must_exist_is_never_created_and_the_error_says_what_is_required() {
    let backend = Backend::start();
    let client = client(&backend);
    let mut options = TableOptions::new("leases");
    options.creation = TableCreation::MustExist;
    let refusal = DynamoDbLeaseStore::new(client.clone(), options)
        .prepare()
        .await
        .unwrap_err();
    assert_eq!(refusal.kind(), StoreErrorKind::TableMissing);
    let message = refusal.to_string();
    for required in [
        "leases",
        "leaseKey (S)",
        "LeaseOwnerToLeaseKeyIndex",
        "leaseOwner (S)",
        "KEYS_ONLY",
    ] {
        assert!(message.contains(required), "{message}");
    }
    assert!(
        client
            .list_tables()
            .send()
            .await
            .unwrap()
            .table_names()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn an_older_table_gets_its_index_and_a_foreign_table_is_refused() {
    let backend = Backend::start();
    let client = client(&backend);
    for (table, key) in [("old", "leaseKey"), ("foreign", "id")] {
        create_table(&client, table, key).await;
    }
    let mut must_exist = TableOptions::new("old");
    must_exist.creation = TableCreation::MustExist;
    let refusal = prepare(&client, must_exist).await.unwrap_err().to_string();
    assert!(
        refusal.contains("the table has no such index. Required: hash key leaseKey (S)"),
        "{refusal}"
    );
    assert!(
        describe(&client, "old")
            .await
            .global_secondary_indexes()
            .is_empty()
    );
    let old = DynamoDbLeaseStore::new(client.clone(), TableOptions::new("old"));
    old.prepare().await.unwrap();
    assert!(old.assigned_to(&"w".into()).await.unwrap().is_empty());
    let refusal = DynamoDbLeaseStore::new(client, TableOptions::new("foreign"))
        .prepare()
        .await
        .unwrap_err();
    assert!(refusal.to_string().contains("is no lease table"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_new_table_has_the_tags_and_the_capacity_that_were_asked_for() {
    let backend = Backend::start();
    let client = client(&backend);
    let mut options = TableOptions::new("leases");
    options.billing = Billing::Provisioned { read: 7, write: 9 };
    options.tags = [("team".into(), "clicks".into()), ("stage".into(), "test".into())].into();
    prepare(&client, options).await.unwrap();
    let table = describe(&client, "leases").await;
    let of_table = table.provisioned_throughput().unwrap();
    let of_index = table.global_secondary_indexes()[0]
        .provisioned_throughput()
        .unwrap();
    for units in [of_table, of_index] {
        assert_eq!(
            (units.read_capacity_units(), units.write_capacity_units()),
            (Some(7), Some(9))
        );
    }
    let arn = table.table_arn().unwrap();
    let tags = client
        .list_tags_of_resource()
        .resource_arn(arn)
        .send()
        .await
        .unwrap();
    let mut tags: Vec<_> = tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
    tags.sort_unstable();
    assert_eq!(tags, [("stage", "test"), ("team", "clicks")]);
}

async fn can_be_restored(client: &Client) -> bool {
    let answer = client
        .describe_continuous_backups()
        .table_name("leases")
        .send()
        .await
        .unwrap();
    let backups = answer.continuous_backups_description().unwrap();
    let recovery = backups.point_in_time_recovery_description().unwrap();
    recovery.point_in_time_recovery_status() == Some(&PointInTimeRecoveryStatus::Enabled)
}

fn with_recovery(creation: TableCreation) -> TableOptions {
    let mut options = TableOptions::new("leases");
    options.creation = creation;
    options.point_in_time_recovery = true;
    options
}

#[tokio::test(start_paused = true)]
async fn point_in_time_recovery_is_switched_on_at_each_start_that_asks_for_it_and_may_change_the_table() {
    let backend = Backend::start();
    let client = client(&backend);
    prepare(&client, TableOptions::new("leases")).await.unwrap();
    assert!(!can_be_restored(&client).await);
    prepare(&client, with_recovery(TableCreation::MustExist))
        .await
        .unwrap();
    assert!(!can_be_restored(&client).await, "the table is left alone");
    prepare(&client, with_recovery(TableCreation::CreateIfMissing))
        .await
        .unwrap();
    assert!(can_be_restored(&client).await);
    prepare(&client, TableOptions::new("leases")).await.unwrap();
    assert!(can_be_restored(&client).await, "it is never switched off");
}

/// Prepares a table with recovery on a server that refuses so often with this code; the answer, and how often was asked.
async fn refused(code: &str, times: u64) -> (Result<(), StoreError>, u64) {
    let script = FaultScript::new();
    let refuse = Rule::on("UpdateContinuousBackups").times(times);
    let refused = script.add(refuse.fault(Fault::respond(400, code)));
    let answered = script.add(Rule::on("UpdateContinuousBackups"));
    let backend = Backend::builder().faults(script.clone()).build();
    let mut options = with_recovery(TableCreation::CreateIfMissing);
    options.creation_timeout = Duration::from_secs(20);
    let answer = prepare(&client(&backend), options).await;
    (answer, script.hits(refused) + script.hits(answered))
}

#[tokio::test(start_paused = true)]
async fn point_in_time_recovery_waits_until_a_new_table_is_ready_for_it_but_not_for_ever() {
    let (answer, asked) = refused("ContinuousBackupsUnavailableException", 3).await;
    assert!(answer.is_ok() && asked == 4, "{answer:?} after {asked} requests");
    let (answer, asked) = refused("ContinuousBackupsUnavailableException", u64::MAX).await;
    assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!((10..30).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn point_in_time_recovery_that_cannot_be_had_is_an_error_that_says_what_to_do() {
    for (code, kind, advice) in [
        (
            "UnknownOperationException",
            StoreErrorKind::Invalid,
            "leave it off",
        ),
        (
            "AccessDeniedException",
            StoreErrorKind::AccessDenied,
            "UpdateContinuousBackups",
        ),
    ] {
        let (answer, asked) = refused(code, u64::MAX).await;
        let error = answer.unwrap_err();
        assert_eq!((error.kind(), asked), (kind, 1));
        assert!(error.to_string().contains(advice), "{error}");
    }
}
