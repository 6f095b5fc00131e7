//! CreateStream, DeleteStream, ListStreams.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::check;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{
    CapacityMode, EngineError, Stream, StreamSpec, TokenKind, TokenReader, TokenWriter,
};
use crate::kinesis::{ApiError, Kinesis};

/// How many shards an on-demand stream begins with.
/// <https://docs.aws.amazon.com/streams/latest/dev/how-do-i-size-a-stream.html>
const ON_DEMAND_SHARDS: u32 = 4;
const DEFAULT_PAGE: u32 = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateStreamRequest {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<StreamModeDetailsRequest>,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_throughput_mibps: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamModeDetailsRequest {
    stream_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteStreamRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    enforce_consumer_deletion: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStreamsRequest {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListStreamsResponse {
    stream_names: Vec<String>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    stream_summaries: Vec<StreamSummary>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: StreamModeDetails,
    stream_creation_timestamp: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamModeDetails {
    stream_mode: &'static str,
}

impl StreamModeDetails {
    pub(super) fn of(stream: &Stream) -> Self {
        let stream_mode = match stream.spec.mode {
            CapacityMode::Provisioned => "PROVISIONED",
            CapacityMode::OnDemand => "ON_DEMAND",
        };
        Self { stream_mode }
    }
}

impl StreamModeDetailsRequest {
    fn mode(self) -> Result<CapacityMode, ApiError> {
        let member = "streamModeDetails.streamMode";
        match check::required(self.stream_mode, member)?.as_str() {
            "PROVISIONED" => Ok(CapacityMode::Provisioned),
            "ON_DEMAND" => Ok(CapacityMode::OnDemand),
            _ => Err(check::broken(
                member,
                "satisfy enum value set: [PROVISIONED, ON_DEMAND]",
            )),
        }
    }
}

impl Kinesis {
    /// Creates a stream; its shards open when it becomes `ACTIVE`.
    pub(crate) fn create_stream(&self, request: CreateStreamRequest) -> Result<(), ApiError> {
        let name = check::required(request.stream_name, "streamName")?;
        check::name(&name, "streamName")?;
        let mode = request
            .stream_mode_details
            .map(StreamModeDetailsRequest::mode)
            .transpose()?;
        let mode = mode.unwrap_or(CapacityMode::Provisioned);
        let shard_count = request
            .shard_count
            .map(|count| check::in_range(count, 1..=100_000, "shardCount"));
        let shards = match mode {
            CapacityMode::Provisioned => check::required(shard_count.transpose()?, "shardCount")?,
            CapacityMode::OnDemand => ON_DEMAND_SHARDS,
        };
        let max_record_kib = request.max_record_size_in_kib.unwrap_or(1024);
        let warm = request.warm_throughput_mibps;
        let spec = StreamSpec {
            name,
            mode,
            shards,
            max_record_kib: check::in_range(max_record_kib, 1024..=10_240, "maxRecordSizeInKiB")?,
            warm_throughput_mibps: warm
                .map(|value| check::in_range(value, 0..=u32::MAX, "warmThroughputMiBps"))
                .transpose()?,
            tags: BTreeMap::new(),
        };
        let spec = match request.tags {
            Some(tags) => StreamSpec {
                tags: super::tags::checked(tags)?,
                ..spec
            },
            None => spec,
        };
        self.with_engine(|engine, now| engine.create(spec, now))?;
        Ok(())
    }

    /// Deletes a stream with its records, and with its consumers if that is said.
    pub(crate) fn delete_stream(&self, request: DeleteStreamRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let enforced = request.enforce_consumer_deletion.unwrap_or(false);
        self.with_engine(|engine, now| {
            if !enforced && !engine.stream(name, now)?.consumers.at(now).is_empty() {
                return Err(EngineError::HasConsumers(name.to_owned()));
            }
            engine.delete(name, now)
        })?;
        Ok(())
    }

    /// Lists the account's streams by name, page by page.
    pub(crate) fn list_streams(&self, request: ListStreamsRequest) -> Result<ListStreamsResponse, ApiError> {
        let limit = check::in_range(
            request.limit.unwrap_or(i64::from(DEFAULT_PAGE)),
            1..=10_000,
            "limit",
        )?;
        if let Some(name) = &request.exclusive_start_stream_name {
            check::name(name, "exclusiveStartStreamName")?;
        }
        self.with_engine(|engine, now| {
            let after = match request.next_token {
                Some(token) => {
                    let name = TokenReader::next_token(TokenKind::Streams, &token, now)?.text();
                    Some(name.ok_or_else(EngineError::invalid_next_token)?)
                }
                None => request.exclusive_start_stream_name,
            };
            let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = engine.streams(now).range::<str, _>((start, Bound::Unbounded));
            let summaries: Vec<_> = rest
                .by_ref()
                .take(limit as usize)
                .map(|(_, stream)| self.summary(stream))
                .collect();
            let has_more_streams = rest.next().is_some();
            let last = summaries.last().filter(|_| has_more_streams);
            let next_token =
                last.map(|last| TokenWriter::new(TokenKind::Streams, now).text(&last.stream_name));
            Ok(ListStreamsResponse {
                stream_names: summaries
                    .iter()
                    .map(|summary| summary.stream_name.clone())
                    .collect(),
                has_more_streams,
                next_token,
                stream_summaries: summaries,
            })
        })
    }

    fn summary(&self, stream: &Stream) -> StreamSummary {
        StreamSummary {
            stream_name: stream.name().to_owned(),
            stream_arn: self.stream_arn(stream.name()),
            stream_status: stream.status().as_str(),
            stream_mode_details: StreamModeDetails::of(stream),
            stream_creation_timestamp: Timestamp(stream.created),
        }
    }
}
