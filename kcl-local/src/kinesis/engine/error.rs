//! Why the engine refuses.

use std::time::Duration;

use super::shard_id::ShardId;
use super::status::StreamStatus;

/// A request that the engine does not fulfil. Nothing has changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("Stream {0} not found.")]
    StreamNotFound(String),

    #[error("Shard {shard} in stream {stream} does not exist.")]
    ShardNotFound { stream: String, shard: String },

    #[error("Stream {0} already exists.")]
    StreamExists(String),

    #[error("Consumer {consumer} of stream {stream} already exists.")]
    ConsumerExists { stream: String, consumer: String },

    #[error("Consumer {consumer} of stream {stream} not found.")]
    ConsumerNotFound { stream: String, consumer: String },

    #[error(
        "Consumer {consumer} with creation timestamp {registered} under stream: {stream} is not in ACTIVE status."
    )]
    ConsumerNotActive {
        stream: String,
        consumer: String,
        /// In seconds since the epoch.
        registered: u64,
    },

    #[error("Another active subscription exists for this consumer: {stream}:{shard}:{consumer}")]
    Subscribed {
        stream: String,
        shard: ShardId,
        consumer: String,
    },

    #[error("Stream {0} has consumers; EnforceConsumerDeletion deletes it with them.")]
    HasConsumers(String),

    #[error("Stream {stream} is {status}; this needs it to be ACTIVE.")]
    NotActive { stream: String, status: StreamStatus },

    #[error("Stream {0} is in on-demand capacity mode; this is for streams in provisioned mode.")]
    OnDemand(String),

    #[error("{0}")]
    InvalidArgument(String),

    #[error("{0}")]
    LimitExceeded(String),

    #[error("The iterator is {} ms old and expired at {} ms. Get a new one.", age.as_millis(), limit.as_millis())]
    ExpiredIterator { age: Duration, limit: Duration },

    #[error("The token is {} ms old and expired at {} ms. Start the listing again.", age.as_millis(), limit.as_millis())]
    ExpiredNextToken { age: Duration, limit: Duration },

    #[error("Rate exceeded for shard {shard} in stream {stream}.")]
    Throttled { stream: String, shard: ShardId },
}

impl EngineError {
    pub(crate) fn shard_not_found(stream: &str, shard: ShardId) -> Self {
        Self::ShardNotFound {
            stream: stream.to_owned(),
            shard: shard.to_string(),
        }
    }

    pub(crate) fn invalid_next_token() -> Self {
        Self::InvalidArgument("Invalid NextToken.".to_owned())
    }
}
