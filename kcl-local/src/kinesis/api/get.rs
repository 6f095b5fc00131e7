//! GetShardIterator, GetRecords.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::check::{self, Checks, Members, Number, rules};
use super::encryption::EncryptionType;
use super::position::Start;
use super::shards::HashKeyRange;
use super::stream_name::StreamRef;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{EngineError, ReadLimit, Record, SequenceNumber, Shard, ShardId, ShardIterator};
use crate::kinesis::{ApiError, Kinesis};

/// The service's greatest number of records in an answer, and what it returns if no limit is given.
const MOST_RECORDS: u32 = 10_000;
/// The service's greatest answer in bytes: contents and partition keys.
const MOST_BYTES: usize = 10 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetShardIteratorRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetShardIteratorResponse {
    shard_iterator: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetRecordsRequest {
    shard_iterator: Option<String>,
    limit: Option<i64>,
    dry_run: Option<bool>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetRecordsResponse {
    records: Vec<RecordDescription>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_shard_iterator: Option<String>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<ChildShard>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordDescription {
    sequence_number: SequenceNumber,
    approximate_arrival_timestamp: Timestamp,
    data: Blob,
    /// Left out if the record was put without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_key: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<EncryptionType>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildShard {
    shard_id: ShardId,
    parent_shards: Vec<ShardId>,
    hash_key_range: HashKeyRange,
}

impl From<Record> for RecordDescription {
    fn from(record: Record) -> Self {
        Self {
            sequence_number: record.sequence_number,
            approximate_arrival_timestamp: Timestamp(record.arrived),
            data: Blob(record.payload.data),
            partition_key: record.payload.partition_key,
            encryption_type: record.encrypted.then_some(EncryptionType::Kms),
        }
    }
}

impl ChildShard {
    pub(super) fn of(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id(),
            parent_shards: shard.parents.clone(),
            hash_key_range: HashKeyRange::of(shard),
        }
    }
}

impl GetShardIteratorRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for GetShardIteratorRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("shardId", self.shard_id.as_ref());
        checks.text("shardId", self.shard_id.as_deref(), &rules::NAME);
        self.start().check(checks);
        self.stream().check(checks);
    }
}

impl Members for GetRecordsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.number("limit", self.limit, Number(1, i64::from(MOST_RECORDS)));
        checks.required("shardIterator", self.shard_iterator.as_ref());
        checks.text(
            "shardIterator",
            self.shard_iterator.as_deref(),
            &rules::SHARD_ITERATOR,
        );
        StreamRef::new(&None, &self.stream_arn, &self.stream_id).check_given(checks);
    }
}

impl GetShardIteratorRequest {
    /// Where to begin, given the iterator's type and the members that belong to it, and no others.
    fn start(&self) -> Start<'_> {
        Start {
            kind: self.shard_iterator_type.as_deref(),
            kind_member: "shardIteratorType",
            number: self.starting_sequence_number.as_deref(),
            number_member: "startingSequenceNumber",
            timestamp: self.timestamp,
        }
    }
}

impl Kinesis {
    /// Finds a place in a shard to read from.
    pub(crate) fn get_shard_iterator(
        &self,
        request: GetShardIteratorRequest,
    ) -> Result<GetShardIteratorResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        let shard = check::present(request.shard_id.as_deref(), "shardId")?;
        let shard = self.shard_id(shard, name)?;
        let start = request.start().position(&self.label(name), shard)?;
        let dry_run = request.dry_run == Some(true);
        let shard_iterator = self.with_engine(|engine, now| {
            let iterator = engine.iterator(name, shard, start, now)?;
            if dry_run {
                return Err(EngineError::DryRun);
            }
            Ok(iterator.encode(now))
        })?;
        Ok(GetShardIteratorResponse { shard_iterator })
    }

    /// Reads records from a place in a shard.
    pub(crate) fn get_records(&self, request: GetRecordsRequest) -> Result<GetRecordsResponse, ApiError> {
        self.read(request, None)
    }

    /// As the service answers now and then: without records although there are some, or with a lag although there are none.
    /// The end of a shard is told all the same.
    pub(crate) fn get_no_records(
        &self,
        request: GetRecordsRequest,
        behind: Duration,
    ) -> Result<GetRecordsResponse, ApiError> {
        let behind = u64::try_from(behind.as_millis()).unwrap_or(u64::MAX);
        self.read(request, Some(behind))
    }

    fn read(&self, request: GetRecordsRequest, empty: Option<u64>) -> Result<GetRecordsResponse, ApiError> {
        let token = check::present(request.shard_iterator, "shardIterator")?;
        let records = request.limit.map_or(MOST_RECORDS, check::checked) as usize;
        let limit = ReadLimit {
            records: if empty.is_some() { 0 } else { records },
            bytes: MOST_BYTES,
        };
        let (records, next, millis_behind_latest, children) = self.with_engine(|engine, now| {
            let iterator = ShardIterator::decode(&token, now)?;
            if let Some(arn) = request.stream_arn.as_deref()
                && self.name_in_arn(arn)? != iterator.stream
            {
                return Err(ApiError::invalid_argument(format!(
                    "The iterator is of stream {}, and StreamARN is of another.",
                    iterator.stream
                )));
            }
            if request.dry_run == Some(true) {
                engine.find(&iterator, now)?;
                return Err(EngineError::DryRun.into());
            }
            let read = engine.read(iterator, limit, now)?;
            let children: Vec<_> = read.children.into_iter().map(ChildShard::of).collect();
            let next = read.next.map(|next| next.encode(now));
            Ok::<_, ApiError>((read.records, next, read.millis_behind_latest, children))
        })?;
        Ok(GetRecordsResponse {
            records: records.into_iter().map(RecordDescription::from).collect(),
            child_shards: next.is_none().then_some(children),
            millis_behind_latest: match empty {
                Some(behind) if next.is_some() => behind,
                _ => millis_behind_latest,
            },
            next_shard_iterator: next,
        })
    }
}
