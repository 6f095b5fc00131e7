//! The lease table as an outsider reads it: straight from the backend, by the names that the Java KCL gives its attributes.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use kcl_core::Checkpoint;
use kcl_local::dynamodb::{DynamoDb, Touched, TouchedRows};
use serde::Deserialize;
use serde_json::json;

use crate::edits::Edit;
use crate::history::{Name, Row};

const KEY: &str = "leaseKey";

/// One table of a backend. It may not exist yet.
pub struct Table {
    dynamodb: DynamoDb,
    name: &'static str,
    touched: TouchedRows,
}

/// The leases of one table, as they were when they were last looked at.
#[derive(Debug)]
pub struct Leases {
    table: Table,
    rows: BTreeMap<Name, Row>,
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
    #[serde(rename = "throughputKBps")]
    throughput: Option<Number>,
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
    consumed_capacity: Capacity,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Capacity {
    capacity_units: f64,
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

    /// What the row says of its lease's throughput, in KB/s.
    pub fn throughput(&self) -> Option<f64> {
        self.throughput.as_ref()?.digits.parse().ok()
    }

    /// Whether somebody made it such that no library can read it.
    fn is_spoiled(&self) -> bool {
        self.checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.text.is_empty())
    }

    /// The lease, if it is one that can be read.
    pub fn into_lease(self) -> Option<Row> {
        if self.entity().is_some_and(|entity| entity != "LEASE") || self.is_spoiled() {
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

    fn ask(&self, operation: &str, request: &serde_json::Value) -> Option<Bytes> {
        self.dynamodb
            .call(operation, &Bytes::from(request.to_string()))
            .ok()
    }

    /// Everything in it; nothing as long as it does not exist.
    pub fn items(&self) -> Vec<Item> {
        self.pages().into_iter().flat_map(|page| page.items).collect()
    }

    /// The read capacity units that each page of an eventually consistent scan consumes.
    pub fn scan_units(&self) -> Vec<f64> {
        let pages = self.pages();
        pages
            .iter()
            .map(|page| page.consumed_capacity.capacity_units / 2.0)
            .collect()
    }

    fn pages(&self) -> Vec<Scanned> {
        let mut pages = Vec::new();
        let mut request =
            json!({ "TableName": self.name, "ConsistentRead": true, "ReturnConsumedCapacity": "TOTAL" });
        while let Some(answer) = self.ask("Scan", &request) {
            let page: Scanned = serde_json::from_slice(&answer).expect("items of a lease table");
            let next = page.last_evaluated_key.clone();
            pages.push(page);
            let Some(next) = next else { break };
            request["ExclusiveStartKey"] = next;
        }
        pages
    }

    /// One row as it is.
    pub fn item(&self, key: &str) -> Option<Item> {
        let key = json!({ KEY: { "S": key } });
        let request = json!({ "TableName": self.name, "Key": key, "ConsistentRead": true });
        let answer = self.ask("GetItem", &request)?;
        let got: Got = serde_json::from_slice(&answer).expect("an item of a lease table");
        got.item
    }

    fn delete(&self, key: &str) {
        let request = json!({ "TableName": self.name, "Key": { KEY: { "S": key } } });
        self.ask("DeleteItem", &request).expect("deleted");
    }
}

impl Leases {
    /// Nothing is known of them yet.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
        }
    }

    /// The table underneath.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The rows as last seen.
    pub fn rows(&self) -> &BTreeMap<Name, Row> {
        &self.rows
    }

    /// Reads what was written since the last look; the leases that changed, `None` for those that are gone.
    pub fn look(&mut self) -> Vec<(Name, Option<Row>)> {
        let lease = |item: Item| Some((Name::from(item.key()), item.into_lease()?));
        let mut found = Vec::new();
        match self.table.touched.take() {
            Touched::Rows(keys) => {
                for key in keys {
                    let item = self.table.item(&key);
                    // Nothing is known of it that is new.
                    if item.as_ref().is_some_and(Item::is_spoiled) {
                        continue;
                    }
                    let row = item.and_then(Item::into_lease);
                    found.push((key.into(), row));
                }
            }
            Touched::Any => {
                let rows: BTreeMap<_, _> = self.table.items().into_iter().filter_map(lease).collect();
                let gone = self.rows.keys().filter(|shard| !rows.contains_key(*shard));
                found.extend(gone.map(|shard| (shard.clone(), None)));
                found.extend(rows.into_iter().map(|(shard, row)| (shard, Some(row))));
            }
        }
        found.retain(|(shard, row)| self.rows.get(shard) != row.as_ref());
        for (shard, row) in &found {
            match row {
                Some(row) => self.rows.insert(shard.clone(), row.clone()),
                None => self.rows.remove(shard),
            };
        }
        found
    }

    /// Deletes the whole table, if there is one; the shards whose leases are gone with it. The next look does not tell of
    /// it.
    pub fn delete_table(&mut self) -> Vec<Name> {
        let _ = self
            .table
            .ask("DeleteTable", &json!({ "TableName": self.table.name }));
        std::mem::take(&mut self.rows).into_keys().collect()
    }

    /// Changes a row by hand, unless its shard has ended; the row as it is then, if it can be read. The next look does not tell of it.
    pub fn edit(&mut self, shard: &Name, edit: &Edit) -> Option<Row> {
        let mut request = edit.update();
        request["TableName"] = json!(self.table.name);
        request["Key"] = json!({ KEY: { "S": &**shard } });
        self.table.ask("UpdateItem", &request)?;
        let row = self.table.item(shard).and_then(Item::into_lease)?;
        self.rows.insert(shard.clone(), row.clone());
        Some(row)
    }

    /// Deletes a row by hand; the next look does not tell of it.
    pub fn delete(&mut self, shard: &Name) {
        self.table.delete(shard);
        self.rows.remove(shard);
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}
