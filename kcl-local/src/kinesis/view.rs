//! Streams as somebody sees them who looks from outside: no request, no limit, and nothing changes by it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Kinesis;
use super::engine::{EpochMillis, Record, Shard, Stream};

/// How many of a shard's newest records are shown.
const NEWEST: usize = 8;
/// How many shards of a stream are shown with their records.
const MOST_SHARDS: usize = 1_000;
/// How many bytes of a record are shown.
const MOST_BYTES: usize = 200;

/// One line on a stream.
#[derive(Debug, Serialize)]
pub(crate) struct StreamSummary {
    name: String,
    status: String,
    open_shards: u32,
    records: usize,
}

/// A stream, all of it.
#[derive(Debug, Serialize)]
pub(crate) struct StreamView {
    name: String,
    status: String,
    created_millis: u64,
    retention_hours: u32,
    shards: Vec<ShardView>,
    consumers: Vec<ConsumerView>,
}

#[derive(Debug, Serialize)]
struct ShardView {
    id: String,
    parents: Vec<String>,
    starting_hash_key: String,
    ending_hash_key: String,
    opened_millis: u64,
    closed_millis: Option<u64>,
    records: usize,
    /// How many records were ever put.
    put: u64,
    newest: Vec<RecordView>,
    subscribers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct RecordView {
    sequence_number: String,
    arrived_millis: u64,
    partition_key: String,
    /// In bytes.
    size: usize,
    /// The beginning of the content, if it is text.
    text: Option<String>,
    /// The beginning of the content, if it is none.
    base64: Option<String>,
}

#[derive(Debug, Serialize)]
struct ConsumerView {
    name: String,
    status: &'static str,
    created_millis: u64,
}

impl Kinesis {
    /// Every stream, by name.
    pub(crate) fn summaries(&self) -> Vec<StreamSummary> {
        self.with_engine(|engine, now| {
            let streams = engine.streams(now).values();
            let summary = |stream: &Stream| StreamSummary {
                name: stream.name().to_owned(),
                status: stream.status().to_string(),
                open_shards: stream.open_shard_count(),
                records: stream.shards().map(Shard::record_count).sum(),
            };
            streams.map(summary).collect()
        })
    }

    /// One stream, if there is one of this name.
    pub(crate) fn view(&self, name: &str) -> Option<StreamView> {
        self.with_engine(|engine, now| {
            let stream = engine.stream(name, now).ok()?;
            stream.expire(now);
            let consumers = stream.consumers.at(now).values();
            let consumers = consumers.map(|consumer| ConsumerView {
                name: consumer.name.clone(),
                status: consumer.status(now).as_str(),
                created_millis: consumer.created.get(),
            });
            let consumers = consumers.collect();
            let shards = stream.shards().take(MOST_SHARDS);
            Some(StreamView {
                name: stream.name().to_owned(),
                status: stream.status().to_string(),
                created_millis: stream.created.get(),
                retention_hours: stream.retention_hours,
                shards: shards.map(|shard| ShardView::of(stream, shard, now)).collect(),
                consumers,
            })
        })
    }
}

impl ShardView {
    fn of(stream: &Stream, shard: &Shard, now: EpochMillis) -> Self {
        // A shard knows the second in which it opened, and its parents the very millisecond in which they closed.
        let parents = stream
            .shards()
            .filter(|other| shard.parents.contains(&other.id()));
        let closed = parents.filter_map(|parent| parent.closure.as_ref().map(|closure| closure.at.get()));
        let opened_millis = closed.max().unwrap_or(shard.origin.opened_second * 1_000);
        Self {
            id: shard.id().to_string(),
            parents: shard.parents.iter().map(ToString::to_string).collect(),
            starting_hash_key: shard.range.start.to_string(),
            ending_hash_key: shard.range.end.to_string(),
            opened_millis,
            closed_millis: shard.closure.as_ref().map(|closure| closure.at.get()),
            records: shard.record_count(),
            put: shard.tip().0 - 1,
            newest: shard.newest(NEWEST, now).iter().map(RecordView::of).collect(),
            subscribers: shard.subscribers.names().map(str::to_owned).collect(),
        }
    }
}

impl RecordView {
    fn of(record: &Record) -> Self {
        let data = &record.payload.data;
        let shown = &data[..data.len().min(MOST_BYTES)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A letter may be cut in two.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let is_readable = |text: &&str| {
            !text
                .chars()
                .any(|letter| letter.is_control() && !letter.is_whitespace())
        };
        let text = text.filter(is_readable).map(str::to_owned);
        Self {
            sequence_number: record.sequence_number.to_string(),
            arrived_millis: record.arrived.get(),
            partition_key: record.payload.partition_key.to_string(),
            size: record.payload.size(),
            base64: text.is_none().then(|| STANDARD.encode(shown)),
            text,
        }
    }
}
