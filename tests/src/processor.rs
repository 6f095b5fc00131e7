//! A processor that writes every record into the ledger, and misbehaves on demand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kcl_core::{
    Begin, Checkpointer, LossReason, ProcessorError, RecordBatch, RecordProcessor, ShardContext, async_trait,
};
use tokio::time::{Instant, sleep};

use crate::ledger::{Delivery, Ledger};

/// Runs before a batch is written to the ledger: may wait, fail or panic.
pub type Hook =
    Arc<dyn Fn(&str, &RecordBatch) -> BoxFuture<'static, Result<(), ProcessorError>> + Send + Sync>;

/// What a processor does before it writes a batch to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Nothing.
    Process,
    /// It fails with the words "not today".
    Fail,
    /// It panics with the words "on purpose".
    Panic,
    /// It works for so long.
    Work(Duration),
}

/// What a processor does beside writing to the ledger.
#[derive(Clone)]
pub struct Behaviour {
    /// Called with the shard id before each batch.
    pub before_batch: Hook,
    /// How long it works on a batch once that is in the ledger.
    pub work: Duration,
    /// Whether to checkpoint after each batch.
    pub checkpoints: bool,
    /// While this is set, `initialize` fails.
    pub cannot_initialize: Arc<AtomicBool>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            before_batch: Arc::new(|_, _| Box::pin(async { Ok(()) })),
            work: Duration::ZERO,
            checkpoints: true,
            cannot_initialize: Arc::default(),
        }
    }
}

impl Behaviour {
    /// Awaits this before each batch.
    pub fn before_batch<F>(hook: impl Fn(&str, &RecordBatch) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), ProcessorError>> + Send + 'static,
    {
        Self {
            before_batch: Arc::new(move |shard, batch| Box::pin(hook(shard, batch))),
            ..Self::default()
        }
    }

    /// Reacts to each batch as the script says, which is told the shard's id.
    pub fn scripted(script: impl Fn(&str, &RecordBatch) -> Reaction + Send + Sync + 'static) -> Self {
        Self::before_batch(move |shard, batch| {
            let reaction = script(shard, batch);
            async move {
                match reaction {
                    Reaction::Process => {}
                    Reaction::Fail => return Err("not today".into()),
                    // Like a panic, without its message on the screen.
                    Reaction::Panic => std::panic::resume_unwind(Box::new("on purpose")),
                    Reaction::Work(time) => sleep(time).await,
                }
                Ok(())
            }
        })
    }

    /// Reacts so to the first so many batches, those of all shards together.
    pub fn at_first(times: u32, reaction: Reaction) -> Self {
        let left = AtomicU32::new(times);
        Self::scripted(move |_, _| {
            let is_over = left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_err();
            if is_over { Reaction::Process } else { reaction }
        })
    }

    /// Reacts so for as long as this is set.
    pub fn while_set(flag: &Arc<AtomicBool>, reaction: Reaction) -> Self {
        let flag = Arc::clone(flag);
        Self::scripted(move |_, _| match flag.load(Ordering::SeqCst) {
            true => reaction,
            false => Reaction::Process,
        })
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}

/// Expects records whose data is the decimal counter of their partition key.
#[derive(Debug)]
pub(crate) struct LedgerProcessor {
    ledger: Ledger,
    behaviour: Behaviour,
    worker: String,
    shard: String,
    token: u64,
}

impl LedgerProcessor {
    /// A processor for one shard.
    pub(crate) fn new(ledger: Ledger, behaviour: Behaviour, worker: &str, shard: String, token: u64) -> Self {
        Self {
            ledger,
            behaviour,
            worker: worker.to_owned(),
            shard,
            token,
        }
    }

    fn note(&self, call: &'static str) {
        self.ledger.call(&self.worker, &self.shard, call);
    }
}

#[async_trait]
impl RecordProcessor for LedgerProcessor {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        if self.behaviour.cannot_initialize.load(Ordering::Relaxed) {
            return Err("no disk".into());
        }
        self.ledger
            .begin(&self.worker, &self.shard, self.token, shard.start.as_str());
        self.note("initialize");
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.note("process_records");
        (self.behaviour.before_batch)(&self.shard, batch).await?;
        for record in batch {
            let counter = std::str::from_utf8(record.data())?.parse()?;
            self.ledger.deliver(Delivery {
                key: record.partition_key().to_owned(),
                counter,
                worker: self.worker.clone(),
                shard: self.shard.clone(),
                token: self.token,
                sequence: record.sequence_number().to_string(),
                at: Instant::now(),
            });
        }
        if !self.behaviour.work.is_zero() {
            sleep(self.behaviour.work).await;
        }
        if self.behaviour.checkpoints {
            checkpointer.checkpoint().await?;
            if let Some(last) = batch.records().last() {
                self.ledger.confirm(&self.shard, last.sequence_number().as_str());
            }
        }
        Ok(())
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.note("lease_lost");
    }

    async fn shard_ended(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.note("shard_ended");
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.note("shutdown_requested");
        checkpointer.checkpoint().await?;
        Ok(())
    }
}
