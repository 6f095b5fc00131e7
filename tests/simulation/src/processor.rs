//! A processor that writes everything down, and misbehaves by chance while the world is disturbed.

mod closure;
pub mod singly;
mod stage;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{
    Begin, Checkpoint, CheckpointError, Checkpointer, LossReason, ProcessorError, Record, RecordBatch,
    RecordProcessor, SequenceNumber, ShardContext, async_trait,
};
use tokio::time::{Instant, sleep};

use self::closure::Closure;
use self::stage::Manner;
pub use self::stage::{Direction, Stage};
use crate::history::{Name, Ownership, What};
use crate::sink::Sink;

/// Expects records whose data is the decimal counter of their partition key.
#[derive(Debug)]
pub struct Actor {
    hand: Hand,
    /// What its batches go through, if its worker was given a closure.
    closure: Option<Closure>,
    is_known: bool,
    fails_until: Option<Instant>,
}

/// What does something with the batches of one processor.
#[derive(Debug, Clone)]
struct Hand {
    stage: Stage,
    who: Name,
    of: Ownership,
    /// The last checkpoint that was written down, or was there at first.
    noted: Arc<Mutex<Option<Checkpoint>>>,
}

impl Actor {
    /// A processor of the worker's life `who`, whose id in the lease table is `id`.
    pub fn new(stage: Stage, who: Name, id: &str, shard: &ShardContext) -> Self {
        let of = Ownership {
            shard: stage.streams.name_of_acquired(id, shard),
            token: shard.fencing_token.get(),
        };
        let noted = Arc::default();
        let hand = Hand {
            stage,
            who,
            of,
            noted,
        };
        Self {
            closure: Closure::is_given_to(&hand.who).then(|| Closure::new(hand.clone(), shard)),
            hand,
            is_known: false,
            fails_until: None,
        }
    }
}

impl Hand {
    fn note(&self, what: What) {
        self.stage.history.record(&self.who, what);
    }

    fn noted(&self) -> MutexGuard<'_, Option<Checkpoint>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a new checkpoint down.
    fn note_checkpoint(&self, checkpointer: &Checkpointer) {
        let to = checkpointer.last_checkpoint();
        let before = self.noted().replace(to.clone());
        if before.is_some_and(|before| before != to) {
            let of = self.of.clone();
            self.note(What::Checkpointed { of, to });
        }
    }

    /// Notes that the table did not take a checkpoint, if that is why there is none.
    fn note_refusal(&self, error: &CheckpointError) {
        if error.is_retryable() {
            let of = self.of.clone();
            self.note(What::CheckpointRefused { of });
        }
    }

    async fn thawed(&self) {
        self.stage.thawed(&self.who).await;
    }

    fn deliver(&self, record: &Record) -> Result<(), ProcessorError> {
        self.stage.deliver(&self.who, &self.of, record)
    }

    async fn work(
        &self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
        (manner, time): (Manner, Duration),
    ) -> Result<(), ProcessorError> {
        self.thawed().await;
        self.stage.tell_gap(&self.who, &self.of, batch);
        if matches!(manner, Manner::FailsFirst | Manner::Stubborn) {
            return Err("not today".into());
        }
        let sink = self.stage.sink.as_ref().filter(|_| !self.stage.is_calm());
        if sink.is_some_and(Sink::is_away) {
            self.stage.network.count("sink is away");
            return Err("the sink is away".into());
        }
        if !time.is_zero() {
            sleep(time).await;
            self.thawed().await;
        }
        let taken = match manner {
            Manner::PanicsEarly => batch.len() / 2,
            _ => batch.len(),
        };
        let is_named = sink.is_some_and(|sink| sink.is_named);
        for record in batch.records().iter().take(taken) {
            match self.deliver(record) {
                Err(error) if is_named => {
                    self.note(What::Named {
                        of: self.of.clone(),
                        position: record.position().clone(),
                    });
                    return Err(ProcessorError::at(record, error));
                }
                delivered => delivered?,
            }
        }
        match manner {
            Manner::FailsLast => return Err("at the last moment".into()),
            // Like a panic, without its message on the screen.
            Manner::Panics | Manner::PanicsEarly => std::panic::resume_unwind(Box::new("on purpose")),
            Manner::Forgets => {}
            Manner::Halves => {
                if let Some(record) = batch.records().get(batch.len() / 2) {
                    checkpointer.checkpoint_at(record).await?;
                }
            }
            Manner::Prepares => {
                let prepared = checkpointer.prepare(None).await?;
                self.thawed().await;
                prepared.commit().await?;
            }
            Manner::Late => {
                if let Some(record) = batch.records().last().cloned() {
                    let (hand, checkpointer) = (self.clone(), checkpointer.clone());
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(7)).await;
                        // Out of range when another one was made meanwhile, refused when the lease is lost.
                        match checkpointer.checkpoint_at(&record).await {
                            Ok(()) => hand.note_checkpoint(&checkpointer),
                            Err(error) => hand.note_refusal(&error),
                        }
                    });
                }
            }
            Manner::Twice => {
                checkpointer.checkpoint().await?;
                checkpointer.checkpoint().await?;
                if let Some(first) = batch.records().first().filter(|_| batch.len() > 1)
                    && checkpointer.checkpoint_at(first).await.is_ok()
                {
                    self.note(What::Misled(
                        "a checkpoint before the last one was accepted".to_owned(),
                    ));
                }
            }
            Manner::OutOfRange => {
                if let Some(last) = batch.records().last() {
                    let beyond = SequenceNumber::parse(format!("{}0", last.sequence_number()))?;
                    if checkpointer.checkpoint_at_sequence(&beyond, 0).await.is_ok() {
                        self.note(What::Misled(
                            "a checkpoint beyond what was delivered was accepted".to_owned(),
                        ));
                    }
                }
                checkpointer.checkpoint().await?;
            }
            Manner::Races => {
                if let Some(middle) = batch.records().get(batch.len() / 2) {
                    let earlier = checkpointer.checkpoint_at(middle);
                    let (done, _) = tokio::join!(checkpointer.checkpoint(), earlier);
                    done?;
                }
            }
            _ => checkpointer.checkpoint().await?,
        }
        Ok(())
    }
}

/// What a record says: the decimal counter of its key.
fn counter(record: &Record) -> Result<u64, ProcessorError> {
    Ok(std::str::from_utf8(record.data())?.parse()?)
}

/// Writes the end of a call down, however it ends.
struct Calling {
    stage: Stage,
    who: Name,
    of: Ownership,
    call: u64,
    is_ok: bool,
}

impl Drop for Calling {
    fn drop(&mut self) {
        let what = What::BatchEnded {
            of: self.of.clone(),
            call: self.call,
            is_ok: self.is_ok,
        };
        self.stage.history.record(&self.who, what);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.hand.stage.processed.end(&self.hand.who, &self.hand.of.shard);
        self.hand.stage.strike(&self.hand.who, &self.hand.of);
    }
}

#[async_trait]
impl RecordProcessor for Actor {
    async fn initialize(&mut self, _: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        self.hand
            .stage
            .processed
            .begin(&self.hand.who, &self.hand.of.shard);
        self.hand.note(What::Initialized {
            of: self.hand.of.clone(),
        });
        // A process that freezes in here does not know, when it goes on, that it has a successor.
        self.hand.thawed().await;
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let is_valid = checkpointer.is_lease_valid();
        if !self.is_known {
            self.is_known = true;
            self.hand
                .stage
                .enlist(&self.hand.who, &self.hand.of, checkpointer);
        }
        let mut calling = Calling {
            stage: self.hand.stage.clone(),
            who: self.hand.who.clone(),
            of: self.hand.of.clone(),
            call: self.hand.stage.next_call(),
            is_ok: false,
        };
        self.hand.note(What::BatchBegan {
            of: self.hand.of.clone(),
            call: calling.call,
            is_valid,
            records: batch.len(),
        });
        let directed = self.hand.stage.directed(&self.hand.who, &self.hand.of.shard);
        let mut manner = directed.unwrap_or_else(|| self.hand.stage.manner());
        if manner.0 == Manner::Stubborn {
            let time = Duration::from_millis(self.hand.stage.roll(25_000));
            self.fails_until = Some(Instant::now() + time);
        } else if self.hand.stage.is_calm() {
            self.fails_until = None;
        } else if self.fails_until.is_some_and(|until| Instant::now() < until) {
            manner.0 = Manner::Stubborn;
        }
        self.hand.noted().replace(checkpointer.last_checkpoint());
        let result = match &mut self.closure {
            Some(closure) => closure.process(batch, checkpointer, manner).await,
            None => self.hand.work(batch, checkpointer, manner).await,
        };
        self.hand.note_checkpoint(checkpointer);
        if let Err(error) = &result
            && let Some(error) = error.as_error().downcast_ref::<CheckpointError>()
        {
            self.hand.note_refusal(error);
        }
        calling.is_ok = result.is_ok();
        result
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.hand.note(What::LeaseLost {
            of: self.hand.of.clone(),
        });
    }

    async fn shard_ended(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.hand.thawed().await;
        if self.hand.stage.manner().0 == Manner::FailsFirst {
            return Err("not yet".into());
        }
        if let Some(time) = self.hand.stage.directed_end(&self.hand.who, &self.hand.of.shard) {
            self.hand.note(What::Disturbed(format!(
                "is at the end of {}",
                self.hand.of.shard
            )));
            sleep(time).await;
        }
        self.hand.note(What::ShardEnded {
            of: self.hand.of.clone(),
        });
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.hand.thawed().await;
        self.hand.note(What::ShutdownRequested {
            of: self.hand.of.clone(),
        });
        let checkpointed = match &mut self.closure {
            Some(closure) => closure.shutdown_requested(checkpointer).await,
            None => checkpointer.checkpoint().await.map_err(ProcessorError::from),
        };
        if self.hand.stage.shared.wanted.lacks("validity while giving up") {
            self.hand.stage.strike(&self.hand.who, &self.hand.of);
        }
        checkpointed
    }
}
