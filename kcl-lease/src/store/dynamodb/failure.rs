//! The one place that tells DynamoDB's failures apart.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::store::{StoreError, StoreErrorKind};

/// Classifies a failed call.
///
/// The SDK repeats calls by itself, so even an answer that refuses may follow a request that was applied.
pub(super) fn classify<E, R>(operation: &'static str, table: &str, error: SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let (kind, outcome_unknown) = match &error {
        SdkError::ConstructionFailure(_) => (StoreErrorKind::Invalid, false),
        SdkError::ServiceError(answer) => kind_of(answer.err().code().unwrap_or_default()),
        _ => (StoreErrorKind::Unavailable, true),
    };
    let message = match &error {
        SdkError::ServiceError(answer) => {
            let meta = answer.err().meta();
            format!(
                "{} ({})",
                meta.code().unwrap_or("unknown error"),
                meta.message().unwrap_or("no message")
            )
        }
        other => DisplayErrorContext(other).to_string(),
    };
    StoreError::new(kind, operation, table, message)
        .with_unknown_outcome(outcome_unknown)
        .with_source(error)
}

fn kind_of(code: &str) -> (StoreErrorKind, bool) {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => (StoreErrorKind::Throttled, true),
        "ResourceNotFoundException" | "TableNotFoundException" => (StoreErrorKind::TableMissing, false),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "IncompleteSignatureException" => (StoreErrorKind::AccessDenied, false),
        "ValidationException" | "ItemCollectionSizeLimitExceededException" | "SerializationException" => {
            (StoreErrorKind::Invalid, false)
        }
        _ => (StoreErrorKind::Unavailable, true),
    }
}
