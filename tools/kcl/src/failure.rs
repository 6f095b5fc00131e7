//! How a command ends.

use kcl_core::StoreError;
use kcl_core::StoreErrorKind;
use kcl_core::reading::ReadFailed;

/// How a command ended that did what it was told. The number is the program's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// All is well: 0.
    Fine,
    /// The command did its work, and what it found needs attention: 3.
    NeedsAttention,
    /// Nothing was changed, because whoever was asked said no: 4.
    Declined,
}

impl Status {
    /// The program's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::NeedsAttention => 3,
            Self::Declined => 4,
        }
    }

    /// The one that asks for attention, if there is reason to.
    pub fn attention_if(reason: bool) -> Self {
        if reason { Self::NeedsAttention } else { Self::Fine }
    }
}

/// Why a command could not do what it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The lease table cannot be read or written.
    #[error("{}", store(.0))]
    Table(#[from] StoreError),
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] ReadFailed),
    /// DynamoDB refused a call, in the words of the service.
    #[error("{operation} failed: {message}")]
    Service {
        /// The call.
        operation: &'static str,
        /// What the service, or the SDK, said.
        message: String,
    },
    /// The command refuses; the sentence says why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The output, or a file, cannot be written or read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    /// The program's exit code: 2 for wrong arguments, else 1.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Whether whoever read the output went away, as `head` does.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// A worker is told to repeat and to be permitted all; the tool does not go on, and needs less.
fn store(error: &StoreError) -> String {
    let text = error.to_string();
    let (said, _) = text.rsplit_once("; ").unwrap_or((&text, ""));
    match error.kind() {
        StoreErrorKind::TableMissing => format!(
            "{said}; check the name given with --table or --application, the region and the account (a worker makes the table)"
        ),
        StoreErrorKind::AccessDenied => format!(
            "{said}; to look, allow DescribeTable, Scan and GetItem on the table and DescribeTable on APPLICATION-CoordinatorState; \
             to change leases, UpdateItem too"
        ),
        StoreErrorKind::Unavailable => {
            format!("{said}; check --endpoint-url and --region, and the way to DynamoDB")
        }
        _ => text,
    }
}
