//! What becomes of a call of the processor that failed: the failure policy says it, whatever call it was.

use kcl_lease::Activity;
use tokio::time::Instant;

use super::super::pieces::Pieces;
use super::super::state::Event;
use super::Task;
use crate::config::{FailedCall, Failure, Reaction};
use crate::processor::ProcessorError;
use crate::record::RecordBatch;

const INITIALIZING: Activity = Activity {
    code: "initialize-failing",
    doing: "initialize",
};
pub(super) const PROCESSING: Activity = Activity {
    code: "processor-failing",
    doing: "process_records",
};
const ENDING: Activity = Activity {
    code: "shard-ended-failing",
    doing: "shard_ended",
};

impl Task {
    /// A call that is not about records failed.
    pub(super) fn call_failed(&mut self, call: FailedCall, error: &ProcessorError) -> Event {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let failure = Failure {
            call,
            attempts: self.machine.attempts().saturating_add(1),
            lasted: since.elapsed(),
        };
        let activity = match call {
            FailedCall::Initialize => INITIALIZING,
            FailedCall::ProcessRecords(_) => PROCESSING,
            FailedCall::ShardEnded => ENDING,
        };
        match self.parts.failure_policy.react(&failure) {
            // There are no records that could be cut, or skipped.
            Reaction::Repeat
            | Reaction::AwaitProof
            | Reaction::Probe
            | Reaction::ProbeAgain
            | Reaction::Halve
            | Reaction::Skip => self.failed(activity, error),
        }
    }

    /// Does what the failure policy says of a batch, or a piece of one.
    pub(super) fn react(
        &mut self,
        reaction: Reaction,
        error: &ProcessorError,
        pieces: &mut Pieces,
        whole: &RecordBatch,
    ) -> Event {
        match reaction {
            Reaction::Repeat | Reaction::ProbeAgain => self.failed(PROCESSING, error),
            Reaction::AwaitProof => {
                let text = format!(
                    "{} (not skipped: no record in front of it is there to show that it is the record, and not the sink)",
                    error.chain()
                );
                self.failed(PROCESSING, &text.into())
            }
            Reaction::Halve => {
                tracing::info!(shard = %self.shard, "a batch that fails is cut in halves, to find the record at fault");
                self.retry.succeeded();
                self.failed(PROCESSING, error)
            }
            Reaction::Probe => {
                self.complain(PROCESSING, error.chain());
                Event::Undecided
            }
            Reaction::Skip => {
                let skipped = pieces.next(whole);
                let records = skipped.batch().records();
                tracing::error!(
                    shard = %self.shard, error = %error.chain(), record = ?records.first(),
                    "skipping a record that fails while others do not, as the failure policy says"
                );
                self.monitor.skipped(records.len());
                match pieces.done(whole, false) {
                    true => Event::Succeeded,
                    false => Event::PieceDone,
                }
            }
        }
    }
}
