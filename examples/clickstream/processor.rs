//! The application: books every click, and checkpoints about once a second.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::{
    CheckpointError, Checkpointer, LossReason, ProcessorError, RecordBatch, RecordProcessor, ShardContext,
    async_trait,
};
use tokio::time::Instant;

use crate::ledger::{Delivery, Ownership};
use crate::stage::Stage;
use crate::stamp::Stamp;
use crate::takeovers::End;

const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct ClickProcessor {
    stage: Arc<Stage>,
    shard: String,
    ownership: Ownership,
    checkpointed: Instant,
}

impl ClickProcessor {
    pub(crate) fn new(stage: Arc<Stage>, worker: &str, shard: &ShardContext) -> Self {
        let parents: Vec<_> = shard.parents.iter().map(|parent| parent.as_str()).collect();
        let ownership = stage.began(worker, shard.shard_id.as_str(), &parents);
        Self {
            stage,
            shard: shard.shard_id.to_string(),
            ownership,
            checkpointed: Instant::now(),
        }
    }
}

#[async_trait]
impl RecordProcessor for ClickProcessor {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let run = self.stage.run;
        let deliveries = batch.iter().map(|record| Delivery {
            position: record.position(),
            key: record.partition_key(),
            counter: Stamp::of(record.data())
                .filter(|stamp| stamp.run == run)
                .map(|stamp| stamp.counter),
        });
        self.stage.delivered(self.ownership, &self.shard, deliveries);
        if self.checkpointed.elapsed() >= CHECKPOINT_EVERY {
            match checkpointer.checkpoint().await {
                Ok(()) => self.checkpointed = Instant::now(),
                // The batch is done; an error here would only bring it again. The next batch brings the next attempt.
                Err(CheckpointError::LeaseLost(_)) => {}
                Err(error) => self.stage.tell(&format!("{}: {error}", self.shard)),
            }
        }
        Ok(())
    }

    async fn lease_lost(&mut self, reason: &LossReason) {
        self.stage
            .tell(&format!("the lease of {} was lost: {reason}", self.shard));
        self.stage.ended(self.ownership, &self.shard, End::Lost);
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        checkpointer.checkpoint().await?;
        self.stage.ended(self.ownership, &self.shard, End::ShardEnded);
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        checkpointer.checkpoint().await?;
        self.stage.ended(self.ownership, &self.shard, End::HandedOver);
        Ok(())
    }
}
