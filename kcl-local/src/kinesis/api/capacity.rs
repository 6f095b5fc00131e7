//! UpdateStreamMode, UpdateStreamWarmThroughput, UpdateStreamRecordDistributionStrategy, UpdateMaxRecordSize.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, rules};
use super::stream_name::StreamRef;
use super::streams::StreamModeDetailsRequest;
use crate::kinesis::engine::{CapacityMode, CommitmentStatus, Distribution, EpochMillis, Stream, Update};
use crate::kinesis::{ApiError, Kinesis};

const STRATEGIES: &[&str] = &[AUTO, BY_KEY];
const AUTO: &str = "AUTO";
const BY_KEY: &str = "USER_PARTITION_KEY";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateStreamModeRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    stream_mode_details: Option<StreamModeDetailsRequest>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_throughput_mibps: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateWarmThroughputRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_throughput_mibps: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateWarmThroughputResponse {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    warm_throughput: Option<WarmThroughput>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateDistributionRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    record_distribution_strategy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateMaxRecordSizeRequest {
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    max_record_size_in_kib: Option<i64>,
}

/// How much a stream can take at once, in MiB per second.
#[derive(Debug, Serialize)]
pub(super) struct WarmThroughput {
    #[serde(rename = "TargetMiBps")]
    target_mibps: u32,
    #[serde(rename = "CurrentMiBps")]
    current_mibps: u32,
}

impl WarmThroughput {
    /// What is told of on-demand streams, where the account's commitment is enabled.
    pub(super) fn of(stream: &Stream, commitment: CommitmentStatus) -> Option<Self> {
        let is_told = stream.spec.mode == CapacityMode::OnDemand && commitment != CommitmentStatus::Disabled;
        let current_mibps = stream.open_shard_count();
        is_told.then(|| Self {
            target_mibps: stream.spec.warm_mibps.unwrap_or(current_mibps),
            current_mibps,
        })
    }
}

/// The strategy of an on-demand stream; others have none to tell.
pub(super) fn strategy(stream: &Stream) -> Option<&'static str> {
    match (stream.spec.mode, stream.spec.distribution) {
        (CapacityMode::Provisioned, _) => None,
        (CapacityMode::OnDemand, Distribution::Even) => Some(AUTO),
        (CapacityMode::OnDemand, Distribution::ByKey) => Some(BY_KEY),
    }
}

/// Checks the name of a strategy.
pub(super) fn check_strategy(checks: &mut Checks, value: Option<&str>) {
    checks.choice("recordDistributionStrategy", value, STRATEGIES);
}

/// The strategy that a request names.
pub(super) fn distribution(word: Option<&str>) -> Distribution {
    match word {
        Some(AUTO) => Distribution::Even,
        _ => Distribution::ByKey,
    }
}

impl UpdateWarmThroughputRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for UpdateStreamModeRequest {
    fn check(&self, checks: &mut Checks) {
        let mode = self.stream_mode_details.as_ref();
        checks.required("streamModeDetails", mode);
        checks.structure("streamModeDetails", mode, StreamModeDetailsRequest::check);
        checks.number("warmThroughputMiBps", self.warm_throughput_mibps, rules::MIBPS);
        check_arn(checks, &self.stream_arn, &self.stream_id);
    }
}

impl Members for UpdateWarmThroughputRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("warmThroughputMiBps", self.warm_throughput_mibps.as_ref());
        checks.number("warmThroughputMiBps", self.warm_throughput_mibps, rules::MIBPS);
        self.stream().check(checks);
    }
}

impl Members for UpdateDistributionRequest {
    fn check(&self, checks: &mut Checks) {
        let strategy = self.record_distribution_strategy.as_deref();
        checks.required("recordDistributionStrategy", strategy.as_ref());
        check_strategy(checks, strategy);
        check_arn(checks, &self.stream_arn, &self.stream_id);
    }
}

impl Members for UpdateMaxRecordSizeRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("maxRecordSizeInKiB", self.max_record_size_in_kib.as_ref());
        checks.number(
            "maxRecordSizeInKiB",
            self.max_record_size_in_kib,
            rules::RECORD_KIB,
        );
        check_arn(checks, &self.stream_arn, &self.stream_id);
    }
}

/// Checks the ARN of a request that takes no name.
fn check_arn(checks: &mut Checks, arn: &Option<String>, id: &Option<String>) {
    checks.required("streamARN", arn.as_ref());
    StreamRef::new(&None, arn, id).check_given(checks);
}

impl Kinesis {
    /// Lets the stream's owner decide about its capacity, or the service.
    pub(crate) fn update_stream_mode(&self, request: UpdateStreamModeRequest) -> Result<(), ApiError> {
        let name = self.name_in_arn(check::present(request.stream_arn.as_deref(), "streamARN")?)?;
        let mode = check::present(request.stream_mode_details, "streamModeDetails")?.mode();
        let warm = request.warm_throughput_mibps.map(check::checked);
        self.with_engine(|engine, now| engine.change_mode(name, mode, warm, now))?;
        Ok(())
    }

    /// Prepares an on-demand stream for a throughput.
    pub(crate) fn update_warm_throughput(
        &self,
        request: UpdateWarmThroughputRequest,
    ) -> Result<UpdateWarmThroughputResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        let mibps = check::present(request.warm_throughput_mibps, "warmThroughputMiBps")?;
        self.with_engine(|engine, now| {
            engine.warm(name, check::checked(mibps), now)?;
            let commitment = engine.commitment().status(now);
            let stream = engine.stream(name, now)?;
            Ok(UpdateWarmThroughputResponse {
                stream_name: name.to_owned(),
                stream_arn: self.stream_arn(name),
                warm_throughput: WarmThroughput::of(stream, commitment),
            })
        })
    }

    /// Sets whether partition keys decide about shards.
    pub(crate) fn update_distribution(&self, request: UpdateDistributionRequest) -> Result<(), ApiError> {
        let name = self.name_in_arn(check::present(request.stream_arn.as_deref(), "streamARN")?)?;
        let distribution = distribution(request.record_distribution_strategy.as_deref());
        self.with_engine(|engine, now| engine.distribute(name, distribution, now))?;
        Ok(())
    }

    /// Sets how large records may be.
    pub(crate) fn update_max_record_size(&self, request: UpdateMaxRecordSizeRequest) -> Result<(), ApiError> {
        let name = self.name_in_arn(check::present(request.stream_arn.as_deref(), "streamARN")?)?;
        let kib = check::present(request.max_record_size_in_kib, "maxRecordSizeInKiB")?;
        let update = Update::RecordSize(check::checked(kib));
        self.with_engine(|engine, now: EpochMillis| engine.update(name, update, now))?;
        Ok(())
    }
}
