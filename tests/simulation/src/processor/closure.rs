//! Batches that are given to a closure, as `each_batch` does it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::{
    Checkpointer, EachBatch, ProcessorError, RecordBatch, RecordProcessor, ShardContext, each_batch,
};

use super::Hand;
use super::stage::Manner;

/// The closure of one shard. It does what a processor does.
#[derive(Debug)]
pub(super) struct Closure {
    each: EachBatch,
    /// In what way it is to do that with the next batch.
    manner: Arc<Mutex<(Manner, Duration)>>,
}

impl Closure {
    /// Whether the worker of this life was given one: every fourth.
    pub(super) fn is_given_to(who: &str) -> bool {
        who.bytes().map(u32::from).sum::<u32>() % 4 == 1
    }

    pub(super) fn new(hand: Hand, shard: &ShardContext) -> Self {
        let manner = Arc::new(Mutex::new((Manner::Good, Duration::ZERO)));
        let its = manner.clone();
        let processors = each_batch(async move |batch: &RecordBatch, checkpointer: &Checkpointer| {
            let manner = *its.lock().unwrap_or_else(PoisonError::into_inner);
            hand.work(batch, checkpointer, manner).await
        });
        Self {
            each: processors(shard),
            manner,
        }
    }

    pub(super) async fn process(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
        manner: (Manner, Duration),
    ) -> Result<(), ProcessorError> {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
        self.each.process_records(batch, checkpointer).await
    }

    pub(super) async fn shutdown_requested(
        &mut self,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.each.shutdown_requested(checkpointer).await
    }
}
