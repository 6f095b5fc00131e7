//! Where a reader or a subscriber begins, as requests say it.

use super::check;
use super::timestamp::Timestamp;
use crate::kinesis::ApiError;
use crate::kinesis::engine::{SequenceNumber, StartingPosition};

/// A starting position in a request: its members, and what the request calls them.
pub(super) struct Start<'a> {
    pub(super) kind: Option<&'a str>,
    pub(super) kind_member: &'static str,
    pub(super) number: Option<&'a str>,
    pub(super) number_member: &'static str,
    pub(super) timestamp: Option<Timestamp>,
}

impl Start<'_> {
    /// The position, given its type and the members that belong to it, and no others.
    pub(super) fn position(&self) -> Result<StartingPosition, ApiError> {
        let kind = check::required(self.kind, self.kind_member)?;
        let number = || self.number.map(|text| self.sequence_number(text)).transpose();
        let start = match kind {
            "TRIM_HORIZON" => Some(StartingPosition::TrimHorizon),
            "LATEST" => Some(StartingPosition::Latest),
            "AT_SEQUENCE_NUMBER" => number()?.map(StartingPosition::AtSequenceNumber),
            "AFTER_SEQUENCE_NUMBER" => number()?.map(StartingPosition::AfterSequenceNumber),
            "AT_TIMESTAMP" => self
                .timestamp
                .map(|timestamp| StartingPosition::AtTimestamp(timestamp.0)),
            _ => {
                return Err(check::broken(
                    self.kind_member,
                    "satisfy enum value set: [AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, LATEST, \
                     AT_TIMESTAMP]",
                ));
            }
        };
        let surplus = self.number.is_some() && !kind.ends_with("_SEQUENCE_NUMBER")
            || self.timestamp.is_some() && kind != "AT_TIMESTAMP";
        start.filter(|_| !surplus).ok_or_else(|| {
            ApiError::invalid_argument(format!(
                "{} goes with AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER, Timestamp with AT_TIMESTAMP, and neither \
                 with another type; the type is {kind}.",
                self.number_member
            ))
        })
    }

    fn sequence_number(&self, text: &str) -> Result<SequenceNumber, ApiError> {
        text.parse().map_err(|_| {
            ApiError::invalid_argument(format!(
                "{} {text} is not a sequence number of this stream.",
                self.number_member
            ))
        })
    }
}
