//! EnableEnhancedMonitoring, DisableEnhancedMonitoring.
//!
//! Which metrics are on is kept and told. No metric is sent anywhere.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Length, Members};
use super::stream_name::StreamRef;
use crate::kinesis::{ApiError, Kinesis};

const ALL: &str = "ALL";
const METRICS: &[&str] = &[
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
    ALL,
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MonitoringRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    shard_level_metrics: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MonitoringResponse {
    stream_name: String,
    current_shard_level_metrics: BTreeSet<&'static str>,
    desired_shard_level_metrics: BTreeSet<&'static str>,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

impl MonitoringRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }

    /// The metrics that the request names; the word for all stands for each.
    fn metrics(&self) -> Result<BTreeSet<&'static str>, ApiError> {
        let named = check::present(self.shard_level_metrics.as_deref(), "shardLevelMetrics")?;
        let is_meant =
            |metric: &&&str| **metric != ALL && named.iter().any(|name| name == ALL || name == **metric);
        Ok(METRICS.iter().filter(is_meant).copied().collect())
    }
}

impl Members for MonitoringRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("shardLevelMetrics", self.shard_level_metrics.as_ref());
        let metrics = self.shard_level_metrics.as_deref();
        checks.choices("shardLevelMetrics", metrics, Length(1, 7), METRICS);
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Turns shard-level metrics on.
    pub(crate) fn enable_monitoring(
        &self,
        request: MonitoringRequest,
    ) -> Result<MonitoringResponse, ApiError> {
        let metrics = request.metrics()?;
        self.monitor(&request, |on| on.extend(&metrics))
    }

    /// Turns shard-level metrics off.
    pub(crate) fn disable_monitoring(
        &self,
        request: MonitoringRequest,
    ) -> Result<MonitoringResponse, ApiError> {
        let metrics = request.metrics()?;
        self.monitor(&request, |on| on.retain(|metric| !metrics.contains(metric)))
    }

    fn monitor(
        &self,
        request: &MonitoringRequest,
        change: impl FnOnce(&mut BTreeSet<&'static str>),
    ) -> Result<MonitoringResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        let (current, desired) = self.with_engine(|engine, now| engine.monitor(name, change, now))?;
        Ok(MonitoringResponse {
            stream_name: name.to_owned(),
            current_shard_level_metrics: current,
            desired_shard_level_metrics: desired,
            stream_arn: self.stream_arn(name),
        })
    }
}
