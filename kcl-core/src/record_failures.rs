//! What is done about records of one shard that fail, as whoever handles them asks for it.

use std::fmt;

use async_trait::async_trait;

use crate::config::{Failure, FailurePolicy, Reaction};
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};

/// The failure policy, the application's own decisions and the dead letters, for one shard.
#[async_trait]
pub(crate) trait RecordFailures: fmt::Debug + Send + Sync {
    fn policy(&self) -> &FailurePolicy;

    /// What to do with the records of a batch, or of a piece of one, that failed.
    fn react(&self, failure: &Failure, batch: &RecordBatch, error: &ProcessorError) -> Reaction;

    /// Writes records to the dead letters. An error is what to tell of that beside why they failed.
    async fn give_up(
        &self,
        failure: &Failure,
        error: &ProcessorError,
        records: &[Record],
    ) -> Result<(), String>;

    /// Stops the worker, since this call keeps failing.
    fn stop(&self, call: &'static str, error: &ProcessorError);
}
