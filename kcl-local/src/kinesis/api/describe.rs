//! DescribeStream, DescribeStreamSummary, DescribeLimits.

use serde::{Deserialize, Serialize};

use super::check::{Checks, Members, rules};
use super::shards::{ShardDescription, page};
use super::stream_name::StreamRef;
use super::streams::StreamModeDetails;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{CapacityMode, Stream};
use crate::kinesis::{ApiError, Kinesis};

/// The greatest page, and what a request gets that names none.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_DescribeStream.html>
const MOST_SHARDS: usize = 100;
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const ON_DEMAND_STREAM_LIMIT: usize = 50;

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
    open_shard_count: u32,
    consumer_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<WarmThroughput>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: u32,
    record_distribution_strategy: &'static str,
}

#[derive(Debug, Serialize)]
struct WarmThroughput {
    #[serde(rename = "TargetMiBps")]
    target_mibps: u32,
    #[serde(rename = "CurrentMiBps")]
    current_mibps: u32,
}

/// Shard-level metrics, of which none are ever enabled.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct EnhancedMetrics {
    shard_level_metrics: [&'static str; 0],
}

#[derive(Debug, Deserialize)]
pub(crate) struct DescribeLimitsRequest {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeLimitsResponse {
    shard_limit: u32,
    open_shard_count: u32,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
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

impl Members for DescribeLimitsRequest {
    fn check(&self, _: &mut Checks) {}
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
                enhanced_monitoring: Default::default(),
                encryption_type: "NONE",
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
            let stream = engine.stream(name, now)?;
            let consumers = stream.consumers.at(now).len();
            let consumer_count = u32::try_from(consumers).unwrap_or(u32::MAX);
            let warm_throughput = stream.spec.warm_throughput_mibps;
            let stream_description_summary = StreamDescriptionSummary {
                stream_name: name.to_owned(),
                stream_arn: self.stream_arn(name),
                stream_status: stream.status().as_str(),
                stream_mode_details: StreamModeDetails::of(stream),
                retention_period_hours: stream.retention_hours,
                stream_creation_timestamp: Timestamp(stream.created),
                enhanced_monitoring: Default::default(),
                encryption_type: "NONE",
                open_shard_count: stream.open_shard_count(),
                consumer_count,
                warm_throughput: warm_throughput.map(|mibps| WarmThroughput {
                    target_mibps: mibps,
                    current_mibps: mibps,
                }),
                max_record_size_in_kib: stream.spec.max_record_kib,
                // The service's default, and the only one here. The KPL asks before it aggregates.
                record_distribution_strategy: "USER_PARTITION_KEY",
            };
            Ok(DescribeStreamSummaryResponse {
                stream_description_summary,
            })
        })
    }

    /// Tells how much of the account's allowance is used.
    pub(crate) fn describe_limits(
        &self,
        _: DescribeLimitsRequest,
    ) -> Result<DescribeLimitsResponse, ApiError> {
        self.with_engine(|engine, now| {
            let on_demand = |stream: &&Stream| stream.spec.mode == CapacityMode::OnDemand;
            Ok(DescribeLimitsResponse {
                shard_limit: self.options().shard_limit,
                open_shard_count: engine.open_shard_count(now),
                on_demand_stream_count: engine.streams(now).values().filter(on_demand).count(),
                on_demand_stream_count_limit: ON_DEMAND_STREAM_LIMIT,
            })
        })
    }
}
