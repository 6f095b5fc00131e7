//! What is paused: nothing of it is delivered, and its status says so. Records that were given to a handler before go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::ShardState;

use super::Rule;
use crate::history::{Event, Name, Ownership, Row, What};
use crate::streams::shard_id;

pub(super) const DELIVERS: &str = "what is paused delivers nothing until it is resumed";
pub(super) const FOR_ALL: &str =
    "what is paused for all delivers nothing at those who take it over, until it is resumed";
pub(super) const KEPT: &str = "a worker that is well keeps the leases of shards that are paused";
pub(super) const SHOWN: &str =
    "a shard that is paused says so within two seconds, or once the call under way is over";

const PATIENCE: Duration = Duration::from_secs(2);

/// A processor that was given something.
#[derive(Debug)]
struct Call {
    of: Ownership,
    is_under_way: bool,
    has_failed: bool,
    /// Since when that is so.
    since: Duration,
}

/// Follows the pauses of each worker's life.
#[derive(Debug, Default)]
pub(super) struct Paused {
    /// Shards that are paused, or all, and since when.
    paused: BTreeMap<Name, BTreeMap<Option<Name>, Duration>>,
    /// By life and shard.
    calls: BTreeMap<(Name, Name), Call>,
    /// Shards that are paused whoever has them, and those who had begun with them by then.
    for_all: BTreeMap<Name, BTreeSet<(Name, Ownership)>>,
    /// By shard, the last one to begin with it, and its life.
    begun: BTreeMap<Name, (Name, Ownership)>,
    /// Everybody who began with a shard.
    known: BTreeMap<Name, BTreeSet<(Name, Ownership)>>,
    /// The ids of lives in which nothing has gone wrong.
    well: BTreeMap<Name, String>,
    /// Lives that leave by themselves for what fails, which shows only later.
    may_stop: BTreeSet<Name>,
    /// Whom rows name.
    owners: BTreeMap<Name, String>,
    /// Shards that were to be handed over since their last owners began.
    handed_over: BTreeSet<Name>,
    /// Streams whose shards have the same ids as others'.
    of_the_past: BTreeSet<Name>,
}

impl Paused {
    /// Since when a shard has been paused at a worker.
    fn since(&self, who: &Name, shard: &Name) -> Option<Duration> {
        let paused = self.paused.get(who)?;
        let of_both = [paused.get(&None), paused.get(&Some(shard.clone()))];
        of_both.into_iter().flatten().min().copied()
    }

    /// Whether its shard was paused for all when others had begun with it, and it had not.
    fn is_paused_for_all(&self, who: &Name, of: &Ownership) -> bool {
        let before = self.for_all.get(&of.shard);
        before.is_some_and(|before| !before.is_empty() && !before.contains(&(who.clone(), of.clone())))
    }

    /// The worker that was well, and gave the lease of a shard that it had paused to nobody.
    fn gave_up(&self, shard: &Name, row: &Row) -> Option<&Name> {
        let is_over = row.actual_owner().is_some() || row.has_ended() || row.rewind_to.is_some();
        // Whoever was to hand it over, and is not any more, may have given it up before.
        if is_over || self.handed_over.contains(shard) || !self.of_the_past.is_empty() {
            return None;
        }
        // Whoever has not begun with it may be taken it from.
        let (who, _) = self.begun.get(shard)?;
        let is_its = self
            .well
            .get(who)
            .is_some_and(|id| self.owners.get(shard) == Some(id));
        self.since(who, shard).filter(|_| is_its).map(|_| who)
    }

    fn is_due(&self, who: &Name, shard: &Name, at: Duration) -> bool {
        let Some(since) = self.since(who, shard) else {
            return false;
        };
        let waits_since = match self.calls.get(&(who.clone(), shard.clone())) {
            // The same call is repeated after a pause of its own.
            Some(call) if call.is_under_way || call.has_failed => return false,
            Some(call) => call.since.max(since),
            None => return false,
        };
        at > waits_since + PATIENCE
    }
}

impl Rule for Paused {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (who, at) = (&event.who, event.at);
        match &event.what {
            What::Paused { shard } => {
                let paused = self.paused.entry(who.clone()).or_default();
                paused.entry(shard.clone()).or_insert(at);
            }
            What::Resumed { shard } => {
                // A worker is told the id, which a shard of the stream before may have had as well.
                let id = shard.as_deref().map(shard_id);
                let paused = self.paused.entry(who.clone()).or_default();
                paused.retain(|paused, _| paused.as_deref().map(shard_id) != id);
            }
            What::StreamDeleted { shards } => self.of_the_past.extend(shards.iter().cloned()),
            What::PausedForAll { shard } => {
                let begun = self.known.get(shard).cloned().unwrap_or_default();
                self.for_all.insert(shard.clone(), begun);
            }
            What::ResumedForAll { shard } => {
                self.for_all.remove(shard);
            }
            What::Started { id, .. } if !self.may_stop.contains(who) => {
                self.well.insert(who.clone(), id.clone());
            }
            What::NameTaken { id, .. } => self.well.retain(|_, its| its != id),
            What::Resorts { policy } if policy.stops() => {
                self.may_stop.insert(who.clone());
            }
            What::Impaired | What::Stopping { .. } | What::LeavesByItself { .. } | What::Ended { .. } => {
                self.well.remove(who);
            }
            What::Row { shard, row } => {
                let seen = self.gave_up(shard, row).map(|who| format!("{who} on {shard}"));
                self.owners.remove(shard);
                if row.checkpoint_owner.is_some() {
                    self.handed_over.insert(shard.clone());
                }
                let owner = row.actual_owner().map(str::to_owned);
                self.owners.extend(owner.map(|owner| (shard.clone(), owner)));
                return seen.map(|seen| (KEPT, seen));
            }
            What::RowGone { shard }
            | What::RowDeletedByHand { shard }
            | What::RowEditedByHand { shard, .. } => {
                self.owners.remove(shard);
            }
            What::BatchBegan { of, .. } => {
                let call = Call {
                    of: of.clone(),
                    is_under_way: true,
                    has_failed: false,
                    since: at,
                };
                self.calls.insert((who.clone(), of.shard.clone()), call);
                if self.is_paused_for_all(who, of) {
                    return Some((FOR_ALL, format!("{who} on {}", of.shard)));
                }
                let since = self.since(who, &of.shard)?;
                let seen = format!("{who} on {}, paused at {:.3} s", of.shard, since.as_secs_f64());
                return Some((DELIVERS, seen));
            }
            What::BatchEnded { of, is_ok, .. } => {
                let call = self.calls.get_mut(&(who.clone(), of.shard.clone()))?;
                if call.of == *of {
                    (call.is_under_way, call.has_failed, call.since) = (false, !is_ok, at);
                }
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } | What::ShardEnded { of } => {
                self.calls.remove(&(who.clone(), of.shard.clone()));
            }
            What::Initialized { of } => {
                let me = (who.clone(), of.clone());
                self.begun.insert(of.shard.clone(), me.clone());
                self.known.entry(of.shard.clone()).or_default().insert(me);
                self.handed_over.remove(&of.shard);
                let call = Call {
                    of: of.clone(),
                    is_under_way: false,
                    // It may fail, too.
                    has_failed: true,
                    since: at,
                };
                self.calls.insert((who.clone(), of.shard.clone()), call);
            }
            What::Shown { shards } if self.of_the_past.is_empty() => {
                let mut silent = shards
                    .iter()
                    .filter(|it| it.state == ShardState::Processing && self.is_due(who, &it.shard, at));
                let shown = silent.next()?;
                return Some((SHOWN, format!("{who} on {}: {:?}", shown.shard, shown.state)));
            }
            What::Killed { .. } | What::Stopped { .. } => {
                self.paused.remove(who);
                self.well.remove(who);
            }
            _ => {}
        }
        None
    }

    fn forget(&mut self, shard: &Name) {
        self.for_all.remove(shard);
    }
}
