//! Where a shard iterator begins, as it is asked for.

use std::time::SystemTime;

use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_lease::SequenceNumber;

/// The parameters of a `GetShardIterator` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IteratorRequest {
    TrimHorizon,
    Latest,
    AtTimestamp(SystemTime),
    AtSequenceNumber(SequenceNumber),
}

impl IteratorRequest {
    pub(crate) fn kind(&self) -> ShardIteratorType {
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
