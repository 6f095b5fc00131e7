//! Lanes: the records of each key, one behind the other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};

use tokio::time::Instant;

use super::admitted::Slot;

/// Keys hash alike in each run: a run can be repeated.
type Keys<V> = HashMap<u64, V, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Keys<Lane>,
    /// Keys whose first record may be started, in turn.
    ready: VecDeque<u64>,
    /// Keys whose first record failed, and when it may be started again. The number tells apart those of one moment.
    pausing: BTreeMap<(Instant, u64), u64>,
    pauses: u64,
    failing: usize,
    held_back: usize,
    /// For each slot: the one behind it in its lane.
    behind: Vec<Option<Slot>>,
}

#[derive(Debug)]
struct Lane {
    first: Slot,
    last: Slot,
    records: usize,
    /// The first record failed, and is not done yet.
    is_failing: bool,
}

impl Lanes {
    pub(super) fn push(&mut self, key: u64, slot: Slot) {
        if self.behind.len() <= slot.index() {
            self.behind.resize(slot.index() + 1, None);
        }
        self.behind[slot.index()] = None;
        match self.lanes.get_mut(&key) {
            Some(lane) => {
                self.behind[lane.last.index()] = Some(slot);
                lane.last = slot;
                lane.records += 1;
                self.held_back += usize::from(lane.is_failing);
            }
            None => {
                let lane = Lane {
                    first: slot,
                    last: slot,
                    records: 1,
                    is_failing: false,
                };
                self.lanes.insert(key, lane);
                self.ready.push_back(key);
            }
        }
    }

    /// The lane whose turn it is, and its first record.
    pub(super) fn start(&mut self) -> Option<(u64, Slot)> {
        let key = self.ready.pop_front()?;
        Some((key, self.lanes.get(&key)?.first))
    }

    /// The first record of a lane that was started is done.
    pub(super) fn done(&mut self, key: u64) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if std::mem::take(&mut lane.is_failing) {
            self.failing -= 1;
            self.held_back -= lane.records;
        }
        match self.behind[lane.first.index()] {
            Some(next) => {
                lane.first = next;
                lane.records -= 1;
                self.ready.push_back(key);
            }
            None => {
                self.lanes.remove(&key);
            }
        }
    }

    /// The first record of a lane that was started failed; whether it is the first time.
    pub(super) fn pause(&mut self, key: u64, until: Instant) -> bool {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return false;
        };
        let is_new = !std::mem::replace(&mut lane.is_failing, true);
        if is_new {
            self.failing += 1;
            self.held_back += lane.records;
        }
        self.pauses += 1;
        self.pausing.insert((until, self.pauses), key);
        is_new
    }

    pub(super) fn is_failing(&self, key: u64) -> bool {
        self.lanes.get(&key).is_some_and(|lane| lane.is_failing)
    }

    /// The records of a lane, in order.
    pub(super) fn of(&self, key: u64) -> impl Iterator<Item = Slot> {
        let first = self.lanes.get(&key).map(|lane| lane.first);
        std::iter::successors(first, |slot| self.behind[slot.index()])
    }

    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(first) = self.pausing.first_entry()
            && first.key().0 <= now
        {
            self.ready.push_back(first.remove());
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.pausing.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn failing(&self) -> usize {
        self.failing
    }

    pub(super) fn held_back(&self) -> usize {
        self.held_back
    }
}
