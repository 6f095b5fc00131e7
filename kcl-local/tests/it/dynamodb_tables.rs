//! The lease table itself: its index, scans in pages and segments, tags, time to live.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate, IndexStatus, KeyType,
    TableStatus, Tag, TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::worlds::{
    OWNER_INDEX, TABLE, create_lease_table, dynamodb, key, lease_table, owner_index, put_lease, s,
    string_attribute,
};

async fn leases_of(client: &Client, owner: &str) -> Vec<String> {
    let answer = client
        .query()
        .table_name(TABLE)
        .index_name(OWNER_INDEX)
        .key_condition_expression("leaseOwner = :leaseOwner")
        .expression_attribute_values(":leaseOwner", s(owner))
        .send()
        .await
        .unwrap();
    answer
        .items()
        .iter()
        .map(|item| item["leaseKey"].as_s().unwrap().clone())
        .collect()
}

async fn index_status(client: &Client) -> Option<IndexStatus> {
    let table = client
        .describe_table()
        .table_name(TABLE)
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    assert_eq!(table.table_status, Some(TableStatus::Active));
    table
        .global_secondary_indexes()
        .iter()
        .find(|i| i.index_name() == Some(OWNER_INDEX))?
        .index_status
        .clone()
}

#[tokio::test(start_paused = true)]
async fn the_owner_index_comes_with_the_table() {
    let client = dynamodb();
    client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(string_attribute("leaseKey"))
        .attribute_definitions(string_attribute("leaseOwner"))
        .key_schema(key("leaseKey", KeyType::Hash))
        .global_secondary_indexes(owner_index())
        .billing_mode(BillingMode::PayPerRequest)
        .tags(Tag::builder().key("app").value("orders").build().unwrap())
        .send()
        .await
        .unwrap();

    assert_eq!(index_status(&client).await, Some(IndexStatus::Active));
    put_lease(&client, "shard-1", "worker-1").await;
    put_lease(&client, "shard-0", "worker-1").await;
    put_lease(&client, "shard-2", "worker-2").await;
    assert_eq!(leases_of(&client, "worker-1").await, ["shard-0", "shard-1"]);
}

#[tokio::test(start_paused = true)]
async fn the_owner_index_is_added_to_a_table_with_leases() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;
    assert_eq!(index_status(&client).await, None);

    let index = owner_index();
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name(index.index_name())
        .set_key_schema(Some(index.key_schema().to_vec()))
        .set_projection(index.projection)
        .build()
        .unwrap();
    client
        .update_table()
        .table_name(TABLE)
        .attribute_definitions(string_attribute("leaseKey"))
        .attribute_definitions(string_attribute("leaseOwner"))
        .global_secondary_index_updates(GlobalSecondaryIndexUpdate::builder().create(create).build())
        .send()
        .await
        .unwrap();

    assert_eq!(index_status(&client).await, Some(IndexStatus::Active));
    assert_eq!(leases_of(&client, "worker-1").await, ["shard-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_table_is_not_found_and_an_existing_one_is_in_use() {
    let client = lease_table().await;
    let missing = client
        .describe_table()
        .table_name("orders-consumer-WorkerMetricStats")
        .send()
        .await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    let again = client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(string_attribute("leaseKey"))
        .key_schema(key("leaseKey", KeyType::Hash))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    assert!(
        again
            .unwrap_err()
            .into_service_error()
            .is_resource_in_use_exception()
    );
    assert_eq!(client.list_tables().send().await.unwrap().table_names(), [TABLE]);
}

#[tokio::test(start_paused = true)]
async fn a_scan_in_pages_sees_every_lease_once() {
    let client = lease_table().await;
    for i in 0..23 {
        put_lease(&client, &format!("shard-{i:02}"), "worker-1").await;
    }
    let mut seen = Vec::new();
    let mut pages = 0;
    let mut start = None;
    loop {
        let page = client
            .scan()
            .table_name(TABLE)
            .limit(5)
            .set_exclusive_start_key(start)
            .send()
            .await
            .unwrap();
        seen.extend(
            page.items()
                .iter()
                .map(|item| item["leaseKey"].as_s().unwrap().clone()),
        );
        pages += 1;
        start = page.last_evaluated_key;
        if start.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..23).map(|i| format!("shard-{i:02}")).collect::<Vec<_>>());
    assert_eq!(pages, 5);
}

#[tokio::test(start_paused = true)]
async fn the_segments_of_a_scan_share_out_the_leases() {
    let client = lease_table().await;
    for i in 0..40 {
        put_lease(&client, &format!("shard-{i:02}"), "worker-1").await;
    }
    let mut seen = Vec::new();
    for segment in 0..4 {
        let page = client
            .scan()
            .table_name(TABLE)
            .total_segments(4)
            .segment(segment)
            .send()
            .await
            .unwrap();
        assert!(page.count() > 0, "segment {segment} is empty");
        seen.extend(
            page.items()
                .iter()
                .map(|item| item["leaseKey"].as_s().unwrap().clone()),
        );
    }
    seen.sort();
    assert_eq!(seen, (0..40).map(|i| format!("shard-{i:02}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_table_is_gone_and_can_be_created_anew() {
    let client = lease_table().await;
    put_lease(&client, "shard-0", "worker-1").await;
    client.delete_table().table_name(TABLE).send().await.unwrap();
    let missing = client.scan().table_name(TABLE).send().await;
    assert!(
        missing
            .unwrap_err()
            .into_service_error()
            .is_resource_not_found_exception()
    );
    create_lease_table(&client).await;
    assert_eq!(client.scan().table_name(TABLE).send().await.unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn tags_come_and_go() {
    let client = lease_table().await;
    let table = client
        .describe_table()
        .table_name(TABLE)
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    let arn = table.table_arn().unwrap();
    let tag = |key: &str| Tag::builder().key(key).value("1").build().unwrap();
    client
        .tag_resource()
        .resource_arn(arn)
        .tags(tag("a"))
        .tags(tag("b"))
        .send()
        .await
        .unwrap();
    client
        .untag_resource()
        .resource_arn(arn)
        .tag_keys("a")
        .send()
        .await
        .unwrap();
    let tags = client
        .list_tags_of_resource()
        .resource_arn(arn)
        .send()
        .await
        .unwrap();
    assert_eq!(tags.tags(), [tag("b")]);
}

#[tokio::test(start_paused = true)]
async fn time_to_live_is_remembered() {
    let client = lease_table().await;
    let enable = TimeToLiveSpecification::builder()
        .enabled(true)
        .attribute_name("lut")
        .build()
        .unwrap();
    client
        .update_time_to_live()
        .table_name(TABLE)
        .time_to_live_specification(enable)
        .send()
        .await
        .unwrap();
    let answer = client
        .describe_time_to_live()
        .table_name(TABLE)
        .send()
        .await
        .unwrap();
    let description = answer.time_to_live_description.unwrap();
    assert_eq!(description.attribute_name(), Some("lut"));
    assert_eq!(description.time_to_live_status, Some(TimeToLiveStatus::Enabled));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_not_served_is_named_in_the_error() {
    let client = dynamodb();
    let error = client.list_global_tables().send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnknownOperationException"));
    assert!(error.message().unwrap().contains("ListGlobalTables"));
}
