//! How a history ends: everything processed, everything in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, SequenceNumber};

use super::{Rule, Start};
use crate::edits::Edit;
use crate::history::{Event, Name, What};

pub(super) const RESTS: &str = "once nothing is disturbed any more, the fleet comes to rest";
pub(super) const LOST: &str = "every record is processed, or reported as trimmed";

/// Arrival times are kept in milliseconds.
const ROUNDING: Duration = Duration::from_millis(2);

#[derive(Debug)]
struct Record {
    shard: Name,
    position: ExtendedSequenceNumber,
    put_at: Duration,
    /// Whether what follows it in its shard was processed: who reads on must have been told that it is missing.
    is_passed: bool,
}

impl Record {
    /// Whether it is not behind a record of Kinesis that was read. Of an aggregate, only the first is sure to have been processed.
    fn is_up_to(&self, read: &SequenceNumber) -> bool {
        let ExtendedSequenceNumber {
            sequence,
            sub_sequence,
        } = &self.position;
        sequence < read || sequence == read && *sub_sequence == 0
    }
}

#[derive(Debug, Default)]
struct Shard {
    /// The checkpoint of its lease.
    checkpoint: Option<Checkpoint>,
    /// The shards that it came from.
    parents: Vec<Name>,
    /// Whether its lease was made to read it from its beginning.
    is_whole: bool,
    /// There was a processor of it before its lease was seen, and it does not follow another shard.
    is_early: bool,
    /// When its first batch arrived.
    begun_at: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Rest {
    start: Start,
    shards: BTreeMap<Name, Shard>,
    waiting: BTreeMap<(Name, u64), Record>,
    /// Processed, or such as cannot be.
    delivered: BTreeSet<(Name, u64)>,
    /// Records that were trimmed before they were processed, and that nobody was told of yet.
    trimmed: BTreeMap<(Name, u64), Record>,
}

impl Rest {
    pub(super) fn starting(&mut self, start: Start) {
        self.start = start;
    }

    pub(super) fn unprocessed(&self) -> usize {
        self.due().count()
    }

    fn is_due(&self, record: &Record) -> bool {
        let shard = self.shards.get(&record.shard);
        match self.start {
            Start::Beginning => true,
            Start::At(start) => record.put_at >= start + ROUNDING,
            Start::Latest => shard.is_some_and(|shard| {
                shard.is_whole || shard.begun_at.is_some_and(|begun| record.put_at > begun)
            }),
        }
    }

    /// Whether there were leases for what a shard came from: then it is read from its beginning.
    fn follows(&self, shard: &Name) -> bool {
        let parents = self
            .shards
            .get(shard)
            .into_iter()
            .flat_map(|shard| &shard.parents);
        let mut leased = parents.filter_map(|parent| self.shards.get(parent));
        leased.any(|parent| parent.checkpoint.is_some())
    }

    /// A shard was processed up to here; `None` is its end.
    fn pass(&mut self, shard: &Name, to: Option<&ExtendedSequenceNumber>) {
        for record in self.trimmed.values_mut() {
            record.is_passed |= record.shard == *shard && to.is_none_or(|to| record.position < *to);
        }
    }

    /// Records that must be processed, and are not.
    fn due(&self) -> impl Iterator<Item = &(Name, u64)> {
        let due = self.waiting.iter().filter(|(_, record)| self.is_due(record));
        due.map(|(name, _)| name)
    }
}

impl Rule for Rest {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Put {
                key,
                counter,
                shard,
                position,
            } => {
                let name = (key.clone(), *counter);
                if !self.delivered.contains(&name) {
                    let record = Record {
                        shard: shard.clone(),
                        position: position.clone(),
                        put_at: event.at,
                        is_passed: false,
                    };
                    self.waiting.insert(name, record);
                }
                None
            }
            What::Delivered {
                of,
                key,
                counter,
                position,
            } => {
                self.pass(&of.shard, Some(position));
                let name = (key.clone(), *counter);
                self.waiting.remove(&name);
                self.trimmed.remove(&name);
                self.delivered.insert(name);
                None
            }
            What::PutUnreadable { key, counter, .. } => {
                self.delivered.insert((key.clone(), *counter));
                None
            }
            What::ShardOpened { shard, parents } => {
                self.shards
                    .entry(shard.clone())
                    .or_default()
                    .parents
                    .clone_from(parents);
                None
            }
            // The table is looked at ten times a second, and a shard may be begun with, or ended, before.
            What::Initialized { of } => {
                let follows = self.follows(&of.shard);
                let shard = self.shards.entry(of.shard.clone()).or_default();
                shard.is_early |= shard.checkpoint.is_none() && !follows;
                None
            }
            What::Row { shard, row } => {
                let shard = self.shards.entry(shard.clone()).or_default();
                if shard.checkpoint.is_none() {
                    shard.is_whole = match row.checkpoint {
                        Checkpoint::Latest => false,
                        Checkpoint::TrimHorizon => true,
                        _ => !shard.is_early,
                    };
                }
                shard.checkpoint = Some(row.furthest_back());
                None
            }
            What::BatchBegan { of, .. } => {
                let shard = self.shards.entry(of.shard.clone()).or_default();
                shard.begun_at.get_or_insert(event.at);
                None
            }
            What::ShardEnded { of } => {
                self.pass(&of.shard, None);
                None
            }
            What::Trimmed { shard } => {
                // Without a checkpoint reading starts with the oldest record there is, whatever that is.
                let checkpoint = self.shards.get(shard).and_then(|shard| shard.checkpoint.as_ref());
                let is_promised = matches!(checkpoint, Some(Checkpoint::At(_)));
                let waiting = std::mem::take(&mut self.waiting);
                let (lost, waiting) = waiting
                    .into_iter()
                    .partition(|(_, record)| record.shard == *shard);
                self.waiting = waiting;
                let lost: BTreeMap<_, _> = lost;
                let missed: Vec<_> = lost
                    .into_iter()
                    .filter(|(_, record)| is_promised && self.is_due(record))
                    .collect();
                self.trimmed.extend(missed);
                None
            }
            What::GapReported { of, after, before } => {
                self.trimmed.retain(|_, record| {
                    record.shard != of.shard
                        || after.as_ref().is_some_and(|after| record.is_up_to(after))
                        || before
                            .as_ref()
                            .is_some_and(|before| record.position.sequence >= *before)
                });
                None
            }
            What::StreamDeleted { shards } => {
                self.waiting.retain(|_, record| !shards.contains(&record.shard));
                self.trimmed.retain(|_, record| !shards.contains(&record.shard));
                None
            }
            // Where it was read to is forgotten with it.
            What::RowDeletedByHand { shard } => {
                self.trimmed.retain(|_, record| record.shard != *shard);
                None
            }
            What::RowEditedByHand { shard, edit, row } => {
                self.shards.entry(shard.clone()).or_default().checkpoint = Some(row.furthest_back());
                if edit.is_about_progress() || *edit == Edit::Ordered {
                    self.trimmed.retain(|_, record| record.shard != *shard);
                }
                None
            }
            What::Settled => {
                if let Some((key, counter)) = self.due().next() {
                    return Some((LOST, format!("{key}:{counter} never was")));
                }
                let ((key, counter), record) = self.trimmed.iter().find(|(_, record)| record.is_passed)?;
                let shard = &record.shard;
                Some((
                    LOST,
                    format!("{key}:{counter} of {shard} was trimmed, and nobody was told"),
                ))
            }
            What::Unsettled { because } => Some((RESTS, because.join("; "))),
            _ => None,
        }
    }
}
