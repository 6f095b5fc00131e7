//! Where the reading of a shard begins, as Kinesis is asked for it. Pure.

use std::time::SystemTime;

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
