//! What the rows of the lease table may do.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Checkpoint, ExtendedSequenceNumber};

use super::{Rule, Start};
use crate::history::{Event, Name, Row, What};

pub(super) const COUNTER: &str = "a lease's counter only grows";
pub(super) const BACK: &str = "a checkpoint never moves back";
pub(super) const MISLED: &str = "a checkpoint out of range is refused";
pub(super) const PASSED: &str = "a checkpoint never passes a record that was not processed";

#[derive(Debug, Default)]
struct Records {
    /// Read from the latest record on, and not begun yet: what is put is not due.
    is_latest: bool,
    has_begun: bool,
    /// The shards that it came from.
    parents: Vec<Name>,
    /// There was a processor of it before its row was seen, and it does not follow another shard.
    is_early: bool,
    /// What was put before it was begun with, if that was before its row was seen.
    early: BTreeSet<ExtendedSequenceNumber>,
    waiting: BTreeSet<ExtendedSequenceNumber>,
    processed: BTreeSet<ExtendedSequenceNumber>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    start: Start,
    rows: BTreeMap<Name, Row>,
    shards: BTreeMap<Name, Records>,
    /// Where records were put: a worker that began with a stream just before it was deleted makes leases for the next one.
    places: BTreeMap<ExtendedSequenceNumber, Name>,
    /// Records that no processor can take, and that may be skipped.
    unreadable: BTreeSet<(Name, u64)>,
}

impl Table {
    /// Whether there were leases for what a shard came from: then it is read from its beginning.
    fn follows(&self, shard: &Name) -> bool {
        let parents = self
            .shards
            .get(shard)
            .into_iter()
            .flat_map(|records| &records.parents);
        parents.into_iter().any(|parent| self.rows.contains_key(parent))
    }

    fn passed(&self, shard: &Name, checkpoint: &Checkpoint) -> Option<(&'static str, String)> {
        let records = self.shards.get(shard)?;
        if self.start == Start::Latest && records.is_latest && !records.has_begun {
            return None;
        }
        let first = records.waiting.first()?;
        let is_passed = match checkpoint {
            Checkpoint::At(position) => first <= position,
            Checkpoint::ShardEnd => true,
            _ => false,
        };
        is_passed.then(|| {
            (
                PASSED,
                format!("{shard} is checkpointed at {checkpoint}, but {first} was not processed"),
            )
        })
    }
}

impl Rule for Table {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::PutUnreadable {
                key,
                counter,
                is_kept,
            } => {
                if !is_kept {
                    self.unreadable.insert((key.clone(), *counter));
                }
                None
            }
            What::Put { key, counter, .. } if self.unreadable.contains(&(key.clone(), *counter)) => None,
            What::Put { shard, position, .. } => {
                self.places.insert(position.clone(), shard.clone());
                if matches!(self.start, Start::At(start) if event.at < start) {
                    return None;
                }
                let records = self.shards.entry(shard.clone()).or_default();
                if !records.processed.contains(position) {
                    records.waiting.insert(position.clone());
                }
                let checkpoint = self.rows.get(shard)?.checkpoint.clone();
                self.passed(shard, &checkpoint)
            }
            What::ShardOpened { shard, parents } => {
                self.shards
                    .entry(shard.clone())
                    .or_default()
                    .parents
                    .clone_from(parents);
                None
            }
            What::Initialized { of } if self.start == Start::Latest && !self.rows.contains_key(&of.shard) => {
                let follows = self.follows(&of.shard);
                self.shards.entry(of.shard.clone()).or_default().is_early = !follows;
                None
            }
            What::BatchBegan { of, .. } if self.start == Start::Latest => {
                let records = self.shards.entry(of.shard.clone()).or_default();
                if !std::mem::replace(&mut records.has_begun, true) {
                    if records.is_latest {
                        records.waiting.clear();
                    } else if !self.rows.contains_key(&of.shard) {
                        records.early = records.waiting.clone();
                    }
                }
                None
            }
            What::Trimmed { shard } => {
                self.shards.entry(shard.clone()).or_default().waiting.clear();
                None
            }
            What::StreamDeleted { shards } => {
                for shard in shards {
                    self.shards.entry(shard.clone()).or_default().waiting.clear();
                }
                None
            }
            What::Misled(how) => Some((MISLED, how.clone())),
            What::Delivered { of, position, .. } => {
                let shard = self.places.get(position).unwrap_or(&of.shard);
                let records = self.shards.entry(shard.clone()).or_default();
                records.waiting.remove(position);
                records.processed.insert(position.clone());
                None
            }
            What::DeadLettered { position, .. } => {
                let shard = self.places.get(position)?;
                let records = self.shards.entry(shard.clone()).or_default();
                records.waiting.remove(position);
                records.processed.insert(position.clone());
                None
            }
            What::RowEditedByHand { shard, row, .. } => {
                self.rows.insert(shard.clone(), row.clone());
                None
            }
            What::Row { shard, row } => {
                let last = self.rows.insert(shard.clone(), row.clone());
                if last.is_none() {
                    let records = self.shards.entry(shard.clone()).or_default();
                    records.is_latest |= row.checkpoint == Checkpoint::Latest;
                    if records.is_early && !records.has_begun && row.has_ended() {
                        // It was read from its latest record on, and there was none.
                        records.waiting.clear();
                    }
                    let early = std::mem::take(&mut records.early);
                    // The table is looked at ten times a second.
                    if row.checkpoint != Checkpoint::TrimHorizon {
                        records.waiting.retain(|position| !early.contains(position));
                    }
                }
                if let Some(last) = last {
                    // What was ordered is carried out by whoever begins with it.
                    let is_anew = last.rewind_to.is_some() && row.rewind_to.is_none();
                    if row.checkpoint < last.checkpoint && !is_anew {
                        let seen = format!("{shard} from {} to {}", last.checkpoint, row.checkpoint);
                        return Some((BACK, seen));
                    }
                    if row.counter < last.counter {
                        let seen = format!("{shard} from {} to {}", last.counter, row.counter);
                        return Some((COUNTER, seen));
                    }
                }
                self.passed(shard, &row.checkpoint)
            }
            _ => None,
        }
    }

    fn starting(&mut self, start: Start) {
        self.start = start;
    }

    fn forget(&mut self, shard: &Name) {
        self.rows.remove(shard);
    }
}
