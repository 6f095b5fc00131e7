//! How often workers may ask DynamoDB.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Rule, Times};
use crate::history::{Event, Name, What};

pub(super) const DEAR: &str = "a worker sends no more requests to DynamoDB than its work takes";

/// As many requests joining takes at the most.
const JOINING: f64 = 20.0;

/// What one worker did since it was last counted.
#[derive(Debug, Default)]
struct Work {
    batches: u64,
    /// Records that were handled beside others: a checkpoint may follow each.
    records: u64,
    /// Leases taken, lost, given up or ended.
    changes: u64,
}

/// Compares what workers ask with what they have to do.
#[derive(Debug)]
pub(super) struct Cost {
    /// Whoever is not known has this fail-over time.
    times: Times,
    failovers: BTreeMap<Name, Duration>,
    ids: BTreeMap<Name, String>,
    work: BTreeMap<Name, Work>,
    started: BTreeMap<Name, Duration>,
    /// By shard: whom its row names.
    owners: BTreeMap<Name, String>,
    /// Per owner: the most leases at a time since it was last counted.
    most: BTreeMap<String, u64>,
    /// Changes of ownership since the beginning; whoever leads may have written all of them.
    moves: u64,
    moves_before: BTreeMap<Name, u64>,
}

impl Cost {
    pub(super) fn new(times: Times) -> Self {
        Self {
            times,
            failovers: BTreeMap::new(),
            ids: BTreeMap::new(),
            work: BTreeMap::new(),
            started: BTreeMap::new(),
            owners: BTreeMap::new(),
            most: BTreeMap::new(),
            moves: 0,
            moves_before: BTreeMap::new(),
        }
    }

    fn count(&mut self, id: &str) {
        let held = self.owners.values().filter(|owner| *owner == id).count() as u64;
        let most = self.most.entry(id.to_owned()).or_default();
        *most = (*most).max(held);
    }

    /// Requests that the work of a worker takes in `seconds`, with some room.
    fn allowance(&self, who: &Name, seconds: f64) -> f64 {
        let work = self.work.get(who);
        let (batches, records, changes) =
            work.map_or((0, 0, 0), |work| (work.batches, work.records, work.changes));
        let held = self
            .ids
            .get(who)
            .and_then(|id| self.most.get(id))
            .copied()
            .unwrap_or(0);
        let moves = self.moves - self.moves_before.get(who).copied().unwrap_or(0);
        let failover = self
            .failovers
            .get(who)
            .unwrap_or(&self.times.failover)
            .as_secs_f64();
        // Ten looks at the lock and at most as many scans in a fail-over time; the leader may look four times as often
        // when leases are about to expire. It looks once a second at least.
        let standing = seconds * 50.0 / failover.min(10.0);
        // Looking for leases once a second, and whenever there is a reason to; reports.
        let discovery = seconds * 2.0;
        // A lease that waits for its parents looks at them up to four times a second.
        let leases = held as f64 * seconds * (3.0 / failover + 4.0);
        standing
            + discovery
            + leases
            + 4.0 * batches as f64
            + 2.0 * records as f64
            + 10.0 * (changes + moves) as f64
    }
}

impl Rule for Cost {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Started { id, failover } => {
                self.failovers.insert(event.who.clone(), *failover);
                self.ids.insert(event.who.clone(), id.clone());
                self.started.insert(event.who.clone(), event.at);
            }
            What::Row { shard, row } => {
                let Some(owner) = row.actual_owner() else {
                    self.moves += u64::from(self.owners.remove(shard).is_some());
                    return None;
                };
                let before = self.owners.insert(shard.clone(), owner.to_owned());
                if before.as_deref() != Some(owner) {
                    self.moves += 1;
                    self.count(owner);
                }
            }
            What::RowGone { shard } => {
                self.owners.remove(shard);
                self.moves += 1;
            }
            // Who had it, and who waited for it, looks into what became of it.
            What::RowDeletedByHand { shard } | What::RowEditedByHand { shard, .. } => {
                self.owners.remove(shard);
                self.moves += 2;
            }
            What::BatchEnded { .. } => self.work.entry(event.who.clone()).or_default().batches += 1,
            What::RecordEnded { is_ok: true, .. } => {
                self.work.entry(event.who.clone()).or_default().records += 1;
            }
            What::Initialized { .. }
            | What::LeaseLost { .. }
            | What::ShardEnded { .. }
            | What::ShutdownRequested { .. } => self.work.entry(event.who.clone()).or_default().changes += 1,
            What::Spent {
                over,
                requests,
                faults,
            } => {
                let allowed = self.allowance(&event.who, over.as_secs_f64());
                // A request that failed is repeated, and looked into.
                let allowed = allowed + 5.0 * *faults as f64;
                // Whoever joins looks at the tables, their rows, and its own.
                let started_at = self.started.get(&event.who).copied().unwrap_or_default();
                let has_joined = started_at + *over >= event.at;
                let allowed = if has_joined { allowed + JOINING } else { allowed };
                self.work.remove(&event.who);
                self.moves_before.insert(event.who.clone(), self.moves);
                if let Some(id) = self.ids.get(&event.who).cloned() {
                    self.most.remove(&id);
                    self.count(&id);
                }
                if *requests as f64 > allowed {
                    return Some((
                        DEAR,
                        format!(
                            "{}: {requests} in {over:?}; its work takes {allowed:.0}",
                            event.who
                        ),
                    ));
                }
            }
            _ => {}
        }
        None
    }
}
