//! IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod.

use std::ops::RangeInclusive;

use serde::Deserialize;

use super::check;
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
    retention_period_hours: Option<i64>,
}

/// Which way a request may move the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Longer,
    Shorter,
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
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let hours = check::required(request.retention_period_hours, "retentionPeriodHours")?;
        let valid = u32::try_from(hours).ok().filter(|_| HOURS.contains(&hours));
        let hours = valid.ok_or_else(|| {
            ApiError::invalid_argument(format!(
                "A retention period of {hours} hours is outside {} to {}.",
                HOURS.start(),
                HOURS.end()
            ))
        })?;
        self.with_engine(|engine, now| {
            let current = engine.stream(name, now)?.retention_hours;
            let (wrong, other) = match direction {
                Direction::Longer => (hours < current, "DecreaseStreamRetentionPeriod"),
                Direction::Shorter => (hours > current, "IncreaseStreamRetentionPeriod"),
            };
            if wrong {
                return Err(ApiError::invalid_argument(format!(
                    "The retention period of stream {name} is {current} hours; use {other} to make it {hours}."
                )));
            }
            Ok(engine.retain(name, hours, now)?)
        })
    }
}
