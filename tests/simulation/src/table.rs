//! The lease table as an outsider reads it: straight from the backend, by the names that the Java KCL gives its attributes.

use std::fmt;

use bytes::Bytes;
use kcl_core::Checkpoint;
use kcl_local::dynamodb::{DynamoDb, Touched, TouchedRows};
use serde::Deserialize;
use serde_json::json;

use crate::history::Row;

const KEY: &str = "leaseKey";

/// One table of a backend. It may not exist yet.
pub struct Table {
    dynamodb: DynamoDb,
    name: &'static str,
    touched: TouchedRows,
}

/// An item, of whatever kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    lease_key: Text,
    entity_type: Option<Text>,
    lease_owner: Option<Text>,
    checkpoint_owner: Option<Text>,
    lease_counter: Option<Number>,
    checkpoint: Option<Text>,
    checkpoint_sub_sequence_number: Option<Number>,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

#[derive(Debug, Deserialize)]
struct Number {
    #[serde(rename = "N")]
    digits: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scanned {
    items: Vec<Item>,
    last_evaluated_key: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Got {
    item: Option<Item>,
}

impl Item {
    /// The value of its key.
    pub fn key(&self) -> &str {
        &self.lease_key.text
    }

    /// Whether it is a worker's row.
    pub fn is_worker(&self) -> bool {
        self.entity() == Some("WORKER_METRIC_STATS")
    }

    fn entity(&self) -> Option<&str> {
        self.entity_type.as_ref().map(|entity| entity.text.as_str())
    }

    /// The lease, if it is one.
    pub fn into_lease(self) -> Option<Row> {
        if self.entity().is_some_and(|entity| entity != "LEASE") {
            return None;
        }
        let number = |number: Option<Number>| number.map_or(0, |it| it.digits.parse().expect("a number"));
        let checkpoint = self.checkpoint.expect("every lease has a checkpoint").text;
        let sub_sequence = number(self.checkpoint_sub_sequence_number);
        Some(Row {
            owner: self.lease_owner.map(|owner| owner.text),
            checkpoint_owner: self.checkpoint_owner.map(|owner| owner.text),
            counter: number(self.lease_counter),
            checkpoint: Checkpoint::parse(&checkpoint, sub_sequence).expect("a checkpoint"),
        })
    }
}

impl Table {
    /// The table `name` of this backend.
    pub fn new(dynamodb: &DynamoDb, name: &'static str) -> Self {
        Self {
            dynamodb: dynamodb.clone(),
            name,
            touched: dynamodb.touched_rows(name, KEY),
        }
    }

    /// Which rows were written since the last call.
    pub fn touched(&self) -> Touched {
        self.touched.take()
    }

    /// Deletes the whole table, if there is one.
    pub fn drop_it(&self) {
        let _ = self.ask("DeleteTable", &json!({"TableName": self.name}));
    }

    fn ask(&self, operation: &str, request: &serde_json::Value) -> Option<Bytes> {
        self.dynamodb
            .call(operation, &Bytes::from(request.to_string()))
            .ok()
    }

    /// Everything in it; nothing as long as it does not exist.
    pub fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut from = None;
        loop {
            let mut request = json!({ "TableName": self.name, "ConsistentRead": true });
            if let Some(from) = from {
                request["ExclusiveStartKey"] = from;
            }
            let Some(answer) = self.ask("Scan", &request) else {
                return items;
            };
            let page: Scanned = serde_json::from_slice(&answer).expect("items of a lease table");
            items.extend(page.items);
            from = page.last_evaluated_key;
            if from.is_none() {
                return items;
            }
        }
    }

    /// The item with this key.
    pub fn item(&self, key: &str) -> Option<Item> {
        let key = json!({ KEY: { "S": key } });
        let request = json!({ "TableName": self.name, "Key": key, "ConsistentRead": true });
        let answer = self.ask("GetItem", &request)?;
        let got: Got = serde_json::from_slice(&answer).expect("an item of a lease table");
        got.item
    }

    /// Deletes the item with this key.
    pub fn delete(&self, key: &str) {
        let request = json!({ "TableName": self.name, "Key": { KEY: { "S": key } } });
        self.ask("DeleteItem", &request).expect("deleted");
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}
