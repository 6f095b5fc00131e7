//! The one place that tells DynamoDB's failures apart.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::signing::{SigningProblem, brief};
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
        SdkError::ServiceError(answer) => {
            let (code, message) = (answer.err().code(), answer.err().message());
            kind_of(code.unwrap_or_default(), message.unwrap_or_default())
        }
        unsent => match (SigningProblem::of_unsent(unsent), unsent) {
            (Some(problem), _) => (StoreErrorKind::NotSigned(problem), false),
            (None, SdkError::ConstructionFailure(_)) => (StoreErrorKind::Invalid, false),
            (None, _) => (StoreErrorKind::Unavailable, true),
        },
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
        other => brief(other),
    };
    failure(kind, operation, table, message)
        .with_unknown_outcome(outcome_unknown)
        .with_source(error)
}

/// A failure of `operation` on `table`, with what to do about it in DynamoDB.
pub(super) fn failure(
    kind: StoreErrorKind,
    operation: &'static str,
    table: impl Into<String>,
    message: impl Into<String>,
) -> StoreError {
    let error = StoreError::new(kind, operation, table, message);
    let advice = match kind {
        StoreErrorKind::Throttled => "raise the table's capacity or use on-demand billing",
        StoreErrorKind::Unavailable => "it is retried; check the network path to DynamoDB if it lasts",
        StoreErrorKind::AccessDenied => {
            "allow DescribeTable, CreateTable, UpdateTable, Scan, Query, GetItem, PutItem, UpdateItem and \
             DeleteItem on the table and its indexes, and UpdateContinuousBackups for point-in-time recovery"
        }
        StoreErrorKind::Invalid => "check the table's schema and the row named here",
        _ => return error,
    };
    error.with_advice(advice)
}

fn kind_of(code: &str, message: &str) -> (StoreErrorKind, bool) {
    if let Some(problem) = SigningProblem::of_answer(code, message) {
        return (StoreErrorKind::NotSigned(problem), false);
    }
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "LimitExceededException" => (StoreErrorKind::Throttled, true),
        "ResourceNotFoundException" | "TableNotFoundException" => (StoreErrorKind::TableMissing, false),
        "AccessDeniedException" | "AccessDenied" | "OptInRequired" => (StoreErrorKind::AccessDenied, false),
        "ValidationException" | "ItemCollectionSizeLimitExceededException" | "SerializationException" => {
            (StoreErrorKind::Invalid, false)
        }
        _ => (StoreErrorKind::Unavailable, true),
    }
}
