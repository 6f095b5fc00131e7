//! PutRecord, PutRecords.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::check::{self, Checks, Members, rules};
use super::encryption::EncryptionType;
use super::errors::THROTTLED;
use super::stream_name::StreamRef;
use crate::kinesis::engine::{Distribution, EngineError, HashKey, Payload, SequenceNumber, ShardId, Stream};
use crate::kinesis::{ApiError, Kinesis};

/// Content and partition keys of all records together.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MOST_BYTES: usize = 10 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecordRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    data: Option<Blob>,
    partition_key: Option<Arc<str>>,
    explicit_hash_key: Option<String>,
    /// Numbers grow with every record of a shard anyway, so any number will do.
    sequence_number_for_ordering: Option<String>,
    dry_run: Option<bool>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecordResponse {
    shard_id: ShardId,
    sequence_number: SequenceNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<EncryptionType>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecordsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    records: Option<Vec<RecordEntry>>,
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordEntry {
    data: Option<Blob>,
    partition_key: Option<Arc<str>>,
    explicit_hash_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecordsResponse {
    failed_record_count: usize,
    records: Vec<RecordResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<EncryptionType>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum RecordResult {
    #[serde(rename_all = "PascalCase")]
    Stored {
        shard_id: ShardId,
        sequence_number: SequenceNumber,
    },
    #[serde(rename_all = "PascalCase")]
    Failed {
        error_code: &'static str,
        error_message: String,
    },
}

impl PutRecordRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for PutRecordRequest {
    fn check(&self, checks: &mut Checks) {
        checks.text(
            "sequenceNumberForOrdering",
            self.sequence_number_for_ordering.as_deref(),
            &rules::SEQUENCE_NUMBER,
        );
        check_record(
            checks,
            self.partition_key.as_ref(),
            self.explicit_hash_key.as_deref(),
            self.data.as_ref(),
        );
        self.stream().check(checks);
    }
}

impl PutRecordsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for PutRecordsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("records", self.records.as_ref());
        checks.structures(
            "records",
            self.records.as_deref(),
            rules::RECORDS,
            |entry, checks| {
                let key = entry.explicit_hash_key.as_deref();
                check_record(checks, entry.partition_key.as_ref(), key, entry.data.as_ref());
            },
        );
        self.stream().check(checks);
    }
}

fn check_record(checks: &mut Checks, key: Option<&Arc<str>>, hash_key: Option<&str>, data: Option<&Blob>) {
    checks.text("partitionKey", key.map(AsRef::as_ref), &rules::PARTITION_KEY);
    checks.text("explicitHashKey", hash_key, &rules::HASH_KEY);
    checks.required("data", data);
    checks.bytes("data", data.map(|data| data.0.len()), rules::DATA);
}

/// What a stream says of records that are to be put.
struct Terms {
    most_kib: u32,
    needs_key: bool,
    encryption_type: Option<EncryptionType>,
}

impl Terms {
    fn of(stream: &Stream) -> Self {
        Self {
            most_kib: stream.spec.max_record_kib,
            needs_key: stream.spec.distribution == Distribution::ByKey,
            encryption_type: stream.key_id.is_some().then_some(EncryptionType::Kms),
        }
    }

    /// Checks a record, which is the request's only one if it has no number.
    fn admit(&self, record: &Routed, index: Option<usize>) -> Result<(), ApiError> {
        if self.needs_key && record.key.is_none() {
            return Err(check::missing_item("records", index, "partitionKey"));
        }
        require_size(&record.payload, self.most_kib)
    }
}

/// A record that follows the rules, and where it goes.
struct Routed {
    /// None if neither a partition key nor a hash key was given.
    key: Option<HashKey>,
    payload: Payload,
}

impl RecordEntry {
    fn route(self) -> Result<Routed, ApiError> {
        let data = check::present(self.data, "data")?.0;
        let key = match (self.explicit_hash_key, &self.partition_key) {
            (Some(text), Some(_)) => Some(hash_key(&text, "ExplicitHashKey")?),
            (None, Some(partition_key)) => Some(HashKey::of(partition_key)),
            (_, None) => None,
        };
        let partition_key = self.partition_key.unwrap_or_default();
        Ok(Routed {
            key,
            payload: Payload { partition_key, data },
        })
    }
}

/// Reads a hash key, a number from 0 to 2^128 - 1.
pub(super) fn hash_key(text: &str, member: &str) -> Result<HashKey, ApiError> {
    text.parse().map_err(|_| {
        ApiError::invalid_argument(format!(
            "Invalid {member}. {member} must be in the range: [0, 2^128-1]. Specified value was {text}"
        ))
    })
}

fn require_size(payload: &Payload, most_kib: u32) -> Result<(), ApiError> {
    if payload.size() <= most_kib as usize * 1024 {
        return Ok(());
    }
    Err(ApiError::invalid_argument(format!(
        "A record of {} bytes, partition key included, exceeds the stream's limit of {most_kib} KiB.",
        payload.size()
    )))
}

impl Kinesis {
    /// Writes a record.
    pub(crate) fn put_record(&self, mut request: PutRecordRequest) -> Result<PutRecordResponse, ApiError> {
        let entry = RecordEntry {
            data: request.data.take(),
            partition_key: request.partition_key.take(),
            explicit_hash_key: request.explicit_hash_key.take(),
        };
        let name = self.stream_name(request.stream())?;
        let record = entry.route()?;
        self.with_engine(|engine, now| {
            let terms = Terms::of(engine.stream(name, now)?);
            terms.admit(&record, None)?;
            if request.dry_run == Some(true) {
                engine.stream(name, now)?.require_flowing()?;
                return Err(EngineError::DryRun.into());
            }
            let Routed { key, payload } = record;
            let sequence_number = engine.put(name, key.unwrap_or(HashKey::MIN), payload, now)?;
            Ok(PutRecordResponse {
                shard_id: sequence_number.origin().shard,
                sequence_number,
                encryption_type: terms.encryption_type,
            })
        })
    }

    /// Writes up to 500 records, of which some may fail.
    pub(crate) fn put_records(&self, mut request: PutRecordsRequest) -> Result<PutRecordsResponse, ApiError> {
        let entries = check::present(request.records.take(), "records")?;
        let name = self.stream_name(request.stream())?;
        let routed: Vec<_> = entries
            .into_iter()
            .map(RecordEntry::route)
            .collect::<Result<_, _>>()?;
        let bytes: usize = routed.iter().map(|record| record.payload.size()).sum();
        if bytes > MOST_BYTES {
            return Err(ApiError::invalid_argument(format!(
                "Records of {bytes} bytes together, partition keys included, exceed the limit of {MOST_BYTES} bytes."
            )));
        }
        let (outcomes, encryption_type) = self.with_engine(|engine, now| {
            let terms = Terms::of(engine.stream(name, now)?);
            for (index, record) in routed.iter().enumerate() {
                terms.admit(record, Some(index))?;
            }
            if request.dry_run == Some(true) {
                engine.stream(name, now)?.require_flowing()?;
                return Err(EngineError::DryRun.into());
            }
            let mut outcomes = Vec::with_capacity(routed.len());
            for Routed { key, payload } in routed {
                match engine.put(name, key.unwrap_or(HashKey::MIN), payload, now) {
                    // Whatever else goes wrong concerns the stream and so strikes the first record already.
                    Err(error) if !matches!(error, EngineError::Throttled { .. }) => return Err(error.into()),
                    outcome => outcomes.push(outcome),
                }
            }
            Ok::<_, ApiError>((outcomes, terms.encryption_type))
        })?;
        Ok(PutRecordsResponse {
            failed_record_count: outcomes.iter().filter(|outcome| outcome.is_err()).count(),
            records: outcomes.into_iter().map(RecordResult::of).collect(),
            encryption_type,
        })
    }
}

impl RecordResult {
    fn of(outcome: Result<SequenceNumber, EngineError>) -> Self {
        match outcome {
            Ok(sequence_number) => Self::Stored {
                shard_id: sequence_number.origin().shard,
                sequence_number,
            },
            Err(error) => Self::Failed {
                error_code: THROTTLED,
                error_message: error.to_string(),
            },
        }
    }
}
