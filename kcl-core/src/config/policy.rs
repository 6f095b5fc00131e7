//! What happens when a processor fails.

use std::num::NonZeroU32;

/// What to do when [`process_records`](crate::RecordProcessor::process_records) keeps failing for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Repeat the call with growing pauses until it succeeds; nothing is ever skipped. The shard's status says
    /// `failing` meanwhile.
    #[default]
    RetryForever,
    /// After this many failed attempts log the batch's range as an error and go on behind it. **Its records are
    /// lost** to this application unless the processor put them somewhere.
    SkipAfter(NonZeroU32),
}

impl FailurePolicy {
    /// Whether to go on after `attempts` failed attempts.
    pub(crate) fn skips_after(self, attempts: u32) -> bool {
        match self {
            Self::RetryForever => false,
            Self::SkipAfter(limit) => attempts >= limit.get(),
        }
    }
}
