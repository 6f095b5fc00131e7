//! Tables that somebody else made, and rows that a Java worker wrote.

use std::path::PathBuf;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType};

/// A table with nothing but a key.
pub(crate) async fn create_table(client: &Client, table: &str, key: &str) {
    let attribute = AttributeDefinition::builder()
        .attribute_name(key)
        .attribute_type("S".into())
        .build()
        .unwrap();
    let schema = KeySchemaElement::builder()
        .attribute_name(key)
        .key_type(KeyType::Hash)
        .build()
        .unwrap();
    let request = client
        .create_table()
        .table_name(table)
        .attribute_definitions(attribute)
        .key_schema(schema)
        .billing_mode(BillingMode::PayPerRequest);
    request.send().await.unwrap();
}

/// Writes the rows of the table `from` of a recording of the Java KCL to the table `to`.
pub(crate) async fn replay(client: &Client, recording: &str, from: &str, to: &str) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/java-kcl-tables")
        .join(recording);
    let stage: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for item in stage["tables"][from]["items"].as_array().unwrap() {
        let attributes = item.as_object().unwrap().iter();
        let item = attributes
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect();
        let request = client.put_item().table_name(to).set_item(Some(item));
        request.send().await.unwrap();
    }
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn attribute(value: &serde_json::Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let list = || value.as_array().unwrap().iter();
    match kind.as_str() {
        "S" => text(value.as_str().unwrap()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "SS" => AttributeValue::Ss(list().map(|text| text.as_str().unwrap().to_owned()).collect()),
        "L" => AttributeValue::L(list().map(attribute).collect()),
        "M" => {
            let attributes = value.as_object().unwrap().iter();
            AttributeValue::M(
                attributes
                    .map(|(name, value)| (name.clone(), attribute(value)))
                    .collect(),
            )
        }
        other => panic!("type {other} is not in the recordings"),
    }
}
