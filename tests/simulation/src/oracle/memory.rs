//! How much of its stream a worker holds.

use std::collections::BTreeMap;

use kcl_core::{Checkpoint, SequenceNumber};

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const TOO_MUCH: &str = "what a worker has read and not processed stays within its bound";

/// How far a processor got.
#[derive(Debug, Default)]
struct Progress {
    /// The last record that it was given.
    given: Option<SequenceNumber>,
    /// The last record of the batches that succeeded, or that the lease says is done: it may be read again, and is left out.
    done: Option<SequenceNumber>,
}

/// Adds up what workers read, and takes away what is processed or not theirs any more.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// By life: what it may hold.
    bounds: BTreeMap<Name, u64>,
    /// Where records are. Some are read before it is known that they were put.
    shards: BTreeMap<SequenceNumber, Name>,
    /// By shard: what its lease said last of how far it is processed, if that is a whole record.
    checkpoints: BTreeMap<Name, SequenceNumber>,
    /// By life and shard, from the beginning of an ownership to its end.
    owned: BTreeMap<(Name, Name), Progress>,
    /// By life: records that it read and has not processed, with their bytes.
    read: BTreeMap<Name, BTreeMap<SequenceNumber, u64>>,
}

impl Memory {
    /// How much a worker holds, if that is too much.
    fn judge(&self, who: &Name) -> Option<String> {
        let bound = *self.bounds.get(who)?;
        let is_held = |number: &SequenceNumber| {
            let shard = self.shards.get(number)?;
            let progress = self.owned.get(&(who.clone(), shard.clone()))?;
            Some(progress.done.as_ref().is_none_or(|done| number > done))
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
            Checkpoint::At(at) if at.sub_sequence == 0 => {
                self.checkpoints.insert(shard.clone(), at.sequence.clone());
            }
            _ => {
                self.checkpoints.remove(shard);
            }
        }
    }

    /// Forgets what a worker read of a shard, up to a record or all of it.
    fn release(&mut self, who: &Name, shard: &Name, up_to: Option<&SequenceNumber>) {
        let shards = &self.shards;
        if let Some(read) = self.read.get_mut(who) {
            read.retain(|number, _| {
                let is_of_it = shards.get(number).is_some_and(|of| of == shard);
                !is_of_it || up_to.is_some_and(|up_to| number > up_to)
            });
        }
    }
}

impl Rule for Memory {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let who = &event.who;
        match &event.what {
            What::Bounded { bytes } => {
                self.bounds.insert(who.clone(), *bytes);
            }
            _ if self.bounds.is_empty() => {}
            What::Put { shard, sequence, .. } => {
                self.shards.insert(sequence.clone(), shard.clone());
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
            What::Delivered { of, sequence, .. } => {
                if let Some(progress) = self.owned.get_mut(&(who.clone(), of.shard.clone())) {
                    progress.given = Some(sequence.clone());
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
