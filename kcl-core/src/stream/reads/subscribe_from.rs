//! Where a subscription begins.

use std::time::SystemTime;

use aws_sdk_kinesis::types::ShardIteratorType;

use crate::stream::StartingPosition;

/// What `SubscribeToShard` takes for a starting position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscribeFrom {
    /// Where reading begins.
    Position(StartingPosition),
    /// Behind the number with which the subscription before this one continues.
    Behind(String),
}

impl SubscribeFrom {
    pub(in crate::stream) fn kind(&self) -> ShardIteratorType {
        match self {
            Self::Position(at) => at.kind(),
            Self::Behind(_) => ShardIteratorType::AfterSequenceNumber,
        }
    }

    pub(in crate::stream) fn sequence(&self) -> Option<&str> {
        match self {
            Self::Position(at) => at.sequence().map(|sequence| sequence.as_str()),
            Self::Behind(number) => Some(number),
        }
    }

    pub(in crate::stream) fn timestamp(&self) -> Option<SystemTime> {
        match self {
            Self::Position(at) => at.timestamp(),
            Self::Behind(_) => None,
        }
    }
}
