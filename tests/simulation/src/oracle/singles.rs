//! Records that are handled beside each other: in which order, how many at once, and what a checkpoint says of them.
//!
//! What the failure policy gives up is not told. So an unreadable record that failed counts as done, and numbers are the least that
//! they may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{Checkpoint, ExtendedSequenceNumber};

use super::Rule;
use crate::history::{Event, Name, Ownership, Single, What};
use crate::singles::Limits;

pub(super) const ORDER: &str =
    "the records of a key are handled one at a time, each when those before it are done";
pub(super) const ONCE: &str =
    "an owner handles what it was given, each record until it is done, and then no more";
pub(super) const CROWD: &str = "no more records are handled at once than are allowed";
pub(super) const TAKEN: &str = "no more records are taken in than the limits allow";
pub(super) const WATERMARK: &str =
    "the checkpoint of records that are handled beside each other passes none that is not done";
pub(super) const OVER: &str = "no record is begun once its shard is given up, ended or lost";

type Place = ExtendedSequenceNumber;
type Owner = (Name, Ownership);

#[derive(Debug)]
struct Record {
    lane: Option<Name>,
    is_unreadable: bool,
    /// When it failed first.
    failed_at: Option<Duration>,
    is_under_way: bool,
    is_done: bool,
}

impl Record {
    fn may_be_given_up(&self) -> bool {
        self.is_unreadable && self.failed_at.is_some() && !self.is_under_way
    }

    fn is_undone(&self) -> bool {
        !self.is_done && !self.may_be_given_up()
    }
}

#[derive(Debug, Default)]
struct Shard {
    given: BTreeMap<Place, Record>,
    is_over: bool,
    /// All up to here is taken in; what comes behind it was given in a call that may be waiting for room.
    taken_in: Option<Place>,
    /// Why it should not have taken in what it did, unless it was about to be given up.
    too_much: Option<String>,
}

impl Shard {
    fn give(&mut self, records: &[Single]) {
        for single in records {
            let record = Record {
                lane: single.lane.clone(),
                is_unreadable: single.is_unreadable,
                failed_at: None,
                is_under_way: false,
                is_done: false,
            };
            self.given.entry(single.position.clone()).or_insert(record);
        }
    }

    /// What must not be when a record is begun.
    fn begins(&self, place: &Place) -> Option<(&'static str, String)> {
        let Some(record) = self.given.get(place) else {
            return Some((ONCE, format!("{place} was given to another one")));
        };
        if record.is_done {
            return Some((ONCE, format!("{place} is done")));
        }
        if record.is_under_way {
            return Some((ORDER, format!("{place} is under way")));
        }
        let lane = record.lane.as_ref()?;
        let others = self
            .given
            .iter()
            .filter(|(other, it)| it.lane.as_ref() == Some(lane) && *other != place);
        let mut others = others.map(|(other, it)| (other, it.is_under_way, it.is_undone()));
        let wrong =
            others.find(|(other, is_under_way, is_undone)| *is_under_way || *is_undone && *other < place);
        let (other, is_under_way, _) = wrong?;
        let how = if is_under_way { "under way" } else { "not done" };
        Some((
            ORDER,
            format!("{place} of {lane} was begun while {other} is {how}"),
        ))
    }

    /// The first record up to a place, or of all, that is not done.
    fn undone(&self, up_to: Option<&Place>) -> Option<&Place> {
        let mut given = self
            .given
            .iter()
            .take_while(|(place, _)| up_to.is_none_or(|to| *place <= to));
        given
            .find(|(_, record)| record.is_undone())
            .map(|(place, _)| place)
    }

    /// Records that are certainly taken in, and not done.
    fn count_undone(&self) -> usize {
        let Some(last) = &self.taken_in else { return 0 };
        let taken_in = self.given.range(..=last.clone());
        taken_in.filter(|(_, record)| record.is_undone()).count()
    }

    /// What was taken in beyond the limits, once the last batch is.
    fn beyond(&self, limits: &Limits, at: Duration) -> Option<String> {
        let undone = self.given.values().filter(|record| record.is_undone()).count();
        let first = self.undone(None)?;
        let ahead = self.given.range(first.clone()..).count();
        // What failed at that very moment may not have been known.
        let has_failed = |record: &Record| record.failed_at.is_some_and(|failed| failed < at);
        let fails = |record: &Record| has_failed(record) && record.is_undone();
        let failing: BTreeSet<_> = self
            .given
            .values()
            .filter(|it| fails(it))
            .map(|it| &it.lane)
            .collect();
        let is_held_back = |record: &Record| match record.lane {
            Some(_) => record.is_undone() && failing.contains(&record.lane),
            None => fails(record),
        };
        let held_back = self.given.values().filter(|it| is_held_back(it)).count();
        // The last one may have come to them.
        let is_last_one = self.given.values().next_back().is_some_and(is_held_back);
        let held_back = held_back - usize::from(is_last_one);
        let is_beyond = undone > limits.undone || ahead > limits.ahead || held_back >= limits.held_back;
        is_beyond.then(|| format!("{undone} undone, {held_back} held back before the last one, {ahead} from the first undone one"))
    }
}

/// Follows every record from its owner's hands to its end.
#[derive(Debug, Default)]
pub(super) struct Singles {
    limits: BTreeMap<Name, Limits>,
    shards: BTreeMap<Owner, Shard>,
    /// Handlers that are at work, by their calls.
    calls: BTreeMap<u64, (Owner, Place)>,
}

impl Singles {
    /// What a shard took in beyond the bound of all shards of its worker. Where that is reached, those that have nothing may take one.
    fn beyond_in_worker(&self, owner: &Owner) -> Option<String> {
        let most = self.limits.get(&owner.0)?.undone_in_worker?;
        let mine = self.shards.get(owner)?.count_undone();
        let others = self
            .shards
            .iter()
            .filter(|(other, shard)| other.0 == owner.0 && *other != owner && !shard.is_over);
        let others = others
            .map(|(_, shard)| shard.count_undone())
            .filter(|undone| *undone > 0);
        let (count, undone) = others.fold((0, 0), |(count, sum), undone| (count + 1, sum + undone));
        let is_beyond = mine > 1 && mine + undone > most + count;
        is_beyond.then(|| format!("{mine} undone, and {undone} in {count} other shards of the worker"))
    }

    fn begins(&mut self, owner: Owner, call: u64, place: &Place) -> Option<(&'static str, String)> {
        let shard = self.shards.entry(owner.clone()).or_default();
        let (who, of) = &owner;
        let about = |(rule, seen): (&'static str, String)| (rule, format!("{who} on {}: {seen}", of.shard));
        let wrong = match shard.is_over {
            true => Some((OVER, format!("{place} was begun"))),
            false => shard.begins(place),
        };
        if let Some(record) = shard.given.get_mut(place) {
            record.is_under_way = true;
        }
        self.calls.insert(call, (owner.clone(), place.clone()));
        if let Some(wrong) = wrong {
            return Some(about(wrong));
        }
        let limits = self.limits.get(who)?;
        let of_shard = self.calls.values().filter(|(other, _)| *other == owner).count();
        let of_worker = self.calls.values().filter(|((other, _), _)| other == who).count();
        let is_crowded = of_shard > limits.at_once || limits.in_worker.is_some_and(|most| of_worker > most);
        is_crowded.then(|| {
            about((
                CROWD,
                format!("{of_shard} of the shard, {of_worker} of the worker"),
            ))
        })
    }

    fn ends(&mut self, call: u64, is_ok: bool, at: Duration) {
        let Some((owner, place)) = self.calls.remove(&call) else {
            return;
        };
        let shard = self.shards.get_mut(&owner);
        if let Some(record) = shard.and_then(|shard| shard.given.get_mut(&place)) {
            record.is_under_way = false;
            record.is_done |= is_ok;
            if !is_ok {
                record.failed_at.get_or_insert(at);
            }
        }
    }
}

impl Rule for Singles {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let who = &event.who;
        let owner = |of: &Ownership| (who.clone(), of.clone());
        match &event.what {
            What::HandlesSingly { limits } => {
                self.limits.insert(who.clone(), *limits);
            }
            _ if self.limits.is_empty() => {}
            What::Initialized { of } => {
                self.shards.insert(owner(of), Shard::default());
            }
            What::BatchBegan { of, .. } => {
                let too_much = self.shards.get_mut(&owner(of))?.too_much.take()?;
                return Some((TAKEN, format!("{who} on {}: {too_much}", of.shard)));
            }
            What::Given { of, records } => self.shards.entry(owner(of)).or_default().give(records),
            What::BatchEnded { of, is_ok: true, .. } => {
                let shard = self.shards.get_mut(&owner(of))?;
                shard.taken_in = shard.given.keys().next_back().cloned();
                let in_worker = self.beyond_in_worker(&owner(of));
                let limits = self.limits.get(who)?;
                let shard = self.shards.get_mut(&owner(of))?;
                shard.too_much = shard.beyond(limits, event.at).or(in_worker);
            }
            What::RecordBegan {
                of, call, position, ..
            } => return self.begins(owner(of), *call, position),
            What::RecordEnded { call, is_ok, .. } => self.ends(*call, *is_ok, event.at),
            What::Checkpointed {
                of,
                to: Checkpoint::At(to),
            } => {
                let undone = self.shards.get(&owner(of))?.undone(Some(to))?;
                return Some((
                    WATERMARK,
                    format!("{} at {to}, but {undone} is not done", of.shard),
                ));
            }
            What::ShardEnded { of } => {
                let shard = self.shards.get_mut(&owner(of))?;
                shard.is_over = true;
                let undone = shard.undone(None)?;
                return Some((
                    WATERMARK,
                    format!("{} has ended, but {undone} is not done", of.shard),
                ));
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } => {
                self.shards.entry(owner(of)).or_default().is_over = true;
            }
            What::Killed { .. } => {
                self.shards.retain(|(life, _), _| life != who);
                self.calls.retain(|_, ((life, _), _)| life != who);
            }
            _ => {}
        }
        None
    }
}
