//! What the application implements: the processor of one shard's records.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kcl_lease::{Checkpoint, ExtendedSequenceNumber, FencingToken, HashRange, LossReason, PendingCheckpoint};

use crate::checkpointer::Checkpointer;
use crate::config::{ShardId, Stream};
use crate::record::{Record, RecordBatch};

/// Processes the records of one shard.
///
/// The worker makes one processor per shard and acquisition of its lease, and calls it strictly serially: never two
/// methods of one processor at a time, batches in the order of the shard. Processors of different shards run
/// concurrently.
///
/// Delivery is at least once: after a crash, or when another worker takes the shard over, records after the last
/// checkpoint are delivered again.
///
/// An `Err` or a panic never skips records: the same call is repeated, with growing pauses, until it succeeds, the
/// lease is lost, or the worker stops (see [`FailurePolicy`](crate::FailurePolicy) for other choices).
///
/// A call is not cancelled, neither when the lease was lost meanwhile nor when the worker stops: a call that outlasts a hand-off
/// or a stop goes on without the lease, until it returns or the runtime ends, as it does when `main` returns. Checkpoints fail
/// with [`CheckpointError::LeaseLost`](crate::CheckpointError::LeaseLost) from then on, and [`Checkpointer::is_lease_valid`] turns
/// false. Only dropping the future of a `run` method, or a second signal to
/// [`run_until_signal`](crate::Worker::run_until_signal), ends a call midway.
#[async_trait]
pub trait RecordProcessor: Send + 'static {
    /// Called before the first batch. `shard` says where reading starts, and which checkpoint was prepared but not
    /// committed by the shard's previous processor.
    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), ProcessorError> {
        let _ = shard;
        Ok(())
    }

    /// Called for each batch, in order.
    ///
    /// [`RecordBatch::gap`] says whether Kinesis may have trimmed records before they could be read. A shard that went
    /// away entirely ends with an empty batch that says so.
    ///
    /// Returning `Ok` says that the batch is done as far as this processor is concerned; it does not checkpoint.
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError>;

    /// Called when another worker owns the shard, or must be assumed to. Checkpointing is over. The last call.
    async fn lease_lost(&mut self, reason: &LossReason) {
        let _ = reason;
    }

    /// Called when the last record of a split or merged shard was processed. Once it returns `Ok` the library records
    /// the end of the shard, and the shard's children may be processed. The last call.
    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        let _ = checkpointer;
        Ok(())
    }

    /// Called when the worker stops or hands the shard to a peer: the last chance to checkpoint. The last call.
    ///
    /// By default, checkpoints the batches for which [`process_records`](Self::process_records) returned `Ok`.
    /// Override it if `Ok` does not mean that their effects are durable.
    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

#[async_trait]
impl<P: RecordProcessor + ?Sized> RecordProcessor for Box<P> {
    async fn initialize(&mut self, shard: &ShardContext) -> Result<(), ProcessorError> {
        (**self).initialize(shard).await
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        (**self).process_records(batch, checkpointer).await
    }

    async fn lease_lost(&mut self, reason: &LossReason) {
        (**self).lease_lost(reason).await;
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        (**self).shard_ended(checkpointer).await
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        (**self).shutdown_requested(checkpointer).await
    }
}

/// Makes the processor of a shard.
pub(crate) type ProcessorFactory = Arc<dyn Fn(&ShardContext) -> Box<dyn RecordProcessor> + Send + Sync>;

/// The shard that a processor works on.
///
/// ```
/// use kcl_core::testing::TestShard;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let shard = TestShard::new().await;
/// println!("{} from {}, token {}", shard.context().shard_id, shard.context().start, shard.context().fencing_token);
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ShardContext {
    /// The stream.
    pub stream: Stream,
    /// The shard.
    pub shard_id: ShardId,
    /// The shard's hash keys, if known.
    pub hash_range: Option<HashRange>,
    /// The shards that were split or merged into this one. Their records were processed before.
    pub parents: Vec<ShardId>,
    /// The last checkpoint: delivery starts behind it, or where the sentinel says.
    pub start: Checkpoint,
    /// A checkpoint that was prepared but not committed, with the application's state.
    pub pending_checkpoint: Option<PendingCheckpoint>,
    /// Grows with every change of the shard's owner: a sink that refuses smaller tokens cannot be written to by a
    /// stale owner. It goes on to grow when the lease table is made anew or restored from a backup.
    pub fencing_token: FencingToken,
}

/// Why a processor failed: any error, or a message.
///
/// Every `std::error::Error + Send + Sync + 'static` converts into it, so `?` works in a processor; so do `&str` and
/// `String`.
///
/// ```
/// # use kcl_core::ProcessorError;
/// fn parse(text: &str) -> Result<u32, ProcessorError> {
///     if text.is_empty() {
///         return Err("nothing to parse".into());
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct ProcessorError {
    error: Box<dyn StdError + Send + Sync>,
    at: Option<Box<ExtendedSequenceNumber>>,
}

impl ProcessorError {
    /// A failure of [`process_records`](RecordProcessor::process_records) that says how far it came: it is done with all records of
    /// the batch before this one, and failed with this one. They are not delivered again, and a checkpoint that names no position
    /// covers them from then on; the batch goes on at this record.
    ///
    /// ```
    /// # use kcl_core::{async_trait, Checkpointer, ProcessorError, Record, RecordBatch, RecordProcessor};
    /// # struct OneByOne;
    /// # impl OneByOne { async fn store(&self, _: &Record) -> Result<(), std::io::Error> { Ok(()) } }
    /// # #[async_trait]
    /// # impl RecordProcessor for OneByOne {
    /// async fn process_records(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
    ///     for record in batch {
    ///         self.store(record).await.map_err(|error| ProcessorError::at(record, error))?;
    ///     }
    ///     checkpointer.checkpoint().await?;
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn at(record: &Record, error: impl Into<Self>) -> Self {
        Self {
            at: Some(Box::new(record.position().clone())),
            ..error.into()
        }
    }

    /// The record that was named, if one was.
    pub(crate) fn position(&self) -> Option<&ExtendedSequenceNumber> {
        self.at.as_deref()
    }

    /// The error itself, for its sources or for downcasting.
    pub fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }

    /// From what a panic left behind.
    pub(crate) fn from_panic(payload: Box<dyn std::any::Any + Send>) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        format!("the processor panicked: {message}").into()
    }

    /// The message with the messages of all sources, for status and logs.
    pub(crate) fn chain(&self) -> String {
        chain(&*self.error)
    }
}

/// An error's message, followed by the messages of its sources.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for ProcessorError {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            at: None,
        }
    }
}

impl fmt::Display for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn errors_texts_and_boxed_errors_convert() {
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        for (error, text) in [
            (ProcessorError::from("text"), "text"),
            (ProcessorError::from(String::from("owned")), "owned"),
            (ProcessorError::from(boxed), "boxed"),
            (
                ProcessorError::from(fmt::Error),
                "an error occurred when formatting an argument",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn the_chain_names_all_sources() {
        let error = ProcessorError::from(Outer("x".parse::<u8>().expect_err("no number")));
        assert_eq!(error.chain(), "outer: invalid digit found in string");
        assert!(error.as_error().downcast_ref::<Outer>().is_some());
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let caught = std::panic::catch_unwind(|| panic!("out of {}", "luck")).expect_err("panicked");
        assert_eq!(
            ProcessorError::from_panic(caught).to_string(),
            "the processor panicked: out of luck"
        );
    }
}
