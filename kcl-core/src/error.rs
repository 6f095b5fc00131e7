//! What stops a worker.

use std::error::Error as StdError;
use std::fmt;

use kcl_lease::{Broken, JoinError};

/// Why a worker could not be built, could not start, could not wait for signals, or broke.
///
/// Failures while it runs do not end a worker: it retries, and shows them in its status and in the log. Only a part of it that
/// broke does.
///
/// Its `Debug` is its message, so that a `main` that returns it prints a sentence.
///
/// ```no_run
/// # async fn run(worker: kcl_core::Worker) {
/// match worker.run_until_signal().await {
///     Ok(_) => {}
///     Err(error) if error.is_retryable() => std::process::exit(75), // the supervisor starts it again
///     Err(error) => panic!("{error}"),
/// }
/// # }
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Options are missing or out of range. All of them are named.
    #[error("invalid configuration: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The stream does not exist, or may not be read.
    #[error("cannot read stream {stream}: {reason}")]
    Stream {
        /// The stream as it was configured.
        stream: String,
        /// What Kinesis answered, and what to do.
        reason: String,
        /// What the SDK said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The application's leases are of another stream: one of another name, or one that had this name before. See
    /// [`OtherStream`](crate::OtherStream) for another choice than to refuse.
    #[error("{0}")]
    OtherStream(String),
    /// The lease table cannot be used, or the fleet cannot be joined.
    #[error("cannot join the application's workers: {0}")]
    Join(#[from] JoinError),
    /// Another process was started under this worker's id, and has its leases now. Nothing is lost; but if both are to run, they
    /// need ids of their own.
    #[error(
        "another process was started under the worker id {worker_id} and goes on with its shards; give each process an id \
         of its own, or leave the id out"
    )]
    Superseded {
        /// The worker id of both.
        worker_id: String,
    },
    /// A processor kept failing, and the failure policy says that the worker is to stop then. It has left in good order; what failed is
    /// behind the shard's checkpoint.
    #[error(
        "{call} of shard {shard} of {stream} keeps failing, and the failure policy stops the worker for it: {error}"
    )]
    Processor {
        /// The name of the stream.
        stream: String,
        /// The shard.
        shard: String,
        /// The method.
        call: &'static str,
        /// Why it failed last, with the messages of all sources.
        error: String,
    },
    /// The process cannot be notified of signals.
    #[error("cannot wait for signals; use run_until with a future of your own: {0}")]
    Signal(#[from] std::io::Error),
    /// A part of the worker panicked or ended, such as by a panic of a lease store. It has left as well as it could.
    #[error("the worker broke and has left; start it again: {0}")]
    Broken(#[from] Broken),
}

impl Error {
    /// Whether a worker that is built and started again may go on, without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Join(error) => error.is_retryable(),
            Self::Broken(_) => true,
            Self::Configuration(_)
            | Self::Stream { .. }
            | Self::OtherStream(_)
            | Self::Superseded { .. }
            | Self::Processor { .. }
            | Self::Signal(_) => false,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::{StoreError, StoreErrorKind};

    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_worth_another_start() {
        let table = |kind| Error::Join(JoinError::Store(StoreError::new(kind, "testing", "t", "no")));
        assert!(table(StoreErrorKind::Throttled).is_retryable());
        assert!(table(StoreErrorKind::Unavailable).is_retryable());
        assert!(!table(StoreErrorKind::AccessDenied).is_retryable());
        assert!(!Error::Join(JoinError::ReservedWorkerId("".into())).is_retryable());
        assert!(!Error::Configuration(vec!["wrong".to_owned()]).is_retryable());
        assert!(!Error::OtherStream("another".to_owned()).is_retryable());
    }
}
