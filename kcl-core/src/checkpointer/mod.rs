//! How a processor says how far it got.

mod rules;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kcl_lease::{
    Checkpoint, Environment, ExtendedSequenceNumber, FencingToken, HeldLease, HeldState, LeaseKey,
    LeaseWriteError, LossReason, PendingCheckpoint, SequenceNumber, StoreError, StoreErrorKind,
};

use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

pub(crate) use self::rules::CheckpointRules;
pub use self::rules::OutOfRange;
use crate::record::Record;
use crate::retry::Retry;
use crate::spans;
use crate::status::ShardMonitor;

/// For how long a write is repeated that the table does not take.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Why a checkpoint was not made.
///
/// ```
/// # use kcl_core::{CheckpointError, Checkpointer};
/// async fn checkpoint(checkpointer: &Checkpointer) -> Result<(), CheckpointError> {
///     match checkpointer.checkpoint().await {
///         Err(error) if error.is_retryable() => Ok(()), // the next batch's checkpoint covers this one
///         other => other,
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Another worker owns the shard, or must be assumed to. Stop working on it: the records after the last
    /// checkpoint are processed elsewhere.
    #[error("the lease of this shard is lost ({0}): stop processing it, another worker continues")]
    LeaseLost(LossReason),
    /// The position lies before the last checkpoint or behind what was delivered.
    #[error(transparent)]
    OutOfRange(#[from] Box<OutOfRange>),
    /// The lease table is over its capacity, although the checkpoint was repeated for ten seconds. Try again later, or
    /// checkpoint less often.
    #[error("the lease table throttles; checkpoint again later or less often: {0}")]
    Throttled(#[source] StoreError),
    /// The lease table refused the request, or could not be reached although it was tried for ten seconds. Try again later.
    #[error("the lease table is not available; checkpoint again later: {0}")]
    Unavailable(#[source] StoreError),
}

impl CheckpointError {
    /// Whether the same checkpoint may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable(_))
    }

    /// Its name in numbers, which does not change.
    fn code(&self) -> &'static str {
        match self {
            Self::LeaseLost(reason) => reason.code(),
            Self::OutOfRange(_) => "out-of-range",
            Self::Throttled(error) | Self::Unavailable(error) => error.kind().code(),
        }
    }

    /// Whether it may pass within seconds.
    fn is_passing(&self) -> bool {
        matches!(self, Self::Throttled(error) | Self::Unavailable(error) if error.is_retryable())
    }
}

impl From<LeaseWriteError> for CheckpointError {
    fn from(error: LeaseWriteError) -> Self {
        match error {
            LeaseWriteError::Lost(reason) => Self::LeaseLost(reason),
            LeaseWriteError::Store(error) if error.kind() == StoreErrorKind::Throttled => {
                Self::Throttled(error)
            }
            LeaseWriteError::Store(error) => Self::Unavailable(error),
            other => {
                let kind = StoreErrorKind::Unavailable;
                Self::Unavailable(StoreError::new(kind, "writing a lease", "", other.to_string()))
            }
        }
    }
}

/// Records how far one shard was processed. Clones may be kept and used from other tasks, between
/// [`initialize`](crate::RecordProcessor::initialize) and the loss of the lease.
///
/// A checkpoint at a record says: this record and all before it are done. It never moves backwards, and never passes
/// a record that was not delivered. Checkpointing where the last checkpoint is writes nothing.
///
/// The end of a shard is recorded by the library, once
/// [`shard_ended`](crate::RecordProcessor::shard_ended) returned `Ok`.
///
/// What the lease table does not take, because it throttles or cannot be reached, is repeated for ten seconds while the lease
/// is held, before the caller hears of it.
///
/// ```
/// use kcl_core::testing::{self, TestShard};
/// # use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor};
///
/// # struct Halfway;
/// # #[async_trait]
/// # impl RecordProcessor for Halfway {
/// async fn process_records(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
///     checkpointer.checkpoint_at(&batch.records()[0]).await?; // this record and all before it are done
///     checkpointer.checkpoint().await?; // the whole batch is
///     Ok(())
/// }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ProcessorError> {
/// # let mut shard = TestShard::new().await;
/// # shard.process(&mut Halfway, &testing::batch(["a", "b"])).await?;
/// # assert_eq!(shard.checkpoints(), ["1", "2"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Checkpointer {
    shared: Arc<Shared>,
}

struct Shared {
    lease: HeldLease,
    env: Environment,
    /// Where those who process the shard beside its calls say how that goes.
    monitor: Arc<ShardMonitor>,
    rules: Mutex<CheckpointRules>,
    /// Held from the check of a position to the end of its write, so that checkpoints are made in the order of calls.
    turn: tokio::sync::Mutex<()>,
}

impl Checkpointer {
    pub(crate) fn new(lease: HeldLease, env: Environment, monitor: Arc<ShardMonitor>) -> Self {
        let row = lease.lease();
        let pending = row.pending_checkpoint.map(|pending| pending.checkpoint);
        let rules = CheckpointRules::new(row.checkpoint, pending);
        Self {
            shared: Arc::new(Shared {
                lease,
                env,
                monitor,
                rules: Mutex::new(rules),
                turn: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Checkpoints at the end of the batch just delivered.
    ///
    /// Inside [`process_records`](crate::RecordProcessor::process_records) that is the last record of the batch at
    /// hand. Elsewhere it is the last record of those batches for which `process_records` returned `Ok`.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let _turn = self.shared.turn.lock().await;
        let target = self.rules().implied();
        self.write(target).await
    }

    /// Checkpoints at a record: it and all before it are done.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint_at(&self, record: &Record) -> Result<(), CheckpointError> {
        self.checkpoint_at_position(record.position().clone()).await
    }

    /// Checkpoints at a sequence number and the index of the user record inside it (0 for a plain record).
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn checkpoint_at_sequence(
        &self,
        sequence: &SequenceNumber,
        sub_sequence: u64,
    ) -> Result<(), CheckpointError> {
        self.checkpoint_at_position(ExtendedSequenceNumber {
            sequence: sequence.clone(),
            sub_sequence,
        })
        .await
    }

    /// Announces a checkpoint at the end of the batch just delivered (see [`checkpoint`](Self::checkpoint)), with
    /// opaque state of the application. After a crash before the commit both are given to the next processor's
    /// [`initialize`](crate::RecordProcessor::initialize).
    ///
    /// Where the last checkpoint is, nothing is written and committing does nothing.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn prepare(&self, state: Option<Bytes>) -> Result<PreparedCheckpoint, CheckpointError> {
        let _turn = self.shared.turn.lock().await;
        let target = self.rules().implied();
        self.write_pending(target, state).await
    }

    /// Announces a checkpoint at a record. See [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn prepare_at(
        &self,
        record: &Record,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        let _turn = self.shared.turn.lock().await;
        self.write_pending(Checkpoint::At(record.position().clone()), state)
            .await
    }

    /// The last checkpoint that was written.
    pub fn last_checkpoint(&self) -> Checkpoint {
        self.rules().last().clone()
    }

    /// Whether the lease is held and was renewed within the fail-over time. Once false, another worker may be
    /// processing the shard: look at it before effects that must not happen twice.
    pub fn is_lease_valid(&self) -> bool {
        self.shared.lease.is_valid()
    }

    /// Grows with every change of the shard's owner.
    pub fn fencing_token(&self) -> FencingToken {
        self.shared.lease.fencing_token()
    }

    /// Completes when the lease is lost, with the reason. For long calls of a processor that would rather stop early.
    pub async fn lease_lost(&self) -> LossReason {
        let mut state = self.shared.lease.watch();
        loop {
            if let HeldState::Lost(reason) = &*state.borrow_and_update() {
                return reason.clone();
            }
            if state.changed().await.is_err() {
                return match self.shared.lease.held_state() {
                    HeldState::Lost(reason) => reason,
                    _ => LossReason::Expired,
                };
            }
        }
    }

    /// Completes when the lease is to be given up, or is lost.
    pub(crate) async fn leaving(&self) {
        let mut state = self.shared.lease.watch();
        let leaves = |state: &HeldState| !matches!(state, HeldState::Held);
        // The lease holds the other end.
        let _ = state.wait_for(leaves).await;
    }

    pub(crate) fn shard(&self) -> &LeaseKey {
        self.shared.lease.key()
    }

    pub(crate) fn env(&self) -> &Environment {
        &self.shared.env
    }

    pub(crate) fn monitor(&self) -> &ShardMonitor {
        &self.shared.monitor
    }

    pub(crate) fn rules(&self) -> MutexGuard<'_, CheckpointRules> {
        self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn checkpoint_at_position(
        &self,
        position: ExtendedSequenceNumber,
    ) -> Result<(), CheckpointError> {
        let _turn = self.shared.turn.lock().await;
        self.write(Checkpoint::At(position)).await
    }

    fn check_held(&self) -> Result<(), CheckpointError> {
        match self.shared.lease.held_state() {
            HeldState::Lost(reason) => Err(CheckpointError::LeaseLost(reason)),
            _ => Ok(()),
        }
    }

    /// Repeats a write that may succeed in a moment. One that fails makes the processor fail, and its whole batch come again.
    async fn insist<W>(&self, write: impl Fn() -> W) -> Result<(), CheckpointError>
    where
        W: Future<Output = Result<(), LeaseWriteError>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut retry = Retry::new(self.shared.env.clone(), FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let Err(error) = write().await.map_err(CheckpointError::from) else {
                return Ok(());
            };
            let pause = retry.pause();
            if !error.is_passing() || !self.is_lease_valid() || Instant::now() + pause > deadline {
                self.rules().refused();
                return Err(error);
            }
            tracing::debug!(shard = %self.shared.lease.key(), %error, "a checkpoint is repeated");
            tokio::select! {
                biased;
                reason = self.lease_lost() => return Err(CheckpointError::LeaseLost(reason)),
                () = sleep(pause) => {}
            }
        }
    }

    async fn write(&self, target: Checkpoint) -> Result<(), CheckpointError> {
        let began = Instant::now();
        let result = self.write_if_due(target).await;
        let failure = match &result {
            Ok(false) => return Ok(()),
            Ok(true) => None,
            Err(error) => Some(error.code()),
        };
        self.shared.monitor.checkpoint_took(began.elapsed(), failure);
        result.map(|_| ())
    }

    /// Whether there was something to write.
    async fn write_if_due(&self, target: Checkpoint) -> Result<bool, CheckpointError> {
        self.check_held()?;
        if !self.rules().is_due(&target)? {
            return Ok(false);
        }
        let span = spans::checkpoint(self.shared.lease.key(), &target);
        self.insist(|| self.shared.lease.checkpoint(target.clone()))
            .instrument(span.clone())
            .await
            .inspect_err(|error| spans::failed(&span, || error.to_string()))?;
        self.rules().written(target);
        Ok(true)
    }

    async fn write_pending(
        &self,
        target: Checkpoint,
        state: Option<Bytes>,
    ) -> Result<PreparedCheckpoint, CheckpointError> {
        self.check_held()?;
        if self.rules().is_due(&target)? {
            let pending = PendingCheckpoint::new(target.clone(), state);
            self.insist(|| self.shared.lease.prepare_checkpoint(pending.clone()))
                .await?;
        }
        Ok(PreparedCheckpoint {
            checkpointer: self.clone(),
            checkpoint: target,
        })
    }
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpointer")
            .field("shard", self.shared.lease.key())
            .field("last_checkpoint", &self.last_checkpoint())
            .finish_non_exhaustive()
    }
}

/// A checkpoint that was announced and can be committed.
///
/// ```
/// # use kcl_core::{Checkpointer, ProcessorError};
/// async fn in_two_steps(checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
///     let prepared = checkpointer.prepare(Some("file-7".into())).await?;
///     // Move the file into place. After a crash in between, `initialize` gets the state back.
///     prepared.commit().await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
#[must_use = "a prepared checkpoint is not made until it is committed"]
pub struct PreparedCheckpoint {
    checkpointer: Checkpointer,
    checkpoint: Checkpoint,
}

impl PreparedCheckpoint {
    /// The position that will be committed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Makes the checkpoint; the announcement and its state are cleared. May be repeated after a retryable error.
    ///
    /// # Errors
    /// See [`CheckpointError`]; out of range when a later checkpoint was made meanwhile.
    pub async fn commit(&self) -> Result<(), CheckpointError> {
        let _turn = self.checkpointer.shared.turn.lock().await;
        self.checkpointer.write(self.checkpoint.clone()).await
    }
}
