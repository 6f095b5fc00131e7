//! The lease table as an outsider reads it: straight from the backend, by the names that the Java KCL gives its attributes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use kcl_core::Checkpoint;
use kcl_local::dynamodb::{DynamoDb, Touched, TouchedRows};
use serde::Deserialize;
use serde_json::json;

use crate::damage::Damage;
use crate::edits::Edit;
use crate::history::{Name, Row};

const KEY: &str = "leaseKey";
/// How the ids of shards begin.
const SHARD: &str = "shardId-";
/// The row that says which stream the leases are of.
const VERSION: &str = "Migration3.0";

/// One table of a backend. It may not exist yet.
///
/// Leases are called by their shards here. Where the table is one of several streams, these stand behind the id of the stream.
pub struct Table {
    dynamodb: DynamoDb,
    name: &'static str,
    touched: TouchedRows,
    /// What stands before the shards' ids, once a lease was seen; absent where the table is of one stream.
    stream: Option<OnceLock<String>>,
}

/// The leases of one table, as they were when they were last looked at.
#[derive(Debug)]
pub struct Leases {
    table: Table,
    rows: BTreeMap<Name, Row>,
    recorded: Option<u64>,
}

/// What has changed since the last look.
#[derive(Debug, Default)]
pub struct Changes {
    /// Leases that were of another stream; they are gone.
    pub of_another: Vec<Name>,
    /// When the stream was created that the leases are of.
    pub recorded: Option<u64>,
    /// The leases that changed, `None` for those that are gone.
    pub rows: Vec<(Name, Option<Row>)>,
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
    rewind_to: Option<Text>,
    rewind_to_sub_sequence_number: Option<Number>,
    #[serde(rename = "throughputKBps")]
    throughput: Option<Number>,
    stream_created: Option<Number>,
    kept_lease_key: Option<Text>,
    failing_leases: Option<List>,
}

#[derive(Debug, Deserialize)]
struct Text {
    #[serde(rename = "S")]
    text: String,
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(rename = "L")]
    members: Vec<Text>,
}

#[derive(Debug, Deserialize)]
struct Number {
    /// Nothing where it is something else.
    #[serde(rename = "N")]
    digits: Option<String>,
}

/// What an item is to the leases.
enum Kind {
    Lease(Row),
    /// A lease that cannot be read.
    Unreadable,
    Other,
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
        self.throughput.as_ref()?.digits.as_ref()?.parse().ok()
    }

    /// Of a worker's row: the shards whose leases failed there.
    pub fn failing_leases(self) -> BTreeSet<Name> {
        let keys = self.failing_leases.map_or_else(Vec::new, |list| list.members);
        let shard = |key: &str| key.rsplit_once(':').map_or(key, |(_, shard)| shard).into();
        keys.iter().map(|key| shard(&key.text)).collect()
    }

    /// When the stream was created that it is about.
    fn stream_created(&self) -> Option<u64> {
        self.stream_created.as_ref()?.digits.as_ref()?.parse().ok()
    }

    /// The lease that was set aside with its stream, if it is one: when that was created, the shard and the checkpoint.
    pub fn into_kept(self) -> Option<(u64, String, Checkpoint)> {
        let created = self.stream_created()?;
        let shard = self.kept_lease_key?.text;
        let sub_sequence = self.checkpoint_sub_sequence_number.and_then(|it| it.digits);
        let sub_sequence = sub_sequence.map_or(Some(0), |digits| digits.parse().ok())?;
        let checkpoint = Checkpoint::parse(&self.checkpoint?.text, sub_sequence).ok()?;
        Some((created, shard, checkpoint))
    }

    /// The lease, if it is one that can be read.
    pub fn into_lease(self) -> Option<Row> {
        match self.into_kind() {
            Kind::Lease(row) => Some(row),
            Kind::Unreadable | Kind::Other => None,
        }
    }

    fn into_kind(self) -> Kind {
        if self.entity().is_some_and(|entity| entity != "LEASE") {
            return Kind::Other;
        }
        let number = |number: Option<Number>| number.map_or(Some(0), |it| it.digits?.parse().ok());
        let read = || {
            let sub_sequence = number(self.checkpoint_sub_sequence_number)?;
            let rewind_to = match self.rewind_to {
                Some(to) => {
                    let sub_sequence = number(self.rewind_to_sub_sequence_number)?;
                    Some(Checkpoint::parse(&to.text, sub_sequence).ok()?)
                }
                None => None,
            };
            Some(Row {
                rewind_to,
                owner: self.lease_owner.map(|owner| owner.text),
                checkpoint_owner: self.checkpoint_owner.map(|owner| owner.text),
                counter: number(self.lease_counter)?,
                checkpoint: Checkpoint::parse(&self.checkpoint?.text, sub_sequence).ok()?,
            })
        };
        read().map_or(Kind::Unreadable, Kind::Lease)
    }
}

impl Table {
    /// The table `name` of this backend.
    pub fn new(dynamodb: &DynamoDb, name: &'static str) -> Self {
        Self {
            dynamodb: dynamodb.clone(),
            name,
            touched: dynamodb.touched_rows(name, KEY),
            stream: None,
        }
    }

    /// The same, if it is one of several streams.
    #[must_use]
    pub fn of_several(mut self, is_it: bool) -> Self {
        self.stream = is_it.then(OnceLock::new);
        self
    }

    /// The key of a shard's lease, or of another row.
    pub fn key_of<'a>(&self, shard: &'a str) -> Cow<'a, str> {
        let Some(stream) = self.stream.as_ref().filter(|_| shard.starts_with(SHARD)) else {
            return shard.into();
        };
        if stream.get().is_none() {
            // It is learnt from the leases.
            let _ = self.items();
        }
        stream
            .get()
            .map_or(shard.into(), |stream| format!("{stream}:{shard}").into())
    }

    /// What the row of a key is called here.
    fn called<'a>(&self, key: &'a str) -> &'a str {
        match (&self.stream, key.rsplit_once(':')) {
            (Some(known), Some((stream, shard))) if shard.starts_with(SHARD) => {
                known.get_or_init(|| stream.to_owned());
                shard
            }
            _ => key,
        }
    }

    fn ask(&self, operation: &str, request: &serde_json::Value) -> Option<Bytes> {
        self.dynamodb
            .call(operation, &Bytes::from(request.to_string()))
            .ok()
    }

    /// Everything in it; nothing as long as it does not exist.
    pub fn items(&self) -> Vec<Item> {
        let mut items: Vec<Item> = self.pages().into_iter().flat_map(|page| page.items).collect();
        for item in &mut items {
            let called = self.called(&item.lease_key.text).to_owned();
            item.lease_key.text = called;
        }
        items
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

    /// When the stream was created that the leases are of, if the table says it.
    pub fn recorded(&self) -> Option<u64> {
        self.item(VERSION)?.stream_created()
    }

    /// One row as it is.
    pub fn item(&self, key: &str) -> Option<Item> {
        let key = json!({ KEY: { "S": self.key_of(key) } });
        let request = json!({ "TableName": self.name, "Key": key, "ConsistentRead": true });
        let answer = self.ask("GetItem", &request)?;
        let got: Got = serde_json::from_slice(&answer).expect("an item of a lease table");
        got.item
    }

    fn delete(&self, key: &str) {
        let request = json!({ "TableName": self.name, "Key": { KEY: { "S": self.key_of(key) } } });
        self.ask("DeleteItem", &request).expect("deleted");
    }
}

impl Leases {
    /// Nothing is known of them yet.
    pub fn new(table: Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
            recorded: None,
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

    /// Reads what was written since the last look.
    pub fn look(&mut self) -> Changes {
        let mut touched = self.table.touched.take();
        let mut of_another = Vec::new();
        let may_be_news = match &touched {
            Touched::Rows(keys) => keys.contains(VERSION),
            Touched::Any => true,
        };
        if may_be_news
            && let Some(recorded) = self.table.recorded()
            && let Some(before) = self.recorded.replace(recorded)
            && before != recorded
        {
            of_another = std::mem::take(&mut self.rows).into_keys().collect();
            touched = Touched::Any;
        }
        Changes {
            of_another,
            recorded: self.recorded,
            rows: self.read(touched),
        }
    }

    fn read(&mut self, touched: Touched) -> Vec<(Name, Option<Row>)> {
        let mut found = Vec::new();
        let mut tell = |key: Name, item: Option<Item>| match item.map(Item::into_kind) {
            Some(Kind::Lease(row)) => found.push((key, Some(row))),
            // It is as it was last seen, as far as is known.
            Some(Kind::Unreadable) => {}
            Some(Kind::Other) | None => found.push((key, None)),
        };
        match touched {
            Touched::Rows(keys) => {
                for key in keys {
                    let called = self.table.called(&key);
                    tell(called.into(), self.table.item(called));
                }
            }
            Touched::Any => {
                let items = self.table.items();
                let items: BTreeMap<_, _> = items.into_iter().map(|it| (Name::from(it.key()), it)).collect();
                let gone = self.rows.keys().filter(|shard| !items.contains_key(*shard));
                gone.for_each(|shard| tell(shard.clone(), None));
                items.into_iter().for_each(|(key, item)| tell(key, Some(item)));
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
        self.update(shard, edit.update())?;
        let row = self.table.item(shard).and_then(Item::into_lease)?;
        self.rows.insert(shard.clone(), row.clone());
        Some(row)
    }

    /// Makes a row unreadable, unless its shard has ended; what it was before.
    pub fn damage(&mut self, shard: &Name, damage: Damage) -> Option<serde_json::Value> {
        let key = json!({ KEY: { "S": self.table.key_of(shard) } });
        let request = json!({ "TableName": self.table.name, "Key": key, "ConsistentRead": true });
        let answer = self.table.ask("GetItem", &request)?;
        let before: serde_json::Value = serde_json::from_slice(&answer).ok()?;
        self.update(shard, damage.update())?;
        Some(before["Item"].clone())
    }

    /// Mends a row, unless its owner has done so; whether it was mended.
    pub fn mend(&mut self, shard: &Name, damage: Damage, before: &serde_json::Value) -> bool {
        self.update(shard, damage.repair(before)).is_some()
    }

    /// Whether there is a row that cannot be read.
    pub fn is_unreadable(&self, shard: &Name) -> bool {
        let kind = self.table.item(shard).map(Item::into_kind);
        matches!(kind, Some(Kind::Unreadable))
    }

    fn update(&self, shard: &Name, mut request: serde_json::Value) -> Option<Bytes> {
        request["TableName"] = json!(self.table.name);
        request["Key"] = json!({ KEY: { "S": self.table.key_of(shard) } });
        self.table.ask("UpdateItem", &request)
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
