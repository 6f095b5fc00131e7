//! Workers that may not read their shards, while others may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Rule, Times};
use crate::history::{Event, Name, Row, What};
use crate::streams::shard_id;

pub(super) const KEPT: &str = "a lease leaves a worker that may not read it within three fail-over times and 15 s, besides what a call takes, while another worker is well";
pub(super) const GIVEN: &str =
    "a worker that gave leases up because it may not read is given none, while another worker is well";

/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(500);

/// A worker that could not read is tried so often, in fail-over times.
const TRIED: u32 = 6;

#[derive(Debug)]
struct Life {
    id: String,
    troubles: u32,
    /// Since when it has had as many troubles as it has.
    since: Duration,
    /// Whether all its trouble is that it may not read.
    is_denied: bool,
    /// What of it is paused: that does not fail.
    paused: BTreeSet<Option<Name>>,
    /// Shards whose last calls failed: if their leases leave it, it is for that.
    failing: BTreeSet<Name>,
    /// When a lease left it because it may not read.
    gave_up_at: Option<Duration>,
    /// One did, and it has not been allowed to read since: whether it can again is only tried now and then.
    is_to_be_tried: bool,
    /// When it has been tried at the latest since it was allowed to read again.
    tried_at: Duration,
}

impl Life {
    fn is_well(&self) -> bool {
        self.troubles == 0
    }

    fn is_only_denied(&self) -> bool {
        self.troubles == 1 && self.is_denied
    }
}

#[derive(Debug)]
pub(super) struct Denied {
    limit: Duration,
    failover: Duration,
    lives: BTreeMap<Name, Life>,
    /// Whom rows name, and since when.
    owners: BTreeMap<Name, (String, Duration)>,
    /// Those that leave name successors by what these said last.
    leaving: BTreeSet<String>,
    /// Shards that are paused whoever has them.
    paused_for_all: BTreeSet<Name>,
    looked_at: Duration,
}

impl Denied {
    pub(super) fn new(times: Times) -> Self {
        Self {
            limit: times.failover * 3 + times.longest_call + Duration::from_secs(15),
            failover: times.failover,
            lives: BTreeMap::new(),
            owners: BTreeMap::new(),
            leaving: BTreeSet::new(),
            paused_for_all: BTreeSet::new(),
            looked_at: Duration::ZERO,
        }
    }

    fn changes(&mut self, event: &Event, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.lives.get_mut(&event.who) {
            change(life);
            life.since = event.at;
            life.gave_up_at = None;
        }
    }

    fn is_another_well_since(&self, id: &str, time: Duration) -> bool {
        let mut others = self.lives.values().filter(|life| life.id != id);
        others.any(|life| life.is_well() && life.since.max(life.tried_at) <= time)
    }

    fn kept(&self, at: Duration) -> Option<String> {
        let is_reading = self.paused_for_all.is_empty();
        let is_failing = |life: &Life| is_reading && life.is_only_denied() && life.paused.is_empty();
        let denied = self.lives.iter().filter(|(_, life)| is_failing(life));
        denied.into_iter().find_map(|(who, life)| {
            let its = self.owners.iter().filter(|(_, (owner, _))| *owner == life.id);
            its.into_iter().find_map(|(shard, (_, owned_since))| {
                let since = life.since.max(*owned_since);
                let is_kept = at - since > self.limit && self.is_another_well_since(&life.id, since);
                is_kept.then(|| format!("{who} has {shard} since {:.1} s", owned_since.as_secs_f64()))
            })
        })
    }

    fn row(&mut self, shard: &Name, row: &Row, at: Duration) -> Option<String> {
        let owner = row.owner.clone().filter(|_| !row.has_ended());
        let before = self.owners.get(shard).cloned();
        match &owner {
            Some(owner) if before.as_ref().is_some_and(|(before, _)| before == owner) => return None,
            Some(owner) => self.owners.insert(shard.clone(), (owner.clone(), at)),
            None => self.owners.remove(shard),
        };
        let (before, _) = before?;
        let (failover, patience) = (self.failover, self.failover * 2);
        let lives = self
            .lives
            .values_mut()
            .filter(|life| life.is_only_denied() && !life.failing.contains(shard));
        for life in lives.filter(|life| life.id == before && at - life.since > patience) {
            life.gave_up_at.get_or_insert(at);
            life.is_to_be_tried = true;
        }
        let owner = owner.filter(|_| !self.leaving.contains(&before))?;
        let (who, _) = self.lives.iter().find(|(_, life)| {
            let is_told = life.gave_up_at.is_some_and(|gave_up| at - gave_up > failover);
            life.id == owner && life.is_only_denied() && is_told
        })?;
        // Whoever was in trouble itself is trusted again after some time.
        let is_other_well = self.is_another_well_since(&owner, at.saturating_sub(failover * 3));
        is_other_well.then(|| format!("{who} is given {shard}"))
    }
}

impl Rule for Denied {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Started { id, .. } => {
                self.leaving.remove(id);
                let life = Life {
                    id: id.clone(),
                    troubles: 0,
                    since: event.at,
                    is_denied: false,
                    paused: BTreeSet::new(),
                    failing: BTreeSet::new(),
                    gave_up_at: None,
                    is_to_be_tried: false,
                    tried_at: Duration::ZERO,
                };
                self.lives.insert(event.who.clone(), life);
            }
            What::Stopping { id } => {
                self.leaving.insert(id.clone());
                self.lives.remove(&event.who);
            }
            What::Killed { .. } | What::Ended { .. } | What::GaveWay { .. } => {
                self.lives.remove(&event.who);
            }
            What::Impaired => self.changes(event, |life| life.troubles += 1),
            What::Recovered => self.changes(event, |life| life.troubles = life.troubles.saturating_sub(1)),
            What::Paused { shard } => self.changes(event, |life| {
                life.paused.insert(shard.clone());
            }),
            What::Resumed { shard } => self.changes(event, |life| {
                let id = shard.as_deref().map(shard_id);
                life.paused.retain(|paused| paused.as_deref().map(shard_id) != id);
            }),
            What::BatchEnded { of, is_ok, .. } => {
                if let Some(life) = self.lives.get_mut(&event.who) {
                    match is_ok {
                        true => life.failing.remove(&of.shard),
                        false => life.failing.insert(of.shard.clone()),
                    };
                }
            }
            What::PausedForAll { shard } => {
                self.paused_for_all.insert(shard.clone());
            }
            What::ResumedForAll { shard } => {
                self.paused_for_all.remove(shard);
                for life in self.lives.values_mut() {
                    life.since = event.at;
                }
            }
            What::Denied => self.changes(event, |life| life.is_denied = true),
            What::Allowed => {
                let tried_at = event.at + self.failover * TRIED;
                self.changes(event, |life| {
                    life.is_denied = false;
                    if std::mem::take(&mut life.is_to_be_tried) {
                        life.tried_at = tried_at;
                    }
                });
            }
            What::Healed => self.lives.clear(),
            What::RowGone { shard } | What::RowDeletedByHand { shard } => {
                self.owners.remove(shard);
            }
            What::RowEditedByHand { shard, row, .. } => {
                let owner = row.owner.clone().map(|owner| (owner, event.at));
                self.owners.remove(shard);
                self.owners.extend(owner.map(|owner| (shard.clone(), owner)));
            }
            What::Row { shard, row } => {
                if let Some(seen) = self.row(shard, row, event.at) {
                    return Some((GIVEN, seen));
                }
            }
            _ => {}
        }
        if event.at < self.looked_at + PERIOD {
            return None;
        }
        self.looked_at = event.at;
        self.kept(event.at).map(|seen| (KEPT, seen))
    }
}
