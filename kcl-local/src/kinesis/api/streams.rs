//! CreateStream, DeleteStream, ListStreams.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::capacity::{check_strategy, distribution};
use super::check::{self, Checks, Members, rules};
use super::shards::page;
use super::stream_name::StreamRef;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{
    CapacityMode, Distribution, EngineError, Stream, StreamSpec, TokenKind, TokenReader, TokenWriter,
    warm_shards,
};
use crate::kinesis::{ApiError, Kinesis};

/// The greatest page, and what a request gets that names none.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_ListStreams.html>
const MOST_STREAMS: usize = 100;

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
    record_distribution_strategy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamModeDetailsRequest {
    stream_mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteStreamRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
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
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.required("streamMode", self.stream_mode.as_ref());
        checks.choice("streamMode", self.stream_mode.as_deref(), rules::STREAM_MODES);
    }

    pub(super) fn mode(&self) -> CapacityMode {
        match self.stream_mode.as_deref() {
            Some("ON_DEMAND") => CapacityMode::OnDemand,
            _ => CapacityMode::Provisioned,
        }
    }
}

impl Members for CreateStreamRequest {
    fn check(&self, checks: &mut Checks) {
        if self.mode() == CapacityMode::Provisioned {
            checks.required("shardCount", self.shard_count.as_ref());
        }
        checks.number("shardCount", self.shard_count, rules::SHARD_COUNT);
        rules::tags(checks, self.tags.as_ref());
        let mode = self.stream_mode_details.as_ref();
        checks.structure("streamModeDetails", mode, StreamModeDetailsRequest::check);
        checks.number(
            "maxRecordSizeInKiB",
            self.max_record_size_in_kib,
            rules::RECORD_KIB,
        );
        checks.number("warmThroughputMiBps", self.warm_throughput_mibps, rules::MIBPS);
        check_strategy(checks, self.record_distribution_strategy.as_deref());
        checks.required("streamName", self.stream_name.as_ref());
        checks.text("streamName", self.stream_name.as_deref(), &rules::NAME);
    }
}

impl CreateStreamRequest {
    fn mode(&self) -> CapacityMode {
        let mode = self.stream_mode_details.as_ref();
        mode.map_or(CapacityMode::Provisioned, StreamModeDetailsRequest::mode)
    }

    /// Fails if there is something that does not go with the capacity mode.
    fn require_mode(&self, distribution: Distribution) -> Result<(), ApiError> {
        match self.mode() {
            CapacityMode::OnDemand if self.shard_count.is_some() => Err(ApiError::validation(
                "ShardCount does not go with the ON_DEMAND capacity mode.",
            )),
            CapacityMode::Provisioned if self.warm_throughput_mibps.is_some() => Err(ApiError::validation(
                "WarmThroughputMiBps goes with the ON_DEMAND capacity mode alone.",
            )),
            CapacityMode::Provisioned if distribution == Distribution::Even => {
                Err(ApiError::invalid_argument(
                    "RecordDistributionStrategy AUTO goes with the ON_DEMAND capacity mode alone.",
                ))
            }
            CapacityMode::OnDemand | CapacityMode::Provisioned => Ok(()),
        }
    }
}

impl DeleteStreamRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for DeleteStreamRequest {
    fn check(&self, checks: &mut Checks) {
        self.stream().check(checks);
    }
}

impl Members for ListStreamsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.number("limit", self.limit, rules::PAGE);
        let start = self.exclusive_start_stream_name.as_deref();
        checks.text("exclusiveStartStreamName", start, &rules::NAME);
        checks.text("nextToken", self.next_token.as_deref(), &rules::NEXT_TOKEN);
    }
}

impl Kinesis {
    /// Creates a stream; its shards open when it becomes `ACTIVE`.
    pub(crate) fn create_stream(&self, request: CreateStreamRequest) -> Result<(), ApiError> {
        let mode = request.mode();
        let warm_mibps = request.warm_throughput_mibps.map(check::checked);
        let distribution = distribution(request.record_distribution_strategy.as_deref());
        let shards = match mode {
            CapacityMode::Provisioned => check::checked(check::present(request.shard_count, "shardCount")?),
            CapacityMode::OnDemand => warm_shards(warm_mibps.unwrap_or(0))?,
        };
        request.require_mode(distribution)?;
        let mut tags = BTreeMap::new();
        super::tags::add(&mut tags, request.tags.unwrap_or_default(), "the new stream")?;
        let spec = StreamSpec {
            name: check::present(request.stream_name, "streamName")?,
            mode,
            shards,
            max_record_kib: request.max_record_size_in_kib.map_or(1024, check::checked),
            warm_mibps,
            distribution,
            tags,
        };
        self.with_engine(|engine, now| engine.create(spec, now))?;
        Ok(())
    }

    /// Deletes a stream with its records, and with its consumers if that is said.
    pub(crate) fn delete_stream(&self, request: DeleteStreamRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream())?;
        let enforced = request.enforce_consumer_deletion.unwrap_or(false);
        self.with_engine(|engine, now| {
            if !enforced && !engine.stream(name, now)?.consumers.at(now).is_empty() {
                return Err(EngineError::HasConsumers(self.label(name)));
            }
            engine.delete(name, now)
        })?;
        Ok(())
    }

    /// Lists the account's streams by name, page by page.
    pub(crate) fn list_streams(&self, request: ListStreamsRequest) -> Result<ListStreamsResponse, ApiError> {
        let limit = page(request.limit, MOST_STREAMS);
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
                .take(limit)
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
