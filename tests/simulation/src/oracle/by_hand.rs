//! Leases whose rows an operator deleted or gave away, or whose owner's name was given to a second process: whoever held one, or
//! waited to begin with it, learns of that only later.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Times;
use super::lives::Lives;
use crate::history::{Event, Name, What};

/// Renewals that fail are tried again for a moment.
const SLACK: Duration = Duration::from_secs(1);

/// When that was done to rows.
#[derive(Debug)]
pub(super) struct Tampered {
    failover: Duration,
    rows: BTreeMap<Name, Duration>,
    /// Those that are there still.
    edited: BTreeSet<Name>,
    /// Whom rows name as the ones that process.
    owners: BTreeMap<Name, String>,
    /// When the row of one of two processes with one name was left to nobody.
    given_back: BTreeMap<Name, Duration>,
    lives: Lives,
}

impl Tampered {
    pub(super) fn new(times: Times) -> Self {
        Self {
            failover: times.failover,
            rows: BTreeMap::new(),
            edited: BTreeSet::new(),
            owners: BTreeMap::new(),
            given_back: BTreeMap::new(),
            lives: Lives::default(),
        }
    }

    pub(super) fn see(&mut self, event: &Event) {
        self.lives.see(event);
        match &event.what {
            // What one of two processes begins with the other may still trust.
            What::Initialized { of }
                if self
                    .lives
                    .of(&event.who)
                    .is_some_and(|life| self.lives.is_shared(&life.id)) =>
            {
                self.rows.insert(of.shard.clone(), event.at);
                self.edited.insert(of.shard.clone());
            }
            // So it is with what one of them gives back when it leaves.
            What::Row { shard, row } if row.actual_owner().is_none() => {
                let before = self.owners.remove(shard);
                let since = event.at.saturating_sub(SLACK);
                if before.is_some_and(|before| self.lives.was_shared_since(&before, since)) {
                    self.given_back.insert(shard.clone(), event.at);
                }
            }
            What::Row { shard, row } => {
                let owner = row.actual_owner().map(ToOwned::to_owned);
                self.owners.extend(owner.map(|owner| (shard.clone(), owner)));
            }
            What::RowDeletedByHand { shard } => {
                self.rows.insert(shard.clone(), event.at);
                self.edited.remove(shard);
            }
            What::NameTaken { shards, .. } => {
                for shard in shards {
                    self.rows.insert(shard.clone(), event.at);
                    self.edited.insert(shard.clone());
                }
            }
            What::RowEditedByHand { shard, edit, .. } if edit.is_about_the_owner() => {
                self.rows.insert(shard.clone(), event.at);
                self.edited.insert(shard.clone());
            }
            _ => {}
        }
    }

    /// Whether everybody knows by now who owns the lease: the row was there to say so.
    pub(super) fn is_known(&self, shard: &Name, at: Duration) -> bool {
        self.edited.contains(shard) && !self.is_recent(shard, at) && !self.trusts(&self.given_back, shard, at)
    }

    /// Whether somebody may still trust a lease of this shard that is not the one in the table any more.
    pub(super) fn is_recent(&self, shard: &Name, at: Duration) -> bool {
        self.trusts(&self.rows, shard, at)
    }

    fn trusts(&self, done: &BTreeMap<Name, Duration>, shard: &Name, at: Duration) -> bool {
        let done_at = done.get(shard);
        done_at.is_some_and(|done_at| at <= *done_at + self.failover + SLACK)
    }
}
