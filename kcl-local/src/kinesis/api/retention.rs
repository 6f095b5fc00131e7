//! IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::check::{self, Checks, Members};
use super::stream_name::StreamRef;
use crate::kinesis::{ApiError, Kinesis};

/// From a day to a year.
/// <https://docs.aws.amazon.com/streams/latest/dev/kinesis-extended-retention.html>
const HOURS: RangeInclusive<i64> = 24..=8_760;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RetentionRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    retention_period_hours: Option<i64>,
}

/// Which way a request may move the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Longer,
    Shorter,
}

impl RetentionRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for RetentionRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("retentionPeriodHours", self.retention_period_hours.as_ref());
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Keeps records longer from now on.
    pub(crate) fn increase_retention(&self, request: RetentionRequest) -> Result<(), ApiError> {
        self.change_retention(request, Direction::Longer)
    }

    /// Lets records go earlier from now on, those that are too old already at once.
    pub(crate) fn decrease_retention(&self, request: RetentionRequest) -> Result<(), ApiError> {
        self.change_retention(request, Direction::Shorter)
    }

    fn change_retention(&self, request: RetentionRequest, direction: Direction) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream())?;
        let asked = check::present(request.retention_period_hours, "retentionPeriodHours")?;
        if asked < *HOURS.start() {
            return Err(ApiError::invalid_argument(format!(
                "Minimum allowed retention period is {} hours. Requested retention period ({asked} hours) is too short.",
                HOURS.start()
            )));
        }
        if asked > *HOURS.end() {
            return Err(ApiError::invalid_argument(format!(
                "Maximum allowed retention period is {} hours. Requested retention period ({asked} hours) is too long.",
                HOURS.end()
            )));
        }
        let hours = check::checked(asked);
        self.with_engine(|engine, now| {
            let current = engine.stream(name, now)?.retention_hours;
            let (wrong, than, other) = match direction {
                Direction::Longer => (hours < current, "shorter", "DecreaseRetentionPeriod"),
                Direction::Shorter => (hours > current, "longer", "IncreaseRetentionPeriod"),
            };
            if wrong {
                return Err(ApiError::invalid_argument(format!(
                    "Requested retention period ({hours} hours) for stream {name} can not be {than} than existing \
                     retention period ({current} hours). Use {other} API."
                )));
            }
            Ok(engine.retain(name, hours, now)?)
        })
    }
}
