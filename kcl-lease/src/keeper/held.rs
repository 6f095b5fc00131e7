//! One held lease and its single writer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as WriterMutex, watch};
use tokio::time::Instant;

use super::held_state::{HeldState, LeaseWriteError, LossReason};
use super::holder::Holder;
use super::resolve::{Verdict, gives_away, resolve};
use super::term::Moment;
use super::throughput::Throughput;
use crate::checkpoint::{Checkpoint, PendingCheckpoint};
use crate::ids::{FencingToken, LeaseKey, WorkerId};
use crate::lease::Lease;
use crate::metrics::{Counter, Labels};
use crate::seat::Unfinished;
use crate::store::{LeaseChange, StoreError, StoreErrorKind, WriteOutcome};

/// A lease that this worker holds. Clones are the same lease.
///
/// All writes to the row go through one writer inside, so a renewal, a checkpoint and a hand-off of the same process
/// never race. Every successful write is also a renewal.
///
/// ```
/// use kcl_lease::{Checkpoint, HeldLease, LeaseWriteError};
///
/// async fn done_up_to(lease: &HeldLease, checkpoint: Checkpoint) -> Result<(), LeaseWriteError> {
///     lease.checkpoint(checkpoint).await // fails once the lease is another worker's
/// }
/// ```
#[derive(Clone)]
pub struct HeldLease {
    inner: Arc<Inner>,
}

struct Inner {
    holder: Arc<Holder>,
    key: LeaseKey,
    /// Held while a write is under way.
    writer: WriterMutex<()>,
    /// The row as last written or read. Changed only by the holder of `writer`.
    state: Mutex<State>,
    throughput: Mutex<Throughput>,
    held_state: watch::Sender<HeldState>,
}

#[derive(Debug)]
struct State {
    lease: Lease,
    token: FencingToken,
    /// When the last write that is known to have succeeded was sent.
    renewed_at: Option<Moment>,
    /// The counter with which the lease was given away. The next owner may have moved it by the time that it is read.
    given_at: Option<u64>,
    /// From when on the next owner may have begun, whether or not we have heard of it.
    is_giving_up: bool,
    /// Whether the first write is done, which carries out what an operator ordered before.
    has_begun: bool,
}

/// A clock that is beyond the year 9999 says nothing: in milliseconds since the Unix epoch. Counters stay whole numbers in JSON.
const LATEST: u64 = 253_402_300_799_999;

/// Rows that change under a writer this often in a row are left to the next attempt.
const MAX_ATTEMPTS: usize = 4;

impl HeldLease {
    pub(super) fn new(holder: Arc<Holder>, lease: Lease) -> Self {
        let token = FencingToken::new(lease.counter);
        let inner = Inner {
            holder,
            key: lease.key.clone(),
            writer: WriterMutex::new(()),
            throughput: Mutex::new(Throughput::continuing(lease.throughput_kbps, Instant::now())),
            state: Mutex::new(State {
                lease,
                token,
                renewed_at: None,
                given_at: None,
                is_giving_up: false,
                has_begun: false,
            }),
            held_state: watch::Sender::new(HeldState::Held),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The lease's key.
    pub fn key(&self) -> &LeaseKey {
        &self.inner.key
    }

    /// The row as last written or read; at acquisition it was read consistently.
    pub fn lease(&self) -> Lease {
        self.state().lease.clone()
    }

    /// Whether the shard was processed to its end.
    pub fn has_ended(&self) -> bool {
        self.state().lease.has_ended()
    }

    /// Whether the shard is paused, whoever owns it.
    pub fn is_paused(&self) -> bool {
        self.state().lease.paused_since.is_some()
    }

    /// Grows with every change of owner.
    pub fn fencing_token(&self) -> FencingToken {
        self.state().token
    }

    /// Where this worker stands with the lease.
    pub fn held_state(&self) -> HeldState {
        self.inner.held_state.borrow().clone()
    }

    /// Follows changes of it.
    pub fn watch(&self) -> watch::Receiver<HeldState> {
        self.inner.held_state.subscribe()
    }

    /// Whether nobody else can own the lease at this moment: neither lost nor being given up, and renewed within the
    /// fail-over time by a request sent no longer ago than that.
    pub fn is_valid(&self) -> bool {
        !self.is_lost() && !self.state().is_giving_up && !self.has_expired()
    }

    /// Records progress. Clears a pending checkpoint.
    ///
    /// Progress never moves back: of two checkpoints under way at once the later position wins, and one before the
    /// present checkpoint changes nothing.
    ///
    /// # Errors
    /// [`LeaseWriteError::Lost`] if the lease is no longer held; otherwise nothing is known to have been written, and
    /// the call may be repeated.
    pub async fn checkpoint(&self, to: Checkpoint) -> Result<(), LeaseWriteError> {
        let throughput_kbps = self.throughput_due(self.inner.holder.timers.renewal());
        self.write(move |lease| {
            (to >= lease.checkpoint).then(|| LeaseChange::Checkpoint {
                throughput_kbps,
                checkpoint: to.clone(),
                pending: None,
            })
        })
        .await
    }

    /// Records a checkpoint to be made later; the checkpoint itself stays.
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`].
    pub async fn prepare_checkpoint(&self, pending: PendingCheckpoint) -> Result<(), LeaseWriteError> {
        let throughput_kbps = self.throughput_due(self.inner.holder.timers.renewal());
        self.write(move |lease| {
            (!lease.has_ended()).then(|| LeaseChange::Checkpoint {
                throughput_kbps,
                checkpoint: lease.checkpoint.clone(),
                pending: Some(pending.clone()),
            })
        })
        .await
    }

    /// Records when reading at the latest record began, in milliseconds since the Unix epoch, unless an earlier owner
    /// did.
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`].
    pub async fn record_reading_since(&self, millis: u64) -> Result<(), LeaseWriteError> {
        self.write(move |lease| {
            lease
                .reading_since
                .is_none()
                .then_some(LeaseChange::ReadingSince(millis))
        })
        .await
    }

    /// Records that the shard is paused, whoever owns it, since then (in milliseconds since the Unix epoch), or no longer.
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`].
    pub async fn record_pause(&self, since: Option<u64>) -> Result<(), LeaseWriteError> {
        self.write(move |lease| {
            (lease.paused_since.is_some() != since.is_some()).then_some(LeaseChange::PausedSince(since))
        })
        .await
    }

    /// Records the shard ids of the children of an ended shard.
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`].
    pub async fn record_children(&self, children: BTreeSet<String>) -> Result<(), LeaseWriteError> {
        self.write(move |_| Some(LeaseChange::Children(children.clone())))
            .await
    }

    /// Gives the lease up: to the next owner of a hand-off, to the successor named when the worker leaves, or, if that
    /// one has left meanwhile or nobody is named, to whomever the leader picks. Afterwards it is lost with
    /// [`LossReason::GivenUp`].
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`]. The caller should have stopped processing before.
    pub async fn give_up(&self) -> Result<(), LeaseWriteError> {
        self.state().is_giving_up = true;
        for _ in 0..MAX_ATTEMPTS {
            let next = self.next_owner(&self.lease());
            let is_gone = match &next {
                // Whoever left takes no more leases: theirs would lie idle until they expire.
                Some(next) => matches!(self.inner.holder.store.is_announced(next).await, Ok(false)),
                None => false,
            };
            let this = self.clone();
            self.write(move |lease| {
                let is_as_known = this.next_owner(lease) == next;
                is_as_known.then(|| Self::giving_away(lease, next.clone().filter(|_| !is_gone)))
            })
            .await?;
            let row = self.lease();
            if row.actual_owner() != Some(&self.inner.holder.worker) {
                let given_at = self.state().given_at;
                if let Some((next, counter)) = row.owner.zip(given_at) {
                    self.inner.holder.leave(&self.inner.key, next, counter);
                }
                self.lose(LossReason::GivenUp);
                return Ok(());
            }
        }
        Err(self.changes_too_fast().into())
    }

    /// One step towards giving the lease to somebody, or to nobody.
    fn giving_away(lease: &Lease, next: Option<WorkerId>) -> LeaseChange {
        match next {
            Some(to) => LeaseChange::Assign { to },
            // It is to a worker that is gone.
            None if lease.is_in_hand_off() => LeaseChange::CancelHandOff,
            None => LeaseChange::Release,
        }
    }

    /// Who is to have the lease next, if that is known.
    fn next_owner(&self, lease: &Lease) -> Option<WorkerId> {
        match self.held_state() {
            _ if lease.is_in_hand_off() => lease.owner.clone(),
            // Nothing is left to be done.
            _ if lease.has_ended() => None,
            HeldState::Draining { to } => to,
            _ => None,
        }
    }

    /// The throughput, if it was last asked for at least so long ago.
    fn throughput_due(&self, least: Duration) -> Option<f64> {
        let throughput = self.inner.throughput.lock();
        let mut throughput = throughput.unwrap_or_else(PoisonError::into_inner);
        throughput.due(Instant::now(), least)
    }

    /// Holds the lease no longer, without a word to the table, as a crash would: the row names this worker until somebody else
    /// takes it after the fail-over time, or this worker finds it and acquires it anew.
    pub fn forsake(&self) {
        self.lose(LossReason::GivenUp);
    }

    /// Counts processed bytes for the throughput that is published with renewals, and with checkpoints that take their place.
    /// None at all says that the shard is processed from now on, and so that it has no throughput if nothing follows.
    pub fn record_throughput(&self, bytes: u64) {
        self.inner
            .throughput
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record(bytes);
    }

    /// Renews the lease now, and so confirms that its row is still there and still this worker's. (Held leases are renewed
    /// by themselves.)
    ///
    /// # Errors
    /// As [`HeldLease::checkpoint`].
    pub async fn renew(&self) -> Result<(), LeaseWriteError> {
        let throughput_kbps = self.throughput_due(Duration::ZERO);
        self.write(move |_| Some(LeaseChange::Renew { throughput_kbps }))
            .await
    }

    /// The first write: from now on the lease is this process's, and its token is the counter after it.
    pub(super) async fn begin(&self) -> Result<(), LeaseWriteError> {
        let process = self.inner.holder.process.clone();
        // One time for all attempts: the counter shows which of them was applied.
        let at = self.inner.holder.env.since_epoch().as_millis();
        let at = u64::try_from(at).unwrap_or(LATEST).min(LATEST);
        // An operator may have ordered something after the row was read: then it takes another write.
        for _ in 0..MAX_ATTEMPTS {
            let process = process.clone();
            self.write(move |_| {
                Some(LeaseChange::Begin {
                    process: process.clone(),
                    at,
                })
            })
            .await?;
            if self.state().lease.rewind_to.is_none() {
                break;
            }
        }
        let mut state = self.state();
        state.token = FencingToken::new(state.lease.counter);
        state.has_begun = true;
        Ok(())
    }

    /// Asks the processor to stop, naming the successor; false if it was asked before. A hand-off under way names its own.
    pub(crate) fn ask_to_leave(&self, to: Option<WorkerId>) -> bool {
        self.inner.held_state.send_if_modified(|held_state| {
            let asks_anew = matches!(held_state, HeldState::Held);
            if asks_anew {
                *held_state = HeldState::Draining { to };
            }
            asks_anew
        })
    }

    pub(super) fn counter(&self) -> u64 {
        self.state().lease.counter
    }

    /// Whether anybody but the keeper of this handle still has the lease in hand.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(*self.inner.held_state.borrow(), HeldState::Lost(_))
    }

    /// When the last successful write was sent.
    pub(super) fn renewed_at(&self) -> Option<Instant> {
        self.state().renewed_at.map(|moment| moment.instant())
    }

    /// For how long the last successful write has been good, or good no more.
    pub(super) fn renewal_age(&self) -> Option<Duration> {
        let renewed_at = self.state().renewed_at?;
        Some(self.inner.holder.now().since(&renewed_at))
    }

    /// Whether others may have taken it by now.
    pub(super) fn has_expired(&self) -> bool {
        self.renewal_age()
            .is_some_and(|age| age >= self.inner.holder.timers.failover_time())
    }

    pub(crate) fn lose(&self, reason: LossReason) {
        if reason == LossReason::Superseded {
            self.inner.holder.doubted.notify_one();
        }
        self.inner.held_state.send_if_modified(|held_state| {
            let was_held = !matches!(held_state, HeldState::Lost(_));
            if was_held {
                tracing::info!(lease = %self.inner.key, %reason, "lease no longer held");
                let labels = Labels::of_shard(self.inner.key.as_str()).with_code(reason.code());
                self.inner.holder.metrics.add(Counter::LeasesLost, labels, 1);
                *held_state = HeldState::Lost(reason);
            }
            was_held
        });
    }

    fn check_held(&self) -> Result<(), LeaseWriteError> {
        match self.held_state() {
            HeldState::Lost(reason) => Err(LeaseWriteError::Lost(reason)),
            _ => Ok(()),
        }
    }

    /// The one way to write. `None` says that nothing needs to be written.
    ///
    /// It is done where leases are kept: a write holds its lease's turn, and a renewal must not wait for a thread that the
    /// application blocks.
    async fn write(
        &self,
        change: impl Fn(&Lease) -> Option<LeaseChange> + Send + 'static,
    ) -> Result<(), LeaseWriteError> {
        let this = self.clone();
        let written = self
            .inner
            .holder
            .seat
            .run(async move { this.write_in_turn(change).await });
        written.await.unwrap_or_else(|Unfinished| {
            let problem = "the thread that keeps leases has ended".to_owned();
            Err(self.unavailable(problem).with_unknown_outcome(true).into())
        })
    }

    /// In turn, relative to the row as last known, until it is applied, refused for good, or the table does not answer.
    async fn write_in_turn(
        &self,
        change: impl Fn(&Lease) -> Option<LeaseChange>,
    ) -> Result<(), LeaseWriteError> {
        let _turn = self.inner.writer.lock().await;
        let store = &self.inner.holder.store;
        let first_sent_at = self.inner.holder.now();
        // Whether the row as known was read in this turn, or in order to begin with it.
        let mut is_fresh = self.renewed_at().is_none();
        for _ in 0..MAX_ATTEMPTS {
            self.check_held()?;
            if self.has_expired() {
                self.lose(LossReason::Expired);
                return Err(LeaseWriteError::Lost(LossReason::Expired));
            }
            let seen = self.lease();
            let Some(change) = change(&seen) else {
                return Ok(());
            };
            let row = match store.write(&seen, &change).await {
                Ok(WriteOutcome::Applied(row)) => {
                    self.note_giving(&change, &seen);
                    self.applied(row, &seen, first_sent_at);
                    return Ok(());
                }
                Ok(WriteOutcome::Refused(row)) => row,
                Err(error) if error.may_have_been_applied() => match store.get(&seen.key).await {
                    Ok(row) if row.as_ref() == Some(&seen) => return Err(error.into()),
                    Ok(row) => row,
                    Err(_) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            };
            match resolve(&self.inner.holder, &seen, &change, row) {
                Verdict::Applied(row) if is_fresh || gives_away(&change) => {
                    self.note_giving(&change, &seen);
                    self.applied(row, &seen, first_sent_at);
                    return Ok(());
                }
                // It may be the effect of an earlier write that nobody answered: others count from that one.
                Verdict::Applied(row) | Verdict::Retry(row) => {
                    self.adopt(row, None);
                    is_fresh = true;
                }
                Verdict::Lost(reason) => {
                    self.lose(reason.clone());
                    return Err(LeaseWriteError::Lost(reason));
                }
            }
        }
        Err(self.changes_too_fast().into())
    }

    fn note_giving(&self, change: &LeaseChange, seen: &Lease) {
        if matches!(change, LeaseChange::Assign { .. }) {
            self.state().given_at = Some(seen.counter + 1);
        }
    }

    fn changes_too_fast(&self) -> StoreError {
        self.unavailable(format!(
            "row {} changes faster than it can be written",
            self.inner.key
        ))
    }

    fn unavailable(&self, problem: String) -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, "writing a lease", "", problem)
    }

    /// Observers take only a moved counter for a sign of life, so only a write that moves it renews the lease. A write
    /// that does not move it is not conditional on it either, and its row is adopted only if it is still the row we
    /// know.
    fn applied(&self, row: Lease, seen: &Lease, sent_at: Moment) {
        if row.counter != seen.counter {
            self.adopt(row, Some(sent_at));
        } else if row.actual_owner() == seen.actual_owner() {
            self.adopt(row, None);
        }
    }

    fn adopt(&self, row: Lease, renewed_at: Option<Moment>) {
        let is_processor = row.actual_owner() == Some(&self.inner.holder.worker);
        let next = row.owner.clone().filter(|_| row.is_in_hand_off());
        let order = row.rewind_to.clone();
        let (was_in_hand_off, has_begun) = {
            let mut state = self.state();
            let before = std::mem::replace(&mut state.lease, row);
            state.renewed_at = renewed_at.or(state.renewed_at);
            (before.is_in_hand_off(), state.has_begun)
        };
        if is_processor && (next.is_some() || was_in_hand_off) {
            // Also when the leader takes a hand-off back: the processor may have stopped already, so the lease is given up
            // to whomever the leader picks now.
            self.redirect(next);
        }
        // Whoever begins with the lease next carries it out, this worker or another one.
        if let Some(to) = order.filter(|_| is_processor && has_begun)
            && self.ask_to_leave(None)
        {
            tracing::info!(lease = %self.inner.key, %to, "an operator wants the shard to be processed anew: giving it up");
        }
    }

    fn redirect(&self, to: Option<WorkerId>) {
        self.inner.held_state.send_if_modified(|held_state| {
            let wanted = HeldState::Draining { to };
            let changes = !matches!(held_state, HeldState::Lost(_)) && *held_state != wanted;
            if changes {
                *held_state = wanted;
            }
            changes
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HeldLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldLease")
            .field("key", &self.inner.key)
            .field("held_state", &self.held_state())
            .finish()
    }
}

#[cfg(test)]
mod tests;
