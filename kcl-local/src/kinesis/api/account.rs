//! DescribeLimits, DescribeAccountSettings, UpdateAccountSettings.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members};
use super::timestamp::Timestamp;
use crate::kinesis::engine::{Commitment, CommitmentStatus, EpochMillis};
use crate::kinesis::{ApiError, Kinesis};

/// A request without members.
#[derive(Debug, Deserialize)]
pub(crate) struct EmptyRequest {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DescribeLimitsResponse {
    shard_limit: u32,
    open_shard_count: u32,
    on_demand_stream_count: u32,
    on_demand_stream_count_limit: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateAccountSettingsRequest {
    minimum_throughput_billing_commitment: Option<CommitmentRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentRequest {
    status: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccountSettingsResponse {
    minimum_throughput_billing_commitment: CommitmentDescription,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct CommitmentDescription {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest_allowed_end_at: Option<Timestamp>,
}

impl AccountSettingsResponse {
    fn of(commitment: Commitment, now: EpochMillis) -> Self {
        let status = match commitment.status(now) {
            CommitmentStatus::Enabled => "ENABLED",
            CommitmentStatus::Ending => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
            CommitmentStatus::Disabled => "DISABLED",
        };
        Self {
            minimum_throughput_billing_commitment: CommitmentDescription {
                status,
                started_at: commitment.started.map(Timestamp),
                ended_at: commitment.ended(now).map(Timestamp),
                earliest_allowed_end_at: commitment.earliest_end(now).map(Timestamp),
            },
        }
    }
}

impl Members for EmptyRequest {
    fn check(&self, _: &mut Checks) {}
}

impl Members for UpdateAccountSettingsRequest {
    fn check(&self, checks: &mut Checks) {
        let member = "minimumThroughputBillingCommitment";
        let commitment = self.minimum_throughput_billing_commitment.as_ref();
        checks.required(member, commitment);
        checks.structure(member, commitment, |commitment, checks| {
            checks.required("status", commitment.status.as_ref());
            checks.choice("status", commitment.status.as_deref(), &["ENABLED", "DISABLED"]);
        });
    }
}

impl Kinesis {
    /// Tells how much of the account's allowance is used.
    pub(crate) fn describe_limits(&self, _: EmptyRequest) -> Result<DescribeLimitsResponse, ApiError> {
        self.with_engine(|engine, now| {
            Ok(DescribeLimitsResponse {
                shard_limit: self.options().shard_limit,
                open_shard_count: engine.open_shard_count(now),
                on_demand_stream_count: engine.on_demand_stream_count(now),
                on_demand_stream_count_limit: self.options().on_demand_stream_limit,
            })
        })
    }

    /// Tells whether the account pays for a minimum of throughput.
    pub(crate) fn describe_account_settings(
        &self,
        _: EmptyRequest,
    ) -> Result<AccountSettingsResponse, ApiError> {
        self.with_engine(|engine, now| Ok(AccountSettingsResponse::of(engine.commitment(), now)))
    }

    /// Lets the account pay for a minimum of throughput, or pay for what it uses.
    pub(crate) fn update_account_settings(
        &self,
        request: UpdateAccountSettingsRequest,
    ) -> Result<AccountSettingsResponse, ApiError> {
        let member = "minimumThroughputBillingCommitment";
        let commitment = check::present(request.minimum_throughput_billing_commitment, member)?;
        let is_on = commitment.status.as_deref() == Some("ENABLED");
        self.with_engine(|engine, now| Ok(AccountSettingsResponse::of(engine.commit(is_on, now), now)))
    }
}
