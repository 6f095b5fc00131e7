//! What becomes of a call of the processor that failed: the failure policy says it, whatever call it was, unless the application
//! decides otherwise.

use kcl_lease::Activity;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::super::pieces::Pieces;
use super::super::state::Event;
use super::Task;
use crate::config::{FailedCall, Failure, Reaction};
use crate::processor_error::ProcessorError;
use crate::record::RecordBatch;
use crate::record_failures::RecordFailures as _;
use crate::spans;

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
        let activity = match call {
            FailedCall::Initialize => INITIALIZING,
            FailedCall::ProcessRecords(_) => PROCESSING,
            FailedCall::ShardEnded => ENDING,
        };
        if self.checkpointer.rules().was_refused() {
            return self.failed(activity, &excused(error));
        }
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let failure = Failure {
            call,
            attempts: self.machine.attempts().saturating_add(1),
            lasted: since.elapsed(),
        };
        match self.failures.policy().react(&failure) {
            Reaction::Release => self.release(activity, error),
            Reaction::Stop => self.stop(activity, error),
            // There are no records that could be cut, or given up.
            Reaction::Repeat
            | Reaction::AwaitProof
            | Reaction::Probe
            | Reaction::ProbeAgain
            | Reaction::Halve
            | Reaction::Skip
            | Reaction::DeadLetter => self.failed(activity, error),
        }
    }

    /// A batch, or a piece of one, failed.
    pub(super) async fn records_failed(
        &mut self,
        error: &ProcessorError,
        pieces: &mut Pieces,
        whole: &RecordBatch,
        span: &Span,
    ) -> Event {
        if let Some(position) = error.position()
            && let Some(done) = pieces.failed_at(whole, position)
        {
            if let Some(last) = done.records().last() {
                self.checkpointer.rules().is_done_up_to(last.position());
            }
            self.monitor.progressed(done.len(), done.payload());
            self.held.record_throughput(done.payload());
            self.machine.got_ahead();
            self.retry.succeeded();
        }
        if self.checkpointer.rules().was_refused() {
            pieces.excused();
            return self.failed(PROCESSING, &excused(error));
        }
        let failure = pieces.failed(whole);
        let reaction = self.failures.react(&failure, pieces.next(whole).batch(), error);
        pieces.react(whole, reaction);
        match reaction {
            Reaction::Repeat | Reaction::ProbeAgain => self.failed(PROCESSING, error),
            Reaction::AwaitProof => {
                let text = format!(
                    "{} (not given up: no record in front of it is there to show that it is the record, and not the sink)",
                    error.chain()
                );
                self.failed(PROCESSING, &text.into())
            }
            Reaction::Halve => {
                tracing::info!(shard = %self.shard, "a batch that fails is cut, to find the record at fault");
                self.retry.succeeded();
                self.failed(PROCESSING, error)
            }
            Reaction::Probe => {
                self.complain(PROCESSING, error.chain());
                Event::Undecided
            }
            Reaction::Skip => self.skip(error, pieces, whole),
            Reaction::DeadLetter => {
                let records = pieces.next(whole).batch().len();
                let span = spans::dead_letters(span, records);
                let event = self
                    .give_up_records(&failure, error, pieces, whole)
                    .instrument(span.clone())
                    .await;
                if event == Event::Failed {
                    spans::failed(&span, || "they could not be written".to_owned());
                }
                event
            }
            Reaction::Release => self.release(PROCESSING, error),
            Reaction::Stop => self.stop(PROCESSING, error),
        }
    }

    fn skip(&mut self, error: &ProcessorError, pieces: &mut Pieces, whole: &RecordBatch) -> Event {
        let skipped = pieces.next(whole);
        let records = skipped.batch().records();
        tracing::error!(
            shard = %self.shard, error = %error.chain(), records = records.len(), record = ?records.first(),
            "skipping what fails while the rest does not, as the failure policy says"
        );
        self.monitor.skipped(records.len());
        behind(pieces, whole)
    }

    /// Writes the records to the dead letters before anything goes on behind them.
    async fn give_up_records(
        &mut self,
        failure: &Failure,
        error: &ProcessorError,
        pieces: &mut Pieces,
        whole: &RecordBatch,
    ) -> Event {
        let next = pieces.next(whole);
        let records = next.batch().records();
        let failures = self.failures.clone();
        let writing = async { Ok(failures.give_up(failure, error, records).await?) };
        if let Err(refused) = self.supervise("dead_letters", writing).await {
            let text = format!("{} (and {refused})", error.chain());
            return self.failed(PROCESSING, &text.into());
        }
        self.monitor.dead_lettered(records.len());
        behind(pieces, whole)
    }

    /// Lets another worker try; meanwhile it goes on here.
    fn release(&mut self, activity: Activity, error: &ProcessorError) -> Event {
        let event = self.failed(activity, error);
        self.monitor.gives_up();
        event
    }

    fn stop(&mut self, activity: Activity, error: &ProcessorError) -> Event {
        self.stops_the_worker = true;
        self.failures.stop(activity.doing, error);
        self.failed(activity, error)
    }
}

/// What is told of a failure that says nothing about the processor or its records.
fn excused(error: &ProcessorError) -> ProcessorError {
    let text = error.chain();
    format!("{text} (not counted: the lease table did not take a checkpoint that the call made)").into()
}

/// Goes on behind the first piece.
fn behind(pieces: &mut Pieces, whole: &RecordBatch) -> Event {
    match pieces.done(whole, false) {
        true => Event::Succeeded,
        false => Event::PieceDone,
    }
}
