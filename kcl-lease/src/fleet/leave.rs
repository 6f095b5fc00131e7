//! Leaving in good order: nothing in the table names this worker any more.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::timeout;

use super::Fleet;
use crate::ids::LeaseKey;
use crate::lease::Lease;
use crate::plan::name_successors;
use crate::store::{LeaseChange, StoreError, StoreErrorKind, TableSnapshot, WriteOutcome};

/// A row that others change faster than this is left to them.
const MAX_ATTEMPTS: usize = 3;

impl Fleet {
    /// First step of leaving: takes no more leases, deletes the worker's row, and asks the processor of every held lease
    /// to drain, each with the successor that it shall be handed to. Renewals go on.
    ///
    /// A table that does not answer within `patience` names no successors.
    pub async fn prepare_to_leave(&self, patience: Duration) {
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
        let successors = match look {
            Ok(snapshot) => {
                self.remember_unfinished(&snapshot);
                let dead = self
                    .shared
                    .fleet
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .dead
                    .clone();
                let (me, max) = (self.shared.me(), self.shared.options.max_leases);
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

    /// Last step of leaving, once the processors have stopped: gives up what is still held, and the leadership after a
    /// last assignment. Failures are logged; what could not be released expires.
    pub async fn leave(&self) {
        self.shared.leaving.cancel();
        for held in self.held() {
            if let Err(error) = held.give_up().await {
                tracing::warn!(lease = %held.key(), %error, "a lease could not be given up; it will expire");
            }
        }
        if let Err(error) = self.finish_hand_offs().await {
            tracing::warn!(%error, "hand-offs from this leaving worker could not be finished; their leases will expire");
        }
        self.decline(|_| true).await;
        // Its own row may be being deleted still.
        let mut announcing = self.announcing.clone();
        let _ = announcing.wait_for(|announces| !announces).await;
        self.shared.resigning.cancel();
        let mut leading = self.leading.clone();
        let _ = leading.wait_for(|leads| !leads).await;
        self.abandon();
    }

    /// Leases that the table says this worker still processes for the next owner. Those that it loses before it has handed
    /// them over are free only once its processors have ended.
    fn remember_unfinished(&self, snapshot: &TableSnapshot) {
        let me = Some(self.shared.me());
        let leases = snapshot.leases.iter();
        let handed_over = leases.filter(|lease| lease.checkpoint_owner.as_ref() == me);
        let mut knowledge = self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        knowledge.unfinished = handed_over.map(|lease| lease.key.clone()).collect();
    }

    async fn finish_hand_offs(&self) -> Result<(), StoreError> {
        let me = Some(self.shared.me());
        let keys: Vec<LeaseKey> = {
            let mut knowledge = self.shared.fleet.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut knowledge.unfinished)
        };
        for key in keys {
            let is_mine = |lease: &Lease| lease.checkpoint_owner.as_ref() == me;
            let release = |lease: &Lease| is_mine(lease).then_some(LeaseChange::Release);
            self.change(&key, release).await?;
        }
        Ok(())
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

    async fn decline(&self, is_free: impl Fn(&LeaseKey) -> bool) {
        if let Err(error) = self.decline_unclaimed(is_free).await {
            tracing::warn!(%error, "leases assigned to this leaving worker could not be declined; they will expire");
        }
    }

    /// Gives back what was assigned to this worker, or created as its own, but not taken up: releases leases, and returns
    /// hand-offs under way to their processors.
    async fn decline_unclaimed(&self, is_free: impl Fn(&LeaseKey) -> bool) -> Result<(), StoreError> {
        let me = self.shared.me();
        let mut mine: BTreeSet<_> = self.shared.created().iter().cloned().collect();
        mine.extend(self.shared.store.assigned_to(me).await?);
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
            self.change(&key, decline).await?;
        }
        Ok(())
    }
}
