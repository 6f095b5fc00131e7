//! What one message of a subscription's event stream says. Pure.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_eventstream::smithy::parse_response_headers;
use aws_smithy_types::event_stream::Message;
use bytes::Bytes;
use kcl_lease::{HashRange, SequenceNumber};
use serde::Deserialize;

use super::{Answer, cbor, plug};
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;
use crate::record::{Encryption, Record};
use crate::stream::Child;

pub(super) const OPERATION: &str = "SubscribeToShard";

/// The records of a message; `None` if it is none that brings records, like the one that begins a stream.
pub(super) fn read(message: &Message) -> Result<Option<Answer>, CallError> {
    // What the service has no model of has a code in place of a type.
    if let Some(code) = header(":error-code", message) {
        return Err(CallError::of_code(
            OPERATION,
            code,
            header(":error-message", message),
        ));
    }
    let headers = parse_response_headers(message).map_err(malformed)?;
    let kind = headers.smithy_type.as_str();
    match headers.message_type.as_str() {
        "event" if kind == "SubscribeToShardEvent" => {
            let payload = message.payload();
            let says_cbor = headers.content_type().map(|kind| kind.contains("cbor"));
            let is_cbor = says_cbor.unwrap_or_else(|| payload.first() != Some(&b'{'));
            let answer = if is_cbor {
                cbor::answer(std::slice::from_ref(payload), cbor::CONTINUATION).map_err(malformed)
            } else {
                json(payload)
            };
            answer.map(Some)
        }
        "exception" => {
            let (_, text) = plug::told(message.payload());
            Err(CallError::of_code(OPERATION, kind, text.as_deref()))
        }
        // What is added to the service some day.
        _ => Ok(None),
    }
}

fn header<'m>(name: &str, message: &'m Message) -> Option<&'m str> {
    let header = message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == name);
    let value = header.and_then(|header| header.value().as_string().ok());
    value.map(|value| value.as_str())
}

fn malformed(error: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorClass::Other, OPERATION, error.to_string())
}

/// An event in JSON.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    records: Vec<EventRecord<'a>>,
    continuation_sequence_number: Option<String>,
    millis_behind_latest: Option<i64>,
    child_shards: Option<Vec<ChildShard>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventRecord<'a> {
    sequence_number: String,
    approximate_arrival_timestamp: Option<f64>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    partition_key: Option<String>,
    encryption_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChildShard {
    shard_id: String,
    #[serde(default)]
    parent_shards: BTreeSet<String>,
    hash_key_range: Option<HashKeyRange>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

fn json(payload: &Bytes) -> Result<Answer, CallError> {
    let event: Event<'_> = serde_json::from_slice(payload).map_err(malformed)?;
    let records = event.records.into_iter().map(EventRecord::read);
    let children = event.child_shards.unwrap_or_default();
    Ok(Answer {
        records: records.collect::<Result<_, _>>()?,
        next: event.continuation_sequence_number.filter(|next| !next.is_empty()),
        millis_behind_latest: event
            .millis_behind_latest
            .and_then(|millis| u64::try_from(millis).ok()),
        children: children.into_iter().map(Child::from).collect(),
        block: None,
    })
}

impl EventRecord<'_> {
    fn read(self) -> Result<Record, CallError> {
        let sequence = SequenceNumber::parse(self.sequence_number).map_err(malformed)?;
        let data = aws_smithy_types::base64::decode(&*self.data).map_err(malformed)?;
        let encryption = match self.encryption_type.as_deref() {
            Some("NONE") => Some(Encryption::None),
            Some("KMS") => Some(Encryption::Kms),
            _ => None,
        };
        let data = Bytes::from(data.into_boxed_slice());
        let arrival = self.approximate_arrival_timestamp.and_then(time);
        Ok(Record::of_kinesis(
            sequence,
            data,
            self.partition_key.unwrap_or_default().into(),
            arrival,
            encryption,
        ))
    }
}

/// In seconds, to the millisecond.
fn time(seconds: f64) -> Option<SystemTime> {
    let millis = (seconds * 1_000.0).round();
    (0.0..1e15)
        .contains(&millis)
        .then(|| UNIX_EPOCH + Duration::from_millis(millis as u64))
}

impl From<ChildShard> for Child {
    fn from(shard: ChildShard) -> Self {
        let range = shard.hash_key_range.and_then(|range| {
            let (start, end) = (
                range.starting_hash_key.parse().ok()?,
                range.ending_hash_key.parse().ok()?,
            );
            (start <= end).then(|| HashRange::new(start, end))
        });
        let parents = shard.parent_shards.iter();
        Self {
            id: ShardId::from(&*shard.shard_id),
            parents: parents.map(|parent| ShardId::from(&**parent)).collect(),
            hash_range: range,
        }
    }
}
