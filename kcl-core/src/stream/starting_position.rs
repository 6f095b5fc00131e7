//! Where the reading of a shard begins, as Kinesis is asked for it.

use std::time::SystemTime;

use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_lease::SequenceNumber;

/// What `GetShardIterator` calls the type of an iterator and `SubscribeToShard` a starting position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StartingPosition {
    TrimHorizon,
    Latest,
    AtTimestamp(SystemTime),
    AtSequenceNumber(SequenceNumber),
}

impl StartingPosition {
    pub(super) fn kind(&self) -> ShardIteratorType {
        match self {
            Self::TrimHorizon => ShardIteratorType::TrimHorizon,
            Self::Latest => ShardIteratorType::Latest,
            Self::AtTimestamp(_) => ShardIteratorType::AtTimestamp,
            Self::AtSequenceNumber(_) => ShardIteratorType::AtSequenceNumber,
        }
    }

    pub(crate) fn sequence(&self) -> Option<&SequenceNumber> {
        match self {
            Self::AtSequenceNumber(sequence) => Some(sequence),
            _ => None,
        }
    }

    pub(crate) fn timestamp(&self) -> Option<SystemTime> {
        match self {
            Self::AtTimestamp(at) => Some(*at),
            _ => None,
        }
    }
}
