//! A shard without a stream: its lease lies in memory, and a test plays the worker.

use std::sync::Arc;
use std::time::Duration;

use kcl_lease::{
    Checkpoint, Environment, HashRange, HeldLease, Lease, LeaseStore, LossReason, MemoryLeaseStore, Metrics,
    testing,
};

use crate::begin::Begin;
use crate::checkpointer::Checkpointer;
use crate::config::{ShardId, Stream};
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};
use crate::status::{ShardMonitor, ShardStatus};

/// A shard whose lease is held, for one processor. The test calls what a worker would call, and nothing is repeated.
#[derive(Debug)]
pub struct TestShard {
    held: HeldLease,
    context: ShardContext,
    checkpointer: Checkpointer,
}

impl TestShard {
    /// Shard `shardId-000000000000` of a stream `test`, from its beginning.
    pub async fn new() -> Self {
        Self::starting_at(Checkpoint::TrimHorizon).await
    }

    /// The same, with a checkpoint in its lease.
    pub async fn starting_at(checkpoint: Checkpoint) -> Self {
        Self::in_store(Arc::new(MemoryLeaseStore::new()), checkpoint).await
    }

    /// The same, with its lease in a table of your own: one whose writes fail, say.
    ///
    /// # Panics
    /// The table does not take the lease.
    #[expect(clippy::panic, reason = "a test cannot go on without it")]
    pub async fn in_store(store: Arc<dyn LeaseStore>, checkpoint: Checkpoint) -> Self {
        let env = Environment::system();
        let shard_id = ShardId::from("shardId-000000000000");
        let lease = Lease::new(shard_id.lease_key(), checkpoint).with_hash_range(HashRange::FULL);
        let held = match HeldLease::alone(store, &lease, "test".into(), env.clone()).await {
            Ok(Some(held)) => held,
            other => panic!("the table does not take the lease of a test: {other:?}"),
        };
        let lease = held.lease();
        let context = ShardContext {
            stream: Stream::parse("test").unwrap_or_else(|error| unreachable!("a name: {error}")),
            shard_id,
            hash_range: lease.hash_range,
            parents: Vec::new(),
            start: lease.checkpoint,
            pending_checkpoint: lease.pending_checkpoint,
            fencing_token: held.fencing_token(),
            failures: None,
        };
        let monitor = Arc::new(ShardMonitor::new(held.key().as_str(), Metrics::default()));
        Self {
            checkpointer: Checkpointer::new(held.clone(), env, monitor),
            held,
            context,
        }
    }

    /// What [`initialize`](RecordProcessor::initialize) is given.
    pub fn context(&self) -> &ShardContext {
        &self.context
    }

    /// The same, to be changed.
    pub fn context_mut(&mut self) -> &mut ShardContext {
        &mut self.context
    }

    /// What the processor checkpoints with.
    pub fn checkpointer(&self) -> &Checkpointer {
        &self.checkpointer
    }

    /// Calls [`initialize`](RecordProcessor::initialize), once, and notes where it says that delivery begins.
    ///
    /// # Errors
    /// What the processor answers. A worker would repeat the call.
    pub async fn initialize<P: RecordProcessor + ?Sized>(
        &mut self,
        processor: &mut P,
    ) -> Result<Begin, ProcessorError> {
        let begin = processor.initialize(&self.context, &self.checkpointer).await?;
        self.checkpointer.rules().begin(&begin);
        Ok(begin)
    }

    /// Calls [`process_records`](RecordProcessor::process_records), once.
    ///
    /// # Errors
    /// What the processor answers. A worker would repeat the call.
    pub async fn process<P: RecordProcessor + ?Sized>(
        &mut self,
        processor: &mut P,
        batch: &RecordBatch,
    ) -> Result<(), ProcessorError> {
        let last = batch.records().last().map(Record::position);
        self.checkpointer.rules().batch_begins(last);
        let result = processor.process_records(batch, &self.checkpointer).await;
        self.checkpointer.rules().batch_ends(result.is_ok());
        result
    }

    /// Calls [`shard_ended`](RecordProcessor::shard_ended), and records the end if it succeeds.
    ///
    /// # Errors
    /// What the processor answers, or the table.
    pub async fn end<P: RecordProcessor + ?Sized>(
        &mut self,
        processor: &mut P,
    ) -> Result<(), ProcessorError> {
        processor.shard_ended(&self.checkpointer).await?;
        self.held.checkpoint(Checkpoint::ShardEnd).await?;
        self.checkpointer.rules().written(Checkpoint::ShardEnd);
        Ok(())
    }

    /// Calls [`shutdown_requested`](RecordProcessor::shutdown_requested), and gives the lease up.
    ///
    /// # Errors
    /// What the processor answers, or the table.
    pub async fn shut_down<P: RecordProcessor + ?Sized>(
        &mut self,
        processor: &mut P,
    ) -> Result<(), ProcessorError> {
        processor.shutdown_requested(&self.checkpointer).await?;
        self.held.give_up().await?;
        Ok(())
    }

    /// Another worker takes the lease: checkpoints fail, and [`lease_lost`](RecordProcessor::lease_lost) is called.
    pub async fn lose<P: RecordProcessor + ?Sized>(&mut self, processor: &mut P) {
        let reason = LossReason::TakenBy("another-worker".into());
        testing::lose(&self.held, reason.clone());
        processor.lease_lost(&reason).await;
    }

    /// What a worker's status would say of the shard: what the processor does beside its calls is told there.
    pub fn status(&self) -> ShardStatus {
        let checkpoint = self.checkpointer.last_checkpoint().to_string();
        self.checkpointer.monitor().status(checkpoint, Duration::MAX)
    }

    /// The checkpoints that were written, in order, as the lease table has them: a sequence number, with `:` and a sub-sequence
    /// number if that is not 0, or `SHARD_END`.
    pub fn checkpoints(&self) -> Vec<String> {
        self.checkpointer.rules().all_written().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::testing::batch;

    /// Checkpoints at each record, and says what it was told at the end.
    #[derive(Default)]
    struct EachRecord(Vec<String>);

    #[async_trait]
    impl RecordProcessor for EachRecord {
        async fn process_records(
            &mut self,
            batch: &RecordBatch,
            checkpointer: &Checkpointer,
        ) -> Result<(), ProcessorError> {
            for record in batch {
                checkpointer.checkpoint_at(record).await?;
            }
            Ok(())
        }

        async fn lease_lost(&mut self, reason: &LossReason) {
            self.0.push(reason.to_string());
        }
    }

    #[tokio::test]
    async fn every_checkpoint_is_seen_and_the_end() {
        let (mut shard, mut processor) = (TestShard::new().await, EachRecord::default());
        shard
            .process(&mut processor, &batch(["a", "b"]))
            .await
            .expect("processed");
        shard.end(&mut processor).await.expect("ended");
        assert_eq!(shard.checkpoints(), ["1", "2", "SHARD_END"]);
    }

    #[tokio::test]
    async fn a_checkpoint_beyond_what_was_delivered_is_refused_as_by_a_worker() {
        let mut shard = TestShard::starting_at(Checkpoint::TrimHorizon).await;
        let next = crate::testing::record("c").sequence_number(3).build();
        let refused = shard.checkpointer().checkpoint_at(&next).await;
        assert!(refused.is_err());
        let mut processor = EachRecord::default();
        shard
            .process(&mut processor, &batch(["a"]))
            .await
            .expect("processed");
        shard.shut_down(&mut processor).await.expect("given up");
        assert!(shard.process(&mut processor, &batch(["a", "b"])).await.is_err());
    }

    #[tokio::test]
    async fn who_loses_the_lease_is_told_and_writes_nothing() {
        let (mut shard, mut processor) = (TestShard::new().await, EachRecord::default());
        shard.lose(&mut processor).await;
        assert_eq!(processor.0, ["taken by another-worker"]);
        assert!(shard.process(&mut processor, &batch(["a"])).await.is_err());
        assert_eq!(shard.checkpoints(), [""; 0]);
    }

    /// Keeps positions elsewhere.
    struct Elsewhere(&'static str);

    #[async_trait]
    impl RecordProcessor for Elsewhere {
        async fn initialize(&mut self, _: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
            Ok(Begin::Behind(self.0.parse()?))
        }

        async fn process_records(&mut self, _: &RecordBatch, _: &Checkpointer) -> Result<(), ProcessorError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn where_a_processor_begins_may_be_checkpointed_and_no_later_record() {
        let (mut shard, mut processor) = (TestShard::new().await, Elsewhere("7"));
        let begin = shard.initialize(&mut processor).await.expect("initialized");
        assert_eq!(begin, Begin::Behind("7".parse().expect("a position")));
        let next = crate::testing::record("x").sequence_number(8).build();
        assert!(shard.checkpointer().checkpoint_at(&next).await.is_err());
        shard.checkpointer().checkpoint().await.expect("where it begins");
        assert_eq!(shard.checkpoints(), ["7"]);
        assert!(shard.initialize(&mut Elsewhere("yesterday")).await.is_err());
    }
}
