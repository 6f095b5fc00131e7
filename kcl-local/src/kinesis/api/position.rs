//! Where a reader or a subscriber begins, as requests say it.

use super::check::{self, Checks, rules};
use super::timestamp::Timestamp;
use crate::kinesis::ApiError;
use crate::kinesis::engine::{ShardId, StartingPosition, StreamLabel};

/// A starting position in a request: its members, and what the request calls them.
pub(super) struct Start<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) kind_member: &'static str,
    pub(super) number: Option<&'a str>,
    pub(super) number_member: &'static str,
    pub(super) timestamp: Option<Timestamp>,
}

impl Start<'_> {
    /// Checks the type and the number by themselves.
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.required(self.kind_member, self.kind.as_ref());
        checks.choice(self.kind_member, self.kind, rules::ITERATOR_TYPES);
        checks.text(self.number_member, self.number, &rules::SEQUENCE_NUMBER);
    }

    /// The position in a shard, given its type and the members that belong to it, and no others.
    pub(super) fn position(
        &self,
        stream: &StreamLabel,
        shard: ShardId,
    ) -> Result<StartingPosition, ApiError> {
        let kind = check::present(self.kind, self.kind_member)?;
        let number = || {
            let text = self.number.ok_or_else(|| needs_number(kind))?;
            text.parse().map_err(|_| {
                ApiError::invalid_argument(format!(
                    "StartingSequenceNumber {text} used on shard {shard} in stream {stream} is invalid."
                ))
            })
        };
        let start = match kind {
            "TRIM_HORIZON" => StartingPosition::TrimHorizon,
            "LATEST" => StartingPosition::Latest,
            "AT_SEQUENCE_NUMBER" => StartingPosition::AtSequenceNumber(number()?),
            "AFTER_SEQUENCE_NUMBER" => StartingPosition::AfterSequenceNumber(number()?),
            _ => StartingPosition::AtTimestamp(self.timestamp.ok_or_else(needs_timestamp)?.0),
        };
        if self.number.is_some() && !kind.ends_with("_SEQUENCE_NUMBER") {
            return Err(unwanted_number(kind));
        }
        if self.timestamp.is_some() && kind != "AT_TIMESTAMP" {
            return Err(ApiError::invalid_argument(format!(
                "Timestamp goes with AT_TIMESTAMP alone. Request specified {kind} and also a Timestamp."
            )));
        }
        Ok(start)
    }
}

const NUMBER_RULE: &str = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
                           StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber.";

fn needs_number(kind: &str) -> ApiError {
    ApiError::invalid_argument(format!(
        "{NUMBER_RULE} Request specified {kind} and no StartingSequenceNumber."
    ))
}

fn unwanted_number(kind: &str) -> ApiError {
    ApiError::invalid_argument(format!(
        "{NUMBER_RULE} Request specified {kind} and also a StartingSequenceNumber."
    ))
}

fn needs_timestamp() -> ApiError {
    ApiError::invalid_argument(
        "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp \
         parameter.",
    )
}
