//! How much of its stream a worker holds.

use std::collections::BTreeMap;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, SequenceNumber};

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const TOO_MUCH: &str = "what a worker has read and not processed stays within its bound";

/// How far a processor got.
#[derive(Debug, Default)]
struct Progress {
    /// The last record that it was given.
    given: Option<ExtendedSequenceNumber>,
    /// The last record of the batches that succeeded, or that the lease says is done: it may be read again, and is left out.
    done: Option<ExtendedSequenceNumber>,
}

/// Adds up what workers read, and takes away what is processed or not theirs any more.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By life: what it may hold.
    bounds: BTreeMap<Name, u64>,
    /// Where records of Kinesis are, and the index of the last user record of each that is to be processed. Some are read before
    /// it is known that they were put.
    places: BTreeMap<SequenceNumber, (Name, u64)>,
    /// By shard: what its lease said last of how far it is processed.
    checkpoints: BTreeMap<Name, ExtendedSequenceNumber>,
    /// By life and shard, from the beginning of an ownership to its end.
    owned: BTreeMap<(Name, Name), Progress>,
    /// By life: records of Kinesis that it read and has not processed to their ends, with their bytes.
    read: BTreeMap<Name, BTreeMap<SequenceNumber, u64>>,
}

impl Memory {
    /// How much a worker holds, if that is too much.
    fn judge(&self, who: &Name) -> Option<String> {
        let bound = *self.bounds.get(who)?;
        let is_held = |number: &SequenceNumber| {
            let (shard, last) = self.places.get(number)?;
            let progress = self.owned.get(&(who.clone(), shard.clone()))?;
            let done = progress.done.as_ref();
            Some(done.is_none_or(|done| is_behind(number, *last, done)))
        };
        let read = self.read.get(who)?.iter();
        let held: u64 = read
            .filter(|(number, _)| is_held(number) == Some(true))
            .map(|(_, bytes)| bytes)
            .sum();
        (held > bound).then(|| format!("{who} holds {held} bytes; it may hold {bound}"))
    }

    fn note_checkpoint(&mut self, shard: &Name, checkpoint: &Checkpoint) {
        match checkpoint {
            Checkpoint::At(at) => {
                self.checkpoints.insert(shard.clone(), at.clone());
            }
            _ => {
                self.checkpoints.remove(shard);
            }
        }
    }

    /// Forgets what a worker read of a shard, up to a record or all of it.
    fn release(&mut self, who: &Name, shard: &Name, up_to: Option<&ExtendedSequenceNumber>) {
        let places = &self.places;
        if let Some(read) = self.read.get_mut(who) {
            read.retain(|number, _| {
                let place = places.get(number).filter(|(of, _)| of == shard);
                place.is_none_or(|(_, last)| up_to.is_some_and(|up_to| is_behind(number, *last, up_to)))
            });
        }
    }
}

/// Whether the last user record of a record of Kinesis lies behind a place.
fn is_behind(number: &SequenceNumber, last: u64, place: &ExtendedSequenceNumber) -> bool {
    (number, last) > (&place.sequence, place.sub_sequence)
}

impl Rule for Memory {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let who = &event.who;
        match &event.what {
            What::Bounded { bytes } => {
                self.bounds.insert(who.clone(), *bytes);
            }
            _ if self.bounds.is_empty() => {}
            What::Put { shard, position, .. } => {
                let place = (shard.clone(), position.sub_sequence);
                self.places.insert(position.sequence.clone(), place);
            }
            What::Read { records } => {
                let read = self.read.entry(who.clone()).or_default();
                read.extend(records.iter().cloned());
                return self.judge(who).map(|seen| (TOO_MUCH, seen));
            }
            What::Row { shard, row } | What::RowEditedByHand { shard, row, .. } => {
                self.note_checkpoint(shard, &row.checkpoint);
            }
            What::Checkpointed { of, to } => self.note_checkpoint(&of.shard, to),
            What::RowGone { shard } | What::RowDeletedByHand { shard } => {
                self.checkpoints.remove(shard);
            }
            What::Initialized { of } => {
                self.release(who, &of.shard, None);
                let begun = (who.clone(), of.shard.clone());
                let progress = Progress {
                    given: None,
                    done: self.checkpoints.get(&of.shard).cloned(),
                };
                self.owned.insert(begun, progress);
            }
            What::Delivered { of, position, .. } => {
                if let Some(progress) = self.owned.get_mut(&(who.clone(), of.shard.clone())) {
                    progress.given = Some(position.clone());
                }
            }
            What::BatchEnded { of, is_ok: true, .. } => {
                let progress = self.owned.get_mut(&(who.clone(), of.shard.clone()))?;
                progress.done = progress.given.clone().or(progress.done.take());
                let done = progress.done.clone()?;
                self.release(who, &of.shard, Some(&done));
            }
            What::LeaseLost { of } | What::ShardEnded { of } | What::ShutdownRequested { of } => {
                self.owned.remove(&(who.clone(), of.shard.clone()));
                self.release(who, &of.shard, None);
            }
            What::Killed { .. } | What::Stopped { .. } | What::Ended { .. } => {
                self.owned.retain(|(life, _), _| life != who);
                self.read.remove(who);
            }
            _ => {}
        }
        None
    }
}
