//! In which order records are delivered.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::ExtendedSequenceNumber;

use super::{Rule, Start};
use crate::history::{Event, Name, Ownership, What};
use crate::singles::Handled;

pub(super) const FIRSTS: &str = "the first deliveries of a key are in order";
pub(super) const WITHIN: &str = "one ownership delivers in order, and repeats a batch only after it failed";

#[derive(Debug, Default)]
struct Progress {
    /// The last record of the batches that succeeded.
    done: Option<ExtendedSequenceNumber>,
    /// The last record delivered.
    last: Option<ExtendedSequenceNumber>,
    /// How many records the call under way, or the last one, was given.
    records: usize,
    /// Whether the last call was given one record, and failed: then the record in front may be delivered again.
    fails_alone: bool,
}

#[derive(Debug, Default)]
pub(super) struct Order {
    /// The counter that is due next, per key.
    next: BTreeMap<Name, u64>,
    owners: BTreeMap<(Name, Ownership), Progress>,
    /// By shard: the greatest token of those that delivered its records.
    newest: BTreeMap<Name, u64>,
    /// Shards whose tokens began anew.
    forgotten: BTreeSet<Name>,
    start: Start,
    /// Lives that handle records beside each other, and whether those of a key are in order.
    singly: BTreeMap<Name, bool>,
    /// What was put, by shard, to know what is trimmed with one.
    put: BTreeMap<Name, Vec<(Name, u64)>>,
    /// Records that nobody can read, or take, any more.
    trimmed: BTreeSet<(Name, u64)>,
    /// Shards of streams that were deleted.
    of_the_past: BTreeSet<Name>,
}

impl Rule for Order {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::HandlesSingly { limits } => {
                self.singly
                    .insert(event.who.clone(), limits.order != Handled::InAnyOrder);
                None
            }
            What::Initialized { of } if self.forgotten.contains(&of.shard) => {
                self.owners.remove(&(event.who.clone(), of.clone()));
                None
            }
            What::Put {
                key, counter, shard, ..
            } => {
                let records = self.put.entry(shard.clone()).or_default();
                records.push((key.clone(), *counter));
                None
            }
            What::Trimmed { shard } => {
                self.trimmed.extend(self.put.remove(shard).unwrap_or_default());
                None
            }
            What::StreamDeleted { shards } => {
                for shard in shards {
                    self.trimmed.extend(self.put.remove(shard).unwrap_or_default());
                }
                self.of_the_past.extend(shards.iter().cloned());
                None
            }
            What::BatchBegan { of, records, .. } => {
                let progress = self.owners.entry((event.who.clone(), of.clone())).or_default();
                progress.last = progress.done.clone();
                progress.records = *records;
                None
            }
            What::BatchEnded { of, is_ok, .. } => {
                let progress = self.owners.entry((event.who.clone(), of.clone())).or_default();
                progress.fails_alone = !is_ok && progress.records == 1;
                if *is_ok {
                    progress.done = progress.last.clone();
                }
                None
            }
            What::PutUnreadable { key, counter, .. } => {
                self.trimmed.insert((key.clone(), *counter));
                None
            }
            What::Delivered {
                of,
                key,
                counter,
                position,
            } => {
                let progress = self.owners.entry((event.who.clone(), of.clone())).or_default();
                let last = progress.last.replace(position.clone());
                let is_probe =
                    progress.fails_alone && progress.records == 1 && last.as_ref() == Some(position);
                let singly = self.singly.get(&event.who);
                let is_behind = |last: &ExtendedSequenceNumber| last >= position && !is_probe;
                if let Some(last) = last.filter(|last| singly.is_none() && is_behind(last)) {
                    return Some((
                        WITHIN,
                        format!("{key}:{counter} at {position} came after {last} in {}", of.shard),
                    ));
                }
                let newest = self.newest.entry(of.shard.clone()).or_default();
                *newest = (*newest).max(of.token);
                if singly == Some(&false) {
                    return None;
                }
                // With a lease of the stream before, user records of an aggregate are left out that are not in the range of its shard.
                // All are delivered again when that lease is set aside.
                if self.of_the_past.contains(&of.shard) {
                    return None;
                }
                // Whoever follows an owner that began at the latest record begins some seconds before that, to be safe. An owner that
                // was frozen in a call meanwhile goes on from where it was.
                if self.start == Start::Latest && of.token < *newest {
                    return None;
                }
                let skips_the_first = self.start != Start::Beginning && !self.next.contains_key(key);
                let next = self.next.entry(key.clone()).or_default();
                while self.trimmed.contains(&(key.clone(), *next)) && *next < *counter {
                    *next += 1;
                }
                if skips_the_first {
                    *next = *counter;
                }
                if *counter > *next {
                    let seen = format!("{key}:{counter} was delivered before {key}:{next}");
                    *next = counter + 1;
                    return Some((FIRSTS, seen));
                }
                *next = (*next).max(counter + 1);
                None
            }
            _ => None,
        }
    }

    fn starting(&mut self, start: Start) {
        self.start = start;
    }

    fn forget(&mut self, shard: &Name) {
        self.forgotten.insert(shard.clone());
        self.newest.remove(shard);
    }
}
