//! The start of a shard: its parents are processed, the processor is made, and reading begins.

use std::pin::pin;
use std::time::Duration;

use kcl_lease::{Activity, Checkpoint, Lease, LeaseWriteError};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::super::latest::{needs_note, note_to_leave, noted_start};
use super::super::state::Event;
use super::{Reader, Task};
use crate::aws::CallError;
use crate::begin::Begin;
use crate::config::{FailedCall, ShardId};
use crate::processor::ShardContext;
use crate::processor_error::ProcessorError;
use crate::retrieval::{Cursor, Prefetch, Start};
use crate::retry::Retry;
use crate::status::ShardState;

const ASKING_THE_TIME: Activity = Activity {
    code: "shard-start-failing",
    doing: "asking Kinesis for the time",
};
const NOTING_THE_START: Activity = Activity {
    code: "shard-start-failing",
    doing: "recording where reading starts",
};
const LOOKING_FOR_PARENTS: Activity = Activity {
    code: "parents-failing",
    doing: "reading the leases of the shard's parents",
};

impl Task {
    pub(super) async fn await_parents(&mut self) -> Event {
        let parents = self.held.lease().parents;
        let (store, ended) = (
            self.stream.creation.store.clone(),
            self.stream.shard_ended.clone(),
        );
        let mut polls = Retry::new(
            self.stream.creation.env.clone(),
            Duration::from_millis(250),
            Duration::from_secs(2),
        );
        for parent in parents {
            let parent = ShardId::from(parent.as_str());
            let key = self.stream.creation.keys.key(&parent);
            loop {
                let mut news = pin!(ended.notified());
                news.as_mut().enable();
                match store.get(&key).await {
                    // Deleted because it was processed, or together with the whole table, and then this lease is gone too.
                    Ok(None) => match self.held.renew().await {
                        Ok(()) => match self.is_the_same_stream().await {
                            Some(interruption) => return interruption,
                            None => break,
                        },
                        Err(LeaseWriteError::Lost(reason)) => return Event::Lost(reason),
                        Err(error) => self.complain(LOOKING_FOR_PARENTS, error.to_string()),
                    },
                    Ok(Some(lease)) if lease.has_ended() => break,
                    Ok(Some(_)) => {
                        if polls.attempts() == 0 {
                            tracing::info!(shard = %self.shard, %parent, "waiting until the parent is processed");
                        }
                        self.monitor.enter(
                            ShardState::WaitingOnParents,
                            Some(format!("{parent} is not processed yet")),
                        );
                    }
                    Err(error) => self.complain(LOOKING_FOR_PARENTS, error.to_string()),
                }
                let pause = polls.pause();
                tokio::select! {
                    biased;
                    event = self.interrupted() => return event,
                    () = news => {}
                    () = sleep(pause) => {}
                }
            }
        }
        Event::Succeeded
    }

    /// Waits until the stream was found to be the one that this lease is of, where nothing else would tell: the lease of a parent may be
    /// gone because somebody sets the leases of a stream aside that was made anew, and no read has failed because there was none. What
    /// has a checkpoint needs no question: it does not lie in a shard of another stream.
    async fn is_the_same_stream(&mut self) -> Option<Event> {
        if matches!(self.held.lease().checkpoint, Checkpoint::At(_)) {
            return None;
        }
        let doubt = self.stream.creation.doubt.clone();
        let question = doubt.raise();
        tokio::select! {
            biased;
            event = self.interrupted() => Some(event),
            () = doubt.settled(question) => None,
        }
    }

    pub(super) async fn initialize(&mut self) -> Event {
        let lease = self.held.lease();
        // Read before a note is left: the reader that leaves it starts at the latest record itself.
        self.noted_start = noted_start(&lease);
        let note = match self.note(&lease).await {
            Ok(note) => note,
            Err(error) => return self.failed(ASKING_THE_TIME, &error.into()),
        };
        if let Some(note) = note {
            match self.held.record_reading_since(note).await {
                Ok(()) => {}
                Err(LeaseWriteError::Lost(reason)) => return Event::Lost(reason),
                Err(error) => return self.failed(NOTING_THE_START, &error.into()),
            }
        }
        let context = ShardContext {
            stream: self.stream.creation.stream.stream().clone(),
            shard_id: self.shard.clone(),
            hash_range: lease.hash_range,
            parents: lease
                .parents
                .iter()
                .map(|parent| ShardId::from(parent.as_str()))
                .collect(),
            start: lease.checkpoint,
            pending_checkpoint: lease.pending_checkpoint,
            fencing_token: self.held.fencing_token(),
            failures: Some(self.failures.clone()),
        };
        match self.begin(&context).await {
            Ok(begin) => {
                let start = self.checkpointer.rules().begin(&begin);
                tracing::info!(shard = %self.shard, %start, token = %context.fencing_token, "processing");
                self.monitor.progressed(0, 0);
                self.held.record_throughput(0);
                self.read_from(&start);
                Event::Succeeded
            }
            Err(error) => self.call_failed(FailedCall::Initialize, &error),
        }
    }

    /// Makes the processor, unless it is there from an earlier try, and asks it where to begin.
    async fn begin(&mut self, context: &ShardContext) -> Result<Begin, ProcessorError> {
        let mut processor = match self.processor.take() {
            Some(processor) => processor,
            None => {
                let factory = self.parts.factory.clone();
                self.supervise("factory", async { factory(context).await })
                    .await?
            }
        };
        let checkpointer = self.checkpointer.clone();
        let call = processor.initialize(context, &checkpointer);
        let begin = self.supervise("initialize", call).await;
        self.processor = Some(processor);
        begin
    }

    /// The time by the clock of the service: this worker's own may be ahead, and nobody could read from there yet.
    async fn note(&mut self, lease: &Lease) -> Result<Option<u64>, CallError> {
        if !needs_note(lease) {
            return Ok(None);
        }
        let now = self.stream.creation.stream.probe().await?;
        Ok(note_to_leave(
            now.unwrap_or_else(|| self.stream.creation.env.now()),
        ))
    }

    /// Starts to read behind a checkpoint.
    pub(super) fn read_from(&mut self, checkpoint: &Checkpoint) {
        let cursor = match self.noted_start {
            Some(start) if *checkpoint == Checkpoint::Latest => Some(Cursor::from_time(start)),
            _ => Cursor::from_checkpoint(checkpoint, self.stream.creation.initial),
        };
        let Some(cursor) = cursor else { return };
        self.noted_start = noted_start(&self.held.lease());
        let start = Start {
            cursor,
            checkpoint: checkpoint.clone(),
            hash_range: self.held.lease().hash_range,
        };
        let (prefetch, batches) = Prefetch::new(
            &self.stream.readers,
            self.shard.clone(),
            self.monitor.clone(),
            start,
        );
        self.reader = Some(Reader {
            batches,
            _task: AbortOnDropHandle::new(tokio::spawn(prefetch.run())),
        });
    }
}
