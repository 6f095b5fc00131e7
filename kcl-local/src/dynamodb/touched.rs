//! Which rows writes have touched, so that who watches a table need not read it all again and again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use serde::Deserialize;

/// The rows of one table that were written since somebody last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// The values of these partition keys; some writes may have left their row as it was.
    Rows(BTreeSet<String>),
    /// More than is known in detail: a write of several items, or of the table itself.
    Any,
}

/// Collects the rows of one table that are written. Dropping it ends that.
#[derive(Debug)]
pub struct TouchedRows {
    subscription: Arc<Subscription>,
}

impl TouchedRows {
    /// What was written since the last call.
    pub fn take(&self) -> Touched {
        let mut touched = self
            .subscription
            .touched
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *touched, Touched::Rows(BTreeSet::new()))
    }
}

#[derive(Debug)]
struct Subscription {
    table: String,
    key: String,
    touched: Mutex<Touched>,
}

/// Who wants to know of writes.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    all: Mutex<Vec<Weak<Subscription>>>,
}

/// The members of a write that name its row.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow)]
    key: Option<BTreeMap<Cow<'a, str>, Attribute<'a>>>,
    #[serde(borrow)]
    item: Option<BTreeMap<Cow<'a, str>, Attribute<'a>>>,
}

/// An attribute's value, if it is a string.
#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(rename = "S", borrow)]
    text: Option<Cow<'a, str>>,
}

impl Write<'_> {
    fn row(&self, key: &str) -> Option<String> {
        let names_it = self.key.as_ref().or(self.item.as_ref())?;
        Some(names_it.get(key)?.text.as_ref()?.to_string())
    }
}

impl Subscriptions {
    /// Collects writes to `table`, whose partition key is the string attribute `key`, from now on.
    pub(super) fn add(&self, table: &str, key: &str) -> TouchedRows {
        let subscription = Arc::new(Subscription {
            table: table.to_owned(),
            key: key.to_owned(),
            touched: Mutex::new(Touched::Any),
        });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&subscription));
        TouchedRows { subscription }
    }

    /// An operation with this body succeeded.
    pub(super) fn tell(&self, operation: &str, body: &Bytes) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return;
        }
        let write = match operation {
            "DeleteItem" | "PutItem" | "UpdateItem" => serde_json::from_slice::<Write<'_>>(body).ok(),
            "BatchWriteItem" | "CreateTable" | "DeleteTable" | "TransactWriteItems" => None,
            _ => return,
        };
        for one in all.iter().filter_map(Weak::upgrade) {
            if write.as_ref().is_some_and(|write| write.table_name != one.table) {
                continue;
            }
            let row = write.as_ref().and_then(|write| write.row(&one.key));
            let mut touched = one.touched.lock().unwrap_or_else(PoisonError::into_inner);
            match (&mut *touched, row) {
                (Touched::Rows(rows), Some(row)) => {
                    rows.insert(row);
                }
                (any, None) => *any = Touched::Any,
                (Touched::Any, Some(_)) => {}
            }
        }
    }
}
