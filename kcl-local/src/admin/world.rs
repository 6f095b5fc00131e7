//! All that there is at a glance, for the page and for whoever wants to look.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::clock;
use crate::Backend;

/// How many rows of a table are shown.
const MOST_ROWS: usize = 500;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Scanned {
    items: Vec<BTreeMap<String, Value>>,
    last_evaluated_key: Option<Value>,
}

/// Streams and tables, and those of them in full that the query names: `stream=NAME&table=NAME`.
pub(super) fn world(backend: &Backend, query: &str) -> Value {
    let named = |wanted: &str| {
        let mut members = query.split('&').filter_map(|member| member.split_once('='));
        members.find(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let kinesis = backend.kinesis();
    json!({
        "clock": clock::reading(backend.clock()),
        "region": kinesis.options().region,
        "streams": kinesis.summaries(),
        "stream": named("stream").and_then(|name| kinesis.view(name)),
        "tables": backend.dynamodb().tables().unwrap_or_default(),
        "table": named("table").and_then(|name| table(backend, name)),
        "faults": backend.plan().list(),
    })
}

fn table(backend: &Backend, name: &str) -> Option<Value> {
    let request = json!({ "TableName": name, "Limit": MOST_ROWS, "ConsistentRead": true });
    let scanned: Scanned = backend.dynamodb().ask("Scan", request).ok()?;
    let rows = scanned.items.into_iter().map(|item| {
        let plain = item.into_iter().map(|(name, value)| (name, plain(value)));
        Value::Object(plain.collect::<Map<_, _>>())
    });
    Some(json!({
        "name": name,
        "rows": rows.collect::<Vec<_>>(),
        "more": scanned.last_evaluated_key.is_some(),
    }))
}

/// An attribute without its type.
fn plain(attribute: Value) -> Value {
    let Value::Object(typed) = attribute else {
        return attribute;
    };
    let Some((kind, value)) = typed.into_iter().next() else {
        return Value::Null;
    };
    match (kind.as_str(), value) {
        ("NULL", _) => Value::Null,
        ("L", Value::Array(values)) => values.into_iter().map(plain).collect(),
        ("M", Value::Object(members)) => Value::Object(
            members
                .into_iter()
                .map(|(name, value)| (name, plain(value)))
                .collect(),
        ),
        (_, value) => value,
    }
}
