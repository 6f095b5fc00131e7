//! What can go wrong between a worker and its lease table.

use std::error::Error as StdError;

use crate::health::Cause;
use crate::signing::SigningProblem;

/// The reaction that a failed call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The table's or account's throughput is exceeded: back off and try again.
    Throttled,
    /// Time-out, connection failure or fault of the service: try again.
    Unavailable,
    /// The table or its index does not exist.
    TableMissing,
    /// The credentials do not permit the operation.
    AccessDenied,
    /// The request could not be signed or addressed, or its signature is not believed.
    NotSigned(SigningProblem),
    /// The request or the stored data is wrong; trying again does not help.
    Invalid,
    /// Other workers use the tables in a way that this version cannot take part in.
    Incompatible,
}

impl StoreErrorKind {
    /// Its name in numbers, which does not change.
    pub fn code(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::TableMissing => "table-missing",
            Self::AccessDenied => "access-denied",
            Self::NotSigned(problem) => problem.code(),
            Self::Invalid => "invalid",
            Self::Incompatible => "incompatible",
        }
    }
}

/// A failed call to the lease table.
#[derive(Debug, thiserror::Error)]
#[error("{operation} on lease table {table}: {message}; {}", self.advice())]
pub struct StoreError {
    kind: StoreErrorKind,
    operation: &'static str,
    table: String,
    message: String,
    may_have_been_applied: bool,
    advice: Option<&'static str>,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// A failure of `operation` on `table`.
    pub fn new(
        kind: StoreErrorKind,
        operation: &'static str,
        table: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            operation,
            table: table.into(),
            message: message.into(),
            may_have_been_applied: false,
            advice: None,
            source: None,
        }
    }

    /// Keeps the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says what to do in the words of the store, such as the name of a permission.
    #[must_use]
    pub fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Marks a write whose outcome is unknown.
    #[must_use]
    pub fn with_unknown_outcome(mut self, unknown: bool) -> Self {
        self.may_have_been_applied = unknown;
        self
    }

    /// The reaction it asks for.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self.kind {
            StoreErrorKind::Throttled | StoreErrorKind::Unavailable => true,
            StoreErrorKind::NotSigned(problem) => !problem.is_lasting(),
            _ => false,
        }
    }

    /// Whether a write may have taken effect although it was reported as failed; read the row back to know.
    pub fn may_have_been_applied(&self) -> bool {
        self.may_have_been_applied
    }

    fn advice(&self) -> &'static str {
        self.advice.unwrap_or(match self.kind {
            StoreErrorKind::Throttled => "too much is asked of it; give it more room if it lasts",
            StoreErrorKind::Unavailable => "it is retried; check the way to it if it lasts",
            StoreErrorKind::TableMissing => "create the table or allow its creation",
            StoreErrorKind::AccessDenied => "allow this worker all operations on it",
            StoreErrorKind::NotSigned(problem) => problem.advice(),
            StoreErrorKind::Invalid => "check the row or the layout named here",
            StoreErrorKind::Incompatible => "nothing was written",
        })
    }
}

impl Cause for StoreError {
    fn signing(&self) -> Option<SigningProblem> {
        match self.kind {
            StoreErrorKind::NotSigned(problem) => Some(problem),
            _ => None,
        }
    }
}
