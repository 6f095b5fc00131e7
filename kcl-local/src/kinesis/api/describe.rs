//! DescribeStream, DescribeStreamSummary.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::capacity::{WarmThroughput, strategy};
use super::check::{Checks, Members, rules};
use super::encryption::KMS;
use super::shards::{ShardDescription, page};
use super::stream_name::StreamRef;
use super::streams::StreamModeDetails;
use super::timestamp::Timestamp;
use crate::kinesis::engine::Stream;
use crate::kinesis::{ApiError, Kinesis};

/// The greatest page, and what a request gets that names none.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStream.html>
const MOST_SHARDS: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStreamRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    limit: Option<i64>,
    exclusive_start_shard_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStreamResponse {
    stream_description: StreamDescription,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescription {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: StreamModeDetails,
    shards: Vec<ShardDescription>,
    has_more_shards: bool,
    retention_period_hours: u32,
    stream_creation_timestamp: Timestamp,
    enhanced_monitoring: [EnhancedMetrics; 1],
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStreamSummaryRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeStreamSummaryResponse {
    stream_description_summary: StreamDescriptionSummary,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescriptionSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: StreamModeDetails,
    retention_period_hours: u32,
    stream_creation_timestamp: Timestamp,
    enhanced_monitoring: [EnhancedMetrics; 1],
    encryption_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<Arc<str>>,
    open_shard_count: u32,
    consumer_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<WarmThroughput>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_distribution_strategy: Option<&'static str>,
}

/// The shard-level metrics that are on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EnhancedMetrics {
    shard_level_metrics: BTreeSet<&'static str>,
}

impl EnhancedMetrics {
    fn of(stream: &Stream) -> [Self; 1] {
        [Self {
            shard_level_metrics: stream.metrics.clone(),
        }]
    }
}

fn encryption_type(stream: &Stream) -> &'static str {
    if stream.key_id.is_some() { KMS } else { "NONE" }
}

impl DescribeStreamRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for DescribeStreamRequest {
    fn check(&self, checks: &mut Checks) {
        checks.number("limit", self.limit, rules::PAGE);
        let start = self.exclusive_start_shard_id.as_deref();
        checks.text("exclusiveStartShardId", start, &rules::NAME);
        self.stream().check(checks);
    }
}

impl DescribeStreamSummaryRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for DescribeStreamSummaryRequest {
    fn check(&self, checks: &mut Checks) {
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Describes a stream and a page of its shards.
    pub(crate) fn describe_stream(
        &self,
        request: DescribeStreamRequest,
    ) -> Result<DescribeStreamResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        let limit = page(request.limit, MOST_SHARDS);
        let after = request.exclusive_start_shard_id.as_deref();
        let after = after.map(|text| self.shard_id(text, name)).transpose()?;
        self.with_engine(|engine, now| {
            let stream = engine.stream(name, now)?;
            stream.expire(now);
            let mut rest = stream
                .shards()
                .filter(|shard| after.is_none_or(|after| shard.id() > after));
            let shards = rest.by_ref().take(limit).map(ShardDescription::of).collect();
            let has_more_shards = rest.next().is_some();
            let stream_description = StreamDescription {
                stream_name: name.to_owned(),
                stream_arn: self.stream_arn(name),
                stream_status: stream.status().as_str(),
                stream_mode_details: StreamModeDetails::of(stream),
                shards,
                has_more_shards,
                retention_period_hours: stream.retention_hours,
                stream_creation_timestamp: Timestamp(stream.created),
                enhanced_monitoring: EnhancedMetrics::of(stream),
                encryption_type: encryption_type(stream),
                key_id: stream.key_id.clone(),
            };
            Ok(DescribeStreamResponse { stream_description })
        })
    }

    /// Describes a stream without its shards.
    pub(crate) fn describe_stream_summary(
        &self,
        request: DescribeStreamSummaryRequest,
    ) -> Result<DescribeStreamSummaryResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        self.with_engine(|engine, now| {
            let commitment = engine.commitment().status(now);
            let stream = engine.stream(name, now)?;
            let consumers = stream.consumers.at(now).len();
            let consumer_count = u32::try_from(consumers).unwrap_or(u32::MAX);
            let stream_description_summary = StreamDescriptionSummary {
                stream_name: name.to_owned(),
                stream_arn: self.stream_arn(name),
                stream_status: stream.status().as_str(),
                stream_mode_details: StreamModeDetails::of(stream),
                retention_period_hours: stream.retention_hours,
                stream_creation_timestamp: Timestamp(stream.created),
                enhanced_monitoring: EnhancedMetrics::of(stream),
                encryption_type: encryption_type(stream),
                key_id: stream.key_id.clone(),
                open_shard_count: stream.open_shard_count(),
                consumer_count,
                warm_throughput: WarmThroughput::of(stream, commitment),
                max_record_size_in_kib: stream.spec.max_record_kib,
                record_distribution_strategy: strategy(stream),
            };
            Ok(DescribeStreamSummaryResponse {
                stream_description_summary,
            })
        })
    }
}
