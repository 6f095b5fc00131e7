//! Who processes a shard: one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::by_hand::Tampered;
use super::{Rule, Times};
use crate::history::{Event, Name, Ownership, Row, What};

pub(super) const INVALID: &str = "no batch, and no record, is begun without a valid lease";
pub(super) const STALE: &str =
    "no batch, and no record, is begun by a stale owner once its successor has begun";
pub(super) const SAME_TOKEN: &str = "no two owners of a shard have the same fencing token";
pub(super) const MISTAKEN: &str = "whoever believes to own a shard is its owner";
pub(super) const SEVERAL: &str = "at most one lease of a shard is valid at a time";
pub(super) const OVERLAP: &str = "two processors of a shard never work at once, unless the older one's lease expired or its time to drain is over";

/// Who the owners are, and in which order they come.
#[derive(Debug)]
pub(super) struct Owners {
    current: BTreeMap<Name, (u64, Name)>,
    /// Owners whose rows were deleted or given away by hand: their tokens say nothing any more.
    orphans: BTreeSet<(Name, Ownership)>,
    known: BTreeSet<(Name, Ownership)>,
    tampered: Tampered,
}

impl Owners {
    pub(super) fn new(times: Times) -> Self {
        Self {
            current: BTreeMap::new(),
            orphans: BTreeSet::new(),
            known: BTreeSet::new(),
            tampered: Tampered::new(times),
        }
    }

    /// Whether somebody may take the shard for its own because of what was done by hand.
    fn is_excused(&self, shard: &Name, at: Duration) -> bool {
        let has_orphans = self.orphans.iter().any(|(_, of)| of.shard == *shard);
        has_orphans && !self.tampered.is_known(shard, at)
    }
}

impl Rule for Owners {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        self.tampered.see(event);
        match &event.what {
            What::NameTaken { shards, .. } => {
                let held = self.known.iter().filter(|(_, of)| shards.contains(&of.shard));
                self.orphans.extend(held.cloned());
                None
            }
            What::Initialized { of } if self.tampered.is_recent(&of.shard, event.at) => {
                self.orphans.insert((event.who.clone(), of.clone()));
                None
            }
            What::Initialized { of } => {
                let me = (event.who.clone(), of.clone());
                if !self.known.insert(me) {
                    return None; // Initialized again after a failure.
                }
                let before = self
                    .current
                    .insert(of.shard.clone(), (of.token, event.who.clone()));
                match before {
                    Some((token, who)) if token == of.token => Some((
                        SAME_TOKEN,
                        format!("{who} and {} own {} with {token}", event.who, of.shard),
                    )),
                    Some((token, who)) if token > of.token => Some((
                        STALE,
                        format!(
                            "{} was initialized for {} with {}, after {who} with {token}",
                            event.who, of.shard, of.token
                        ),
                    )),
                    _ => None,
                }
            }
            What::BatchBegan { of, is_valid, .. } | What::RecordBegan { of, is_valid, .. } => {
                if !is_valid {
                    return Some((
                        INVALID,
                        format!("{} on {} with {}", event.who, of.shard, of.token),
                    ));
                }
                let (token, who) = self.current.get(&of.shard)?;
                let is_stale = of.token < *token && !self.orphans.contains(&(event.who.clone(), of.clone()));
                is_stale.then(|| {
                    (
                        STALE,
                        format!(
                            "{} on {} with {}, after {who} with {token}",
                            event.who, of.shard, of.token
                        ),
                    )
                })
            }
            What::Mistaken { shard, owner } if !self.is_excused(shard, event.at) => {
                let owner = owner.as_deref().unwrap_or("nobody");
                Some((
                    MISTAKEN,
                    format!("{} believes to own {shard}, which belongs to {owner}", event.who),
                ))
            }
            What::SeveralValid { shard, holders } if !self.is_excused(shard, event.at) => {
                Some((SEVERAL, format!("{shard}: {}", holders.join(", "))))
            }
            _ => None,
        }
    }

    fn forget(&mut self, shard: &Name) {
        self.current.remove(shard);
        let owners = self.known.iter().filter(|(_, of)| of.shard == *shard);
        self.orphans.extend(owners.cloned());
        self.known.retain(|(_, of)| of.shard != *shard);
    }
}

#[derive(Debug)]
struct Running {
    who: Name,
    of: Ownership,
    /// One record is handled, beside others of its owner.
    is_single: bool,
    /// Its worker lost the shard in a way that lets it finish; what the worker is given later does not take that back.
    is_excused: bool,
}

#[derive(Debug, Default)]
struct Term {
    row: Option<Row>,
    /// When the counter last grew under the present processing owner.
    renewed: Duration,
    /// When the present owner was first asked to hand the lease over. It drains even if that is taken back.
    hand_off: Option<Duration>,
}

/// Which calls overlap.
#[derive(Debug)]
pub(super) struct Overlaps {
    times: Times,
    ids: BTreeMap<Name, String>,
    /// By id.
    failovers: BTreeMap<String, Duration>,
    stopping: BTreeMap<String, Duration>,
    /// Workers that left a stream, and have not begun the next one yet.
    leaves_by_itself: BTreeSet<Name>,
    running: BTreeMap<u64, Running>,
    terms: BTreeMap<Name, Term>,
    /// Processors that were at work.
    known: BTreeSet<(Name, Ownership)>,
    /// Those whose rows were deleted or given away by hand: they go on until they notice.
    orphans: BTreeSet<(Name, Ownership)>,
    tampered: Tampered,
}

/// The table is looked at ten times a second.
const SLACK: Duration = Duration::from_millis(250);

impl Overlaps {
    pub(super) fn new(times: Times) -> Self {
        Self {
            times,
            ids: BTreeMap::new(),
            failovers: BTreeMap::new(),
            stopping: BTreeMap::new(),
            leaves_by_itself: BTreeSet::new(),
            running: BTreeMap::new(),
            terms: BTreeMap::new(),
            known: BTreeSet::new(),
            orphans: BTreeSet::new(),
            tampered: Tampered::new(times),
        }
    }

    fn row(&mut self, at: Duration, shard: &Name, row: &Row) {
        let failovers = &self.failovers;
        let times_of = |owner: &str| self.times.of(failovers.get(owner).copied());
        let term = self.terms.entry(shard.clone()).or_default();
        let before = term.row.replace(row.clone());
        let owner = before.as_ref().and_then(Row::actual_owner);
        if owner != row.actual_owner() {
            if let Some(owner) = owner
                && is_over(times_of(owner), &self.stopping, term, owner, at)
            {
                for running in self
                    .running
                    .values_mut()
                    .filter(|running| running.of.shard == *shard)
                {
                    running.is_excused |= self.ids.get(&running.who).is_some_and(|id| id == owner);
                }
            }
            term.hand_off = None;
        }
        if before.is_none_or(|before| before.counter != row.counter) {
            term.renewed = at;
        }
        if row.checkpoint_owner.is_some() || row.rewind_to.is_some() {
            term.hand_off.get_or_insert(at);
        }
    }

    /// Whether this worker may still be at work on a shard that another one has begun.
    fn is_excused(&self, running: &Running, at: Duration) -> bool {
        if running.is_excused || self.orphans.contains(&(running.who.clone(), running.of.clone())) {
            return true;
        }
        let (Some(id), Some(term)) = (self.ids.get(&running.who), self.terms.get(&running.of.shard)) else {
            return false;
        };
        // The table may not have been looked at since its owner changed.
        let is_owner = term.row.as_ref().and_then(Row::actual_owner) == Some(id);
        let times = self.times.of(self.failovers.get(id).copied());
        is_owner && is_over(times, &self.stopping, term, id, at)
    }
}

/// Whether the owner's lease has expired, or its time to drain is over.
fn is_over(
    times: Times,
    stopping: &BTreeMap<String, Duration>,
    term: &Term,
    owner: &str,
    at: Duration,
) -> bool {
    let since = |from: Option<Duration>| at.saturating_sub(from.unwrap_or(at)) + SLACK;
    since(Some(term.renewed)) >= times.failover
        || since(term.hand_off) >= times.drain
        || since(stopping.get(owner).copied()) >= times.drain.min(times.stop * 3 / 4)
}

impl Rule for Overlaps {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        self.tampered.see(event);
        match &event.what {
            What::Started { id, failover } => {
                self.failovers.insert(id.clone(), *failover);
                self.ids.insert(event.who.clone(), id.clone());
            }
            What::NameTaken { shards, .. } => {
                let held = self.known.iter().filter(|(_, of)| shards.contains(&of.shard));
                self.orphans.extend(held.cloned());
            }
            // Whoever leaves by itself already does so since then.
            What::Stopping { id } if !self.leaves_by_itself.contains(&event.who) => {
                self.stopping.insert(id.clone(), event.at);
            }
            What::LeavesByItself { id } => {
                // The workers are looked at ten times a second.
                let since = event.at.saturating_sub(SLACK);
                self.stopping.insert(id.clone(), since);
                self.leaves_by_itself.insert(event.who.clone());
            }
            What::Row { shard, row } => self.row(event.at, shard, row),
            What::Initialized { of } => {
                if self.leaves_by_itself.remove(&event.who)
                    && let Some(id) = self.ids.get(&event.who)
                {
                    self.stopping.remove(id);
                }
                let me = (event.who.clone(), of.clone());
                if self.tampered.is_recent(&of.shard, event.at) {
                    self.orphans.insert(me);
                } else {
                    self.orphans.remove(&me);
                    self.known.insert(me);
                }
            }
            What::BatchEnded { call, .. } | What::RecordEnded { call, .. } => {
                self.running.remove(call);
            }
            What::Killed { .. } => self.running.retain(|_, running| running.who != event.who),
            What::BatchBegan { of, call, .. } | What::RecordBegan { of, call, .. } => {
                let is_single = matches!(event.what, What::RecordBegan { .. });
                let is_beside = |running: &Running| {
                    running.who == event.who && running.of == *of && (is_single || running.is_single)
                };
                let others = self
                    .running
                    .values()
                    .filter(|running| running.of.shard == of.shard && !is_beside(running));
                let overlap = others
                    .into_iter()
                    .find(|running| running.who == event.who || !self.is_excused(running, event.at));
                // Whose row is gone takes nobody's place.
                let is_orphan = self.orphans.contains(&(event.who.clone(), of.clone()));
                let seen = overlap.filter(|_| !is_orphan).map(|older| {
                    format!(
                        "{} with {} began on {} while {} with {} was at work",
                        event.who, of.token, of.shard, older.who, older.of.token
                    )
                });
                let running = Running {
                    who: event.who.clone(),
                    of: of.clone(),
                    is_single,
                    is_excused: false,
                };
                self.running.insert(*call, running);
                return seen.map(|seen| (OVERLAP, seen));
            }
            _ => {}
        }
        None
    }

    fn forget(&mut self, shard: &Name) {
        self.terms.remove(shard);
        self.running.retain(|_, running| running.of.shard != *shard);
        let known = std::mem::take(&mut self.known);
        let (gone, known) = known.into_iter().partition(|(_, of)| of.shard == *shard);
        self.known = known;
        let gone: BTreeSet<_> = gone;
        self.orphans.extend(gone);
    }
}
