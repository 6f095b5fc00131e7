//! Leaving in good order: nothing in the table names this worker any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Membership;
use super::discover::assigned_now;
use crate::ids::LeaseKey;
use crate::keeper::Legacy;
use crate::lease::Lease;
use crate::plan::name_successors;
use crate::store::{LeaseChange, StoreError, StoreErrorKind, TableSnapshot, WriteOutcome};

/// A row that others change faster than this is left to them.
const MAX_ATTEMPTS: usize = 3;

/// A living successor has looked for its leases, and begun with them, after so many of the intervals at which it looks.
const LOOKS: u32 = 2;

/// As many leases are looked at one by one; more of them by a scan.
const FEW: usize = 16;

impl Membership {
    /// First step of leaving: takes no more leases, deletes the worker's row, and asks the processor of every held lease
    /// to drain, each with the successor that it shall be handed to. Renewals go on.
    ///
    /// A table that does not answer within `patience` names no successors.
    pub async fn prepare_to_leave(&self, patience: Duration) {
        // What was handed over before is the leader's to watch.
        self.shared.keeper.take_left();
        self.shared.leaving.cancel();
        let mut announcing = self.announcing.clone();
        let look = async {
            // An error means that the loop is gone already.
            let _ = announcing.wait_for(|announces| !announces).await;
            self.shared.store.scan().await
        };
        let look = timeout(patience, look).await.unwrap_or_else(|_| {
            let kind = StoreErrorKind::Unavailable;
            Err(StoreError::new(
                kind,
                "looking for successors",
                "",
                "no answer in time",
            ))
        });
        if self.shared.keeper.is_superseded() {
            return;
        }
        let successors = match look {
            Ok(snapshot) => {
                self.remember(&snapshot);
                let dead = self
                    .shared
                    .fleet
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .dead
                    .clone();
                let (me, max) = (self.shared.me(), self.shared.options.max_leases());
                name_successors(&snapshot, me, &dead, self.shared.epoch_seconds(), max)
            }
            Err(error) => {
                tracing::warn!(%error, "no successors can be named; the leader will assign the leases");
                Default::default()
            }
        };
        for held in self.held() {
            held.ask_to_leave(successors.get(held.key()).cloned());
        }
        // A processor that lost its lease may still be at work: its shard is free only once it has stopped.
        let is_free = |key: &LeaseKey| !self.shared.keeper.is_still_processed(key);
        self.decline(is_free).await;
    }

    /// Last step of leaving, once the processors have stopped: gives up what is still held, and the leadership after a last
    /// assignment, and sees to it that those who were left leases have begun with them. Failures are logged; what could not be
    /// released expires.
    pub async fn leave(&self) {
        self.shared.leaving.cancel();
        if !self.shared.keeper.is_superseded() {
            self.give_up_what_is_held().await;
        }
        // Its own row may be being deleted still. Then it is known whose the rows are that bear its name.
        let mut announcing = self.announcing.clone();
        let _ = announcing.wait_for(|announces| !announces).await;
        self.give_back_the_rest().await;
        self.shared.resigning.cancel();
        let mut leading = self.leading.clone();
        let _ = leading.wait_for(|leads| !leads).await;
        if !self.shared.keeper.is_superseded() {
            if let Err(error) = self.see_begun().await {
                tracing::warn!(%error, "whether the successors have begun is not known; leases of one that is gone will expire");
            }
            // A leader that had looked before may have given it something meanwhile.
            self.decline(|_| true).await;
        }
        self.abandon();
    }

    async fn give_up_what_is_held(&self) {
        for held in self.held() {
            if let Err(error) = held.give_up().await {
                tracing::warn!(lease = %held.key(), %error, "a lease could not be given up; it will expire");
            }
        }
    }

    async fn give_back_the_rest(&self) {
        if self.is_its_name_its_own()
            && let Err(error) = self.finish_hand_offs().await
        {
            tracing::warn!(%error, "hand-offs from this leaving worker could not be finished; their leases will expire");
        }
        self.decline(|_| true).await;
    }

    /// Waits until the successors have begun with what they were left, for as long as a living one takes. What nobody has
    /// begun with by then is left to the leader: its successor was dead, or left at the same time.
    async fn see_begun(&self) -> Result<(), StoreError> {
        let look = self.shared.options.look();
        let deadline = Instant::now() + look * LOOKS;
        let mut left = self.shared.keeper.take_left();
        {
            let knowledge = self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
            // Java workers begin long before their first write.
            left.retain(|_, legacy| knowledge.prompt.contains(&legacy.to));
        }
        while !left.is_empty() {
            self.forget_begun(&mut left).await?;
            if Instant::now() >= deadline {
                break;
            }
            sleep(look / 5).await;
        }
        let mut unreadable = None;
        for (key, legacy) in left {
            tracing::info!(lease = %key, successor = %legacy.to, "the successor has not begun; the leader finds another one");
            let release = |lease: &Lease| (!legacy.is_begun_in(Some(lease))).then_some(LeaseChange::Release);
            pass_over(self.change(&key, release).await, &mut unreadable)?;
        }
        unreadable.map_or(Ok(()), Err)
    }

    async fn forget_begun(&self, left: &mut BTreeMap<LeaseKey, Legacy>) -> Result<(), StoreError> {
        if left.len() <= FEW {
            for key in left.keys().cloned().collect::<Vec<_>>() {
                let row = match self.shared.store.get(&key).await {
                    // Nobody begins with it, and nobody can release it.
                    Err(error) if is_unreadable(&error) => None,
                    row => row?,
                };
                if left[&key].is_begun_in(row.as_ref()) {
                    left.remove(&key);
                }
            }
            return Ok(());
        }
        let rows = self.shared.store.scan().await?.leases;
        let rows: BTreeMap<_, _> = rows.iter().map(|row| (&row.key, row)).collect();
        left.retain(|key, legacy| !legacy.is_begun_in(rows.get(key).copied()));
        Ok(())
    }

    /// Leases that the table says this worker still processes for the next owner: those that it loses before it has handed them
    /// over are free only once its processors have ended. And who begins at once with what he is left.
    fn remember(&self, snapshot: &TableSnapshot) {
        let me = Some(self.shared.me());
        let leases = snapshot.leases.iter();
        let handed_over = leases.filter(|lease| lease.checkpoint_owner.as_ref() == me);
        let mut knowledge = self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.unfinished = handed_over.map(|lease| lease.key.clone()).collect();
        let ours = snapshot.workers.iter().filter(|row| row.report_period.is_some());
        knowledge.prompt = ours.map(|row| row.id.clone()).collect();
    }

    async fn finish_hand_offs(&self) -> Result<(), StoreError> {
        let me = Some(self.shared.me());
        let keys: Vec<LeaseKey> = {
            let mut knowledge = self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut knowledge.unfinished)
        };
        let mut unreadable = None;
        for key in keys {
            let is_mine = |lease: &Lease| lease.checkpoint_owner.as_ref() == me;
            let release = |lease: &Lease| is_mine(lease).then_some(LeaseChange::Release);
            pass_over(self.change(&key, release).await, &mut unreadable)?;
        }
        unreadable.map_or(Ok(()), Err)
    }

    /// Changes a row that this worker does not hold, relative to what it is now; others may write to it meanwhile.
    async fn change(
        &self,
        key: &LeaseKey,
        change: impl Fn(&Lease) -> Option<LeaseChange>,
    ) -> Result<(), StoreError> {
        let mut row = self.shared.store.get(key).await?;
        for _ in 0..MAX_ATTEMPTS {
            let Some((lease, change)) = row.as_ref().and_then(|lease| Some((lease, change(lease)?))) else {
                return Ok(());
            };
            match self.shared.store.write(lease, &change).await? {
                WriteOutcome::Applied(_) => return Ok(()),
                WriteOutcome::Refused(now) => row = now,
            }
        }
        Ok(())
    }

    /// Whether the leases that bear its name, and that it does not hold, cannot be another process's of that name.
    fn is_its_name_its_own(&self) -> bool {
        self.shared.has_retired.load(Ordering::Relaxed)
    }

    async fn decline(&self, is_free: impl Fn(&LeaseKey) -> bool) {
        if !self.is_its_name_its_own() {
            return;
        }
        if let Err(error) = self.decline_unclaimed(is_free).await {
            tracing::warn!(%error, "leases assigned to this leaving worker could not be declined; they will expire");
        }
    }

    /// Gives back what was assigned to this worker, or created as its own, but not taken up: releases leases, and returns
    /// hand-offs under way to their processors.
    async fn decline_unclaimed(&self, is_free: impl Fn(&LeaseKey) -> bool) -> Result<(), StoreError> {
        let me = self.shared.me();
        let mut mine: BTreeSet<_> = self.shared.created().iter().cloned().collect();
        mine.extend(assigned_now(&self.shared).await?);
        let mut unreadable = None;
        for key in mine {
            if self.shared.keeper.holds(&key) || !is_free(&key) {
                continue;
            }
            let decline = |lease: &Lease| {
                (lease.owner.as_ref() == Some(me)).then(|| {
                    if lease.is_in_hand_off() {
                        LeaseChange::CancelHandOff
                    } else {
                        LeaseChange::Release
                    }
                })
            };
            pass_over(self.change(&key, decline).await, &mut unreadable)?;
        }
        unreadable.map_or(Ok(()), Err)
    }
}

/// Whether this is about one row, which nobody can read.
fn is_unreadable(error: &StoreError) -> bool {
    error.kind() == StoreErrorKind::Invalid
}

/// One row that cannot be read keeps no other one from being given up; it is told at the end.
fn pass_over(changed: Result<(), StoreError>, unreadable: &mut Option<StoreError>) -> Result<(), StoreError> {
    match changed {
        Err(error) if is_unreadable(&error) => {
            unreadable.get_or_insert(error);
            Ok(())
        }
        changed => changed,
    }
}
