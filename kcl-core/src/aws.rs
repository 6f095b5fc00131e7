//! The one place that says what an error of a Kinesis call means.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use kcl_lease::{Cause, SigningProblem, brief};

/// What an error means, and so what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// Over a limit: pause, then repeat.
    Throttled,
    /// A time-out, a broken connection or a fault of the service: repeat.
    Transient,
    /// What is asked for is another's or not ready yet, as a subscription to a shard for seconds after the last one: repeat.
    InUse,
    /// The shard iterator or the listing's token is older than five minutes: get a new one.
    Expired,
    /// There is no such stream or shard.
    NotFound,
    /// The request is refused as it stands.
    InvalidArgument,
    /// Permissions are missing, for Kinesis or for the stream's key.
    AccessDenied,
    /// The request could not be signed or addressed, or its signature is not believed.
    NotSigned(SigningProblem),
    /// Nothing that is expected. Visible, and repeated like a transient one: it may pass with the next deployment.
    Other,
}

impl ErrorClass {
    /// Stable name, for the numbers of calls.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::InUse => "in-use",
            Self::Expired => "expired",
            Self::NotFound => "not-found",
            Self::InvalidArgument => "refused",
            Self::AccessDenied => "denied",
            Self::NotSigned(_) => "not-signed",
            Self::Other => "other",
        }
    }

    /// Whether another worker might fare better: a limit is one of the shard, and what is wrong with the request or with the
    /// stream is wrong for all.
    pub(crate) fn is_of_the_worker(self) -> bool {
        match self {
            Self::Throttled | Self::InUse | Self::NotFound | Self::InvalidArgument => false,
            Self::Transient | Self::Expired | Self::AccessDenied | Self::NotSigned(_) | Self::Other => true,
        }
    }
}

/// A failed Kinesis call.
#[derive(Debug, Clone)]
pub(crate) struct CallError {
    pub(crate) class: ErrorClass,
    operation: &'static str,
    message: String,
    /// What the SDK said.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl CallError {
    pub(crate) fn new(class: ErrorClass, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            operation,
            message: message.into(),
            source: None,
        }
    }

    /// Stable name of what is wrong, for the status of a shard that cannot be read.
    pub(crate) fn code(&self) -> &'static str {
        match self.class {
            ErrorClass::Throttled => "reads-throttled",
            ErrorClass::NotFound => "stream-not-found",
            ErrorClass::AccessDenied => "reads-denied",
            ErrorClass::InvalidArgument => "reads-refused",
            ErrorClass::NotSigned(problem) => problem.code(),
            ErrorClass::Transient | ErrorClass::InUse | ErrorClass::Expired | ErrorClass::Other => {
                "reads-failing"
            }
        }
    }

    /// Classifies what the service tells by a code, where the SDK does not look.
    pub(crate) fn of_code(operation: &'static str, code: &str, message: Option<&str>) -> Self {
        let text = message.map_or_else(|| code.to_owned(), |message| format!("{code}: {message}"));
        Self::new(classify(Some(code), message), operation, text)
    }

    /// Classifies an error of the SDK.
    pub(crate) fn from_sdk<E, R>(operation: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static,
    {
        let class = match &error {
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => ErrorClass::Transient,
            SdkError::ServiceError(service) => classify(service.err().code(), service.err().message()),
            unsent => match (SigningProblem::of_unsent(unsent), unsent) {
                (Some(problem), _) => ErrorClass::NotSigned(problem),
                (None, SdkError::DispatchFailure(failure)) if !failure.is_user() => ErrorClass::Transient,
                (None, _) => ErrorClass::Other,
            },
        };
        let message = match error
            .as_service_error()
            .map(|error| (error.code(), error.message()))
        {
            Some((Some(code), Some(message))) => format!("{code}: {message}"),
            Some((Some(code), None)) => code.to_owned(),
            _ => brief(&error),
        };
        Self {
            class,
            operation,
            message,
            source: Some(Arc::new(error)),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.class {
            ErrorClass::Throttled => "over a limit of Kinesis, repeated more slowly",
            ErrorClass::Transient => "repeated",
            ErrorClass::InUse => "another one's or not ready yet, repeated",
            ErrorClass::Expired => "repeated with a new iterator",
            ErrorClass::NotFound => "check the name, region and account of the stream",
            ErrorClass::InvalidArgument => "the request was refused",
            ErrorClass::AccessDenied => {
                "check the IAM policy of this worker, and that of the stream's key if it is encrypted"
            }
            ErrorClass::NotSigned(problem) => problem.advice(),
            ErrorClass::Other => "unexpected, repeated",
        };
        write!(f, "{} failed ({advice}): {}", self.operation, self.message)
    }
}

impl StdError for CallError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_ref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl Cause for CallError {
    fn signing(&self) -> Option<SigningProblem> {
        match self.class {
            ErrorClass::NotSigned(problem) => Some(problem),
            _ => None,
        }
    }
}

/// By the code that the service answered with.
fn classify(code: Option<&str>, message: Option<&str>) -> ErrorClass {
    if let Some(problem) = SigningProblem::of_answer(code.unwrap_or_default(), message.unwrap_or_default()) {
        return ErrorClass::NotSigned(problem);
    }
    // Some endpoints prefix the code with a namespace.
    let code = code.map(|code| code.rsplit('#').next().unwrap_or(code));
    match code {
        Some(
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "SlowDown",
        ) => ErrorClass::Throttled,
        Some(
            "InternalFailure"
            | "InternalFailureException"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "RequestTimeout"
            | "RequestTimeoutException",
        ) => ErrorClass::Transient,
        Some("ResourceInUseException") => ErrorClass::InUse,
        Some("ExpiredIteratorException" | "ExpiredNextTokenException") => ErrorClass::Expired,
        Some("ResourceNotFoundException") => ErrorClass::NotFound,
        Some(
            "InvalidArgumentException" | "ValidationException" | "ValidationError" | "SerializationException",
        ) => ErrorClass::InvalidArgument,
        Some(
            "AccessDeniedException"
            | "AccessDenied"
            | "OptInRequired"
            | "KMSAccessDeniedException"
            | "KMSDisabledException"
            | "KMSInvalidStateException"
            | "KMSNotFoundException"
            | "KMSOptInRequired",
        ) => ErrorClass::AccessDenied,
        // An answer without a code is what proxies and load balancers give.
        None => ErrorClass::Transient,
        Some(_) => ErrorClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::error::ErrorMetadata;
    use aws_sdk_kinesis::operation::get_records::GetRecordsError;

    use super::*;

    fn answered(code: &str) -> CallError {
        let service = GetRecordsError::generic(ErrorMetadata::builder().code(code).message("why").build());
        CallError::from_sdk("GetRecords", SdkError::service_error(service, ()))
    }

    #[test]
    fn each_class_is_told_by_its_code() {
        for (code, class) in [
            ("ProvisionedThroughputExceededException", ErrorClass::Throttled),
            ("LimitExceededException", ErrorClass::Throttled),
            ("InternalFailure", ErrorClass::Transient),
            ("ExpiredIteratorException", ErrorClass::Expired),
            ("ResourceNotFoundException", ErrorClass::NotFound),
            (
                "com.amazonaws.kinesis#InvalidArgumentException",
                ErrorClass::InvalidArgument,
            ),
            ("KMSDisabledException", ErrorClass::AccessDenied),
            (
                "ExpiredTokenException",
                ErrorClass::NotSigned(SigningProblem::CredentialsExpired),
            ),
            (
                "RequestTimeTooSkewed",
                ErrorClass::NotSigned(SigningProblem::ClockWrong),
            ),
            ("BrandNewException", ErrorClass::Other),
        ] {
            assert_eq!(answered(code).class, class, "{code}");
        }
    }

    #[test]
    fn time_outs_and_broken_connections_are_transient() {
        let timed_out = SdkError::<GetRecordsError, ()>::timeout_error("too slow");
        assert_eq!(
            CallError::from_sdk("GetRecords", timed_out).class,
            ErrorClass::Transient
        );
        let broken = SdkError::<GetRecordsError, ()>::response_error("cut off", ());
        assert_eq!(
            CallError::from_sdk("GetRecords", broken).class,
            ErrorClass::Transient
        );
    }

    #[test]
    fn what_the_sdk_said_is_kept() {
        let error = answered("KMSDisabledException");
        let source = error.source().expect("kept").to_string();
        assert_eq!(source, "service error");
    }

    #[test]
    fn the_message_says_what_to_do() {
        let text = answered("ResourceNotFoundException").to_string();
        assert_eq!(
            text,
            "GetRecords failed (check the name, region and account of the stream): ResourceNotFoundException: why"
        );
    }
}
