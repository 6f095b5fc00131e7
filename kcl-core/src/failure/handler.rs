//! What the application itself decides about records that fail.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Reaction, ShardId};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;

/// Decides what to do with records that failed, in place of the [`FailurePolicy`](crate::FailurePolicy).
///
/// Any function of a [`FailedRecords`] is one. It is asked after each failed call of
/// [`process_records`](crate::RecordProcessor::process_records), and should answer at once. A panic counts as no decision.
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// use kcl_core::dead_letters::JsonLines;
/// use kcl_core::{Decision, FailedRecords};
///
/// builder
///     .dead_letters(JsonLines::new("/var/lib/my-app/dead-letters.jsonl"))
///     .on_failure(|failed: &FailedRecords<'_>| {
///         let is_unreadable = failed.error.as_error().is::<std::str::Utf8Error>();
///         match failed.batch.len() {
///             // No repetition makes it readable. The processor named it: see `ProcessorError::at`.
///             1 if is_unreadable => Some(Decision::DeadLetter),
///             _ if is_unreadable => Some(Decision::Bisect),
///             _ => None, // as the policy says
///         }
///     })
/// # }
/// ```
pub trait FailureHandler: Send + Sync + 'static {
    /// What to do; `None`: what the policy says.
    ///
    /// Nothing protects from a wrong decision: records are skipped though a sink is away, if that is what is said here.
    fn decide(&self, failed: &FailedRecords<'_>) -> Option<Decision>;
}

impl<F> FailureHandler for F
where
    F: Fn(&FailedRecords<'_>) -> Option<Decision> + Send + Sync + 'static,
{
    fn decide(&self, failed: &FailedRecords<'_>) -> Option<Decision> {
        self(failed)
    }
}

/// Records for which [`process_records`](crate::RecordProcessor::process_records) failed just now.
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedRecords<'a> {
    /// Their shard.
    pub shard_id: &'a ShardId,
    /// The records: a whole batch, or a piece of one that was cut. Where the processor named the record at fault, it is the first one.
    pub batch: &'a RecordBatch,
    /// Why they failed.
    pub error: &'a ProcessorError,
    /// How often they failed in a row, just these records; 1 for the first time.
    pub attempts: u32,
    /// For how long they have.
    pub age: Duration,
    /// What the policy would do.
    pub policy: Decision,
}

/// What to do with records that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// They are tried again after a pause.
    Repeat,
    /// They are delivered in two pieces: in halves or, where the processor named the record at fault, that record and the rest. One
    /// record is tried again.
    Bisect,
    /// They are skipped, and **lost** to this application.
    Skip,
    /// They are written to the dead letters, and the shard goes on behind them. Without dead letters, or where they cannot be written,
    /// they are tried again.
    DeadLetter,
    /// Another worker is to try, if there is one that has not failed with the shard. They are tried here until it takes over.
    Release,
    /// The worker stops, with an error.
    Stop,
}

impl From<Reaction> for Decision {
    fn from(reaction: Reaction) -> Self {
        match reaction {
            Reaction::Repeat | Reaction::AwaitProof | Reaction::Probe | Reaction::ProbeAgain => Self::Repeat,
            Reaction::Halve => Self::Bisect,
            Reaction::Skip => Self::Skip,
            Reaction::DeadLetter => Self::DeadLetter,
            Reaction::Release => Self::Release,
            Reaction::Stop => Self::Stop,
        }
    }
}

/// The application's handler, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Handler(Option<Arc<dyn FailureHandler>>);

impl Handler {
    pub(crate) fn new(handler: impl FailureHandler) -> Self {
        Self(Some(Arc::new(handler)))
    }

    /// What to do, where the policy says `policy`.
    pub(crate) fn react(&self, policy: Reaction, failed: &FailedRecords<'_>) -> Reaction {
        let Some(handler) = &self.0 else { return policy };
        let decided = catch_unwind(AssertUnwindSafe(|| handler.decide(failed)));
        let decision = decided.unwrap_or_else(|panic| {
            let error = ProcessorError::from_panic(panic);
            tracing::error!(shard = %failed.shard_id, %error, "the failure handler panicked; the policy decides");
            None
        });
        match decision {
            // It may have a way of its own to repeat.
            None => policy,
            Some(decision) if decision == failed.policy => policy,
            Some(Decision::Bisect) if failed.batch.len() < 2 => Reaction::Repeat,
            Some(Decision::Repeat) => Reaction::Repeat,
            Some(Decision::Bisect) => Reaction::Halve,
            Some(Decision::Skip) => Reaction::Skip,
            Some(Decision::DeadLetter) => Reaction::DeadLetter,
            Some(Decision::Release) => Reaction::Release,
            Some(Decision::Stop) => Reaction::Stop,
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Handler" } else { "None" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::batch;

    fn reaction(policy: Reaction, records: u64, decide: impl FailureHandler) -> Reaction {
        let (batch, error) = (batch(0..records), ProcessorError::from("no"));
        let failed = FailedRecords {
            shard_id: &ShardId::from("shard"),
            batch: &batch,
            error: &error,
            attempts: 3,
            age: Duration::from_secs(10),
            policy: policy.into(),
        };
        Handler::new(decide).react(policy, &failed)
    }

    #[test]
    fn what_the_application_decides_is_done_and_otherwise_what_the_policy_says() {
        let none = |_: &FailedRecords<'_>| None;
        assert_eq!(reaction(Reaction::Skip, 1, none), Reaction::Skip);
        let skip = |failed: &FailedRecords<'_>| (failed.attempts == 3).then_some(Decision::Skip);
        assert_eq!(reaction(Reaction::AwaitProof, 1, skip), Reaction::Skip);
        let repeat = |_: &FailedRecords<'_>| Some(Decision::Repeat);
        assert_eq!(reaction(Reaction::Skip, 1, repeat), Reaction::Repeat);
    }

    #[test]
    fn who_wants_what_the_policy_wants_leaves_the_way_to_it() {
        let as_said = |failed: &FailedRecords<'_>| Some(failed.policy);
        for said in [Reaction::Probe, Reaction::AwaitProof, Reaction::Halve] {
            assert_eq!(reaction(said, 2, as_said), said);
        }
    }

    #[test]
    fn one_record_is_not_cut_and_a_panic_decides_nothing() {
        let cut = |_: &FailedRecords<'_>| Some(Decision::Bisect);
        assert_eq!(reaction(Reaction::Skip, 1, cut), Reaction::Repeat);
        assert_eq!(reaction(Reaction::Skip, 2, cut), Reaction::Halve);
        let panics = |_: &FailedRecords<'_>| -> Option<Decision> { panic!("no idea") };
        assert_eq!(reaction(Reaction::Stop, 2, panics), Reaction::Stop);
    }
}
