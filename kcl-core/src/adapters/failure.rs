//! What becomes of a record whose handler failed.

use std::time::Duration;

use kcl_lease::Environment;
use tokio::time::Instant;

use crate::processor::ProcessorError;
use crate::record::Record;
use crate::retry::Retry;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A record that failed, and what is known of it.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) record: &'a Record,
    pub(super) error: &'a ProcessorError,
    /// How often it failed in a row.
    pub(super) attempts: u32,
    /// Since the first time.
    pub(super) lasted: Duration,
    /// The pause before it may be repeated.
    pub(super) pause: Duration,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same again after a pause. Its key waits so long.
    RepeatAfter(Duration),
}

/// The one place that is asked what to do with a record that failed.
pub(super) fn judge(failure: &Failure<'_>) -> Verdict {
    tracing::debug!(
        record = ?failure.record, error = %failure.error.chain(), attempts = failure.attempts, lasted = ?failure.lasted,
        "a record is repeated"
    );
    Verdict::RepeatAfter(failure.pause)
}

/// The failures of one record so far.
#[derive(Debug)]
pub(super) struct Failures {
    retry: Retry,
    since: Instant,
}

impl Failures {
    pub(super) fn new(env: Environment) -> Self {
        Self {
            retry: Retry::new(env, FIRST_PAUSE, LONGEST_PAUSE),
            since: Instant::now(),
        }
    }

    /// One more.
    pub(super) fn add<'a>(&mut self, record: &'a Record, error: &'a ProcessorError) -> Failure<'a> {
        let pause = self.retry.pause();
        Failure {
            record,
            error,
            attempts: self.retry.attempts(),
            lasted: self.since.elapsed(),
            pause,
        }
    }
}
