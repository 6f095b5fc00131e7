//! A processor that writes every record into the ledger, and misbehaves on demand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kcl_core::{
    Checkpointer, LossReason, ProcessorError, RecordBatch, RecordProcessor, ShardContext, async_trait,
};
use tokio::time::{Instant, sleep};

use crate::ledger::{Delivery, Ledger};

/// Runs before a batch is written to the ledger: may wait, fail or panic.
pub type Hook =
    Arc<dyn Fn(&str, &RecordBatch) -> BoxFuture<'static, Result<(), ProcessorError>> + Send + Sync>;

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

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behaviour")
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}

/// Expects records whose data is the decimal counter of their partition key.
#[derive(Debug)]
pub struct LedgerProcessor {
    ledger: Ledger,
    behaviour: Behaviour,
    worker: String,
    shard: String,
    token: u64,
}

impl LedgerProcessor {
    /// A processor for one shard.
    pub fn new(ledger: Ledger, behaviour: Behaviour, worker: &str, shard: &ShardContext) -> Self {
        let token = shard.fencing_token.get();
        Self {
            ledger,
            behaviour,
            worker: worker.to_owned(),
            shard: shard.shard_id.to_string(),
            token,
        }
    }

    fn note(&self, call: &'static str) {
        self.ledger.call(&self.worker, &self.shard, call);
    }
}

#[async_trait]
impl RecordProcessor for LedgerProcessor {
    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), ProcessorError> {
        if self.behaviour.cannot_initialize.load(Ordering::Relaxed) {
            return Err("no disk".into());
        }
        self.ledger
            .begin(&self.worker, &self.shard, self.token, shard.start.as_str());
        self.note("initialize");
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
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
