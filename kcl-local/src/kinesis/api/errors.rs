//! The engine's refusals under the service's names.

use crate::kinesis::ApiError;
use crate::kinesis::engine::EngineError;

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let code = match error {
            EngineError::StreamNotFound(_)
            | EngineError::ShardNotFound { .. }
            | EngineError::NoShardId { .. }
            | EngineError::ConsumerNotFound { .. } => "ResourceNotFoundException",
            EngineError::StreamExists(_)
            | EngineError::NotActive { .. }
            | EngineError::ConsumerExists { .. }
            | EngineError::ConsumerNotActive { .. }
            | EngineError::Subscribed { .. }
            | EngineError::HasConsumers(_) => "ResourceInUseException",
            EngineError::WrongMode(_) => "ValidationException",
            EngineError::InvalidArgument(_) => "InvalidArgumentException",
            EngineError::LimitExceeded(_) => "LimitExceededException",
            EngineError::ExpiredIterator { .. } => "ExpiredIteratorException",
            EngineError::ExpiredNextToken { .. } => "ExpiredNextTokenException",
            EngineError::DryRun => "DryRunOperationException",
            EngineError::Throttled { .. } => THROTTLED,
        };
        Self::client(code, error.to_string())
    }
}

/// What a caller gets who exceeds a shard's rate.
pub(super) const THROTTLED: &str = "ProvisionedThroughputExceededException";
