//! What is done about the failures of one shard.

use async_trait::async_trait;
use kcl_lease::Environment;

use super::{FailedRecords, Failures};
use crate::config::{Failure, FailurePolicy, Reaction, ShardId, Stream};
use crate::dead_letters::{DeadLetter, GivenUp};
use crate::error::Error;
use crate::processor_error::{ProcessorError, chain};
use crate::record::{Record, RecordBatch};
use crate::record_failures::RecordFailures;

/// [`Failures`] of a worker, and one shard of it.
#[derive(Debug)]
pub(crate) struct ShardFailures {
    pub(crate) all: Failures,
    pub(crate) stream: Stream,
    pub(crate) shard: ShardId,
    pub(crate) env: Environment,
}

impl ShardFailures {
    fn letters(&self, failure: &Failure, error: &ProcessorError, records: &[Record]) -> Vec<DeadLetter> {
        let given_up_at = self.env.now();
        let given_up = GivenUp {
            application: &self.all.application,
            worker: &self.all.worker,
            stream: &self.stream,
            shard_id: &self.shard,
            error: error.as_error(),
            attempts: failure.attempts,
            first_failed_at: given_up_at.checked_sub(failure.lasted).unwrap_or(given_up_at),
            given_up_at,
        };
        let letters = records.iter().map(|record| DeadLetter::new(record, &given_up));
        letters.collect()
    }
}

#[async_trait]
impl RecordFailures for ShardFailures {
    fn policy(&self) -> &FailurePolicy {
        &self.all.policy
    }

    fn react(&self, failure: &Failure, batch: &RecordBatch, error: &ProcessorError) -> Reaction {
        let policy = self.all.policy.react(failure);
        let failed = FailedRecords {
            shard_id: &self.shard,
            batch,
            error,
            attempts: failure.attempts,
            age: failure.lasted,
            policy: policy.into(),
        };
        self.all.handler.react(policy, &failed)
    }

    async fn give_up(
        &self,
        failure: &Failure,
        error: &ProcessorError,
        records: &[Record],
    ) -> Result<(), String> {
        let Some(sink) = &self.all.dead_letters else {
            return Err("there are no dead letters to give it up to".to_owned());
        };
        let letters = self.letters(failure, error, records);
        let written = sink.write(&letters).await;
        written.map_err(|error| format!("it cannot be written to the dead letters: {}", chain(&error)))?;
        tracing::error!(
            shard = %self.shard, error = %error.chain(), records = records.len(), record = ?records.first(),
            "gave up what fails, and wrote it to the dead letters"
        );
        Ok(())
    }

    fn stop(&self, call: &'static str, error: &ProcessorError) {
        // Where nobody listens, the worker stops already.
        let _ = self.all.fatal.send(Error::Processor {
            stream: self.stream.name().to_owned(),
            shard: self.shard.to_string(),
            call,
            error: error.chain(),
        });
    }
}
