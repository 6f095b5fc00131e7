//! Worlds in one line: a backend, a client, and a table with KCL-shaped leases.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use kcl_local::Backend;

/// The lease table of every test.
pub(crate) const TABLE: &str = "orders-consumer";
/// The index that a KCL queries for the leases of one worker.
pub(crate) const OWNER_INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// A DynamoDB client of a backend that nobody else uses.
pub(crate) fn dynamodb() -> Client {
    Client::new(&Backend::start().sdk_config())
}

/// The same with an empty lease table without index.
pub(crate) async fn lease_table() -> Client {
    let client = dynamodb();
    create_lease_table(&client).await;
    client
}

pub(crate) async fn create_lease_table(client: &Client) {
    client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(string_attribute("leaseKey"))
        .key_schema(key("leaseKey", KeyType::Hash))
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(false)
        .send()
        .await
        .unwrap();
}

pub(crate) fn string_attribute(name: &str) -> AttributeDefinition {
    let definition = AttributeDefinition::builder().attribute_name(name);
    definition.attribute_type(ScalarAttributeType::S).build().unwrap()
}

pub(crate) fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .unwrap()
}

/// The KCL's index on the owner, keys only.
pub(crate) fn owner_index() -> GlobalSecondaryIndex {
    GlobalSecondaryIndex::builder()
        .index_name(OWNER_INDEX)
        .key_schema(key("leaseOwner", KeyType::Hash))
        .key_schema(key("leaseKey", KeyType::Range))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        )
        .build()
        .unwrap()
}

pub(crate) fn s(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(crate) fn n(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Writes a lease with a counter of 1.
pub(crate) async fn put_lease(client: &Client, lease: &str, owner: &str) {
    client
        .put_item()
        .table_name(TABLE)
        .item("leaseKey", s(lease))
        .item("leaseOwner", s(owner))
        .item("leaseCounter", n(1))
        .item("checkpoint", s("TRIM_HORIZON"))
        .send()
        .await
        .unwrap();
}

/// Reads one attribute of a lease, consistently.
pub(crate) async fn attribute(client: &Client, lease: &str, name: &str) -> Option<AttributeValue> {
    let answer = client
        .get_item()
        .table_name(TABLE)
        .key("leaseKey", s(lease))
        .consistent_read(true)
        .send()
        .await;
    answer.unwrap().item.and_then(|mut item| item.remove(name))
}
