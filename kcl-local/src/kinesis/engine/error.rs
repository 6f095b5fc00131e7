//! Why the engine refuses.

use std::time::Duration;

use super::label::StreamLabel;
use super::shard_id::ShardId;
use super::status::StreamStatus;

/// A request that the engine does not fulfil. Nothing has changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("Stream {0} not found.")]
    StreamNotFound(StreamLabel),

    #[error("Shard {shard} in stream {stream} does not exist")]
    ShardNotFound { stream: StreamLabel, shard: ShardId },

    /// No shard can have such an id.
    #[error("Could not find shard {shard} in stream {stream}.")]
    NoShardId { stream: StreamLabel, shard: String },

    #[error("Stream {0} already exists.")]
    StreamExists(StreamLabel),

    #[error("Consumer {consumer} of stream {stream} already exists.")]
    ConsumerExists { stream: StreamLabel, consumer: String },

    #[error("Consumer {consumer} of stream {stream} not found.")]
    ConsumerNotFound { stream: StreamLabel, consumer: String },

    #[error(
        "Consumer {consumer} with creation timestamp {registered} under stream: {stream} is not in ACTIVE status."
    )]
    ConsumerNotActive {
        stream: StreamLabel,
        consumer: String,
        /// In seconds since the epoch.
        registered: u64,
    },

    #[error("Another active subscription exists for this consumer: {stream}:{shard}:{consumer}")]
    Subscribed {
        stream: StreamLabel,
        shard: ShardId,
        consumer: String,
    },

    #[error("Stream {0} has consumers; EnforceConsumerDeletion deletes it with them.")]
    HasConsumers(StreamLabel),

    #[error("Stream {stream} not ACTIVE, instead in state {status}")]
    NotActive {
        stream: StreamLabel,
        status: StreamStatus,
    },

    /// The stream's capacity mode does not go with what is asked for.
    #[error("{0}")]
    WrongMode(String),

    #[error("{0}")]
    InvalidArgument(String),

    #[error("{0}")]
    LimitExceeded(String),

    #[error("The iterator is {} ms old and expired at {} ms. Get a new one.", age.as_millis(), limit.as_millis())]
    ExpiredIterator { age: Duration, limit: Duration },

    #[error("The token is {} ms old and expired at {} ms. Start the listing again.", age.as_millis(), limit.as_millis())]
    ExpiredNextToken { age: Duration, limit: Duration },

    /// All would have gone well, and nothing was to be done.
    #[error("The request would have succeeded, and DryRun was given: nothing was done.")]
    DryRun,

    #[error("Rate exceeded for shard {shard} in stream {stream}.")]
    Throttled { stream: StreamLabel, shard: ShardId },
}

impl EngineError {
    pub(crate) fn invalid_next_token() -> Self {
        Self::InvalidArgument("Invalid NextToken.".to_owned())
    }
}
