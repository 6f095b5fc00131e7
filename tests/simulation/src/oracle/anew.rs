//! Streams that are deleted and made anew under their name.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Checkpoint, SequenceNumber};

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const FOREIGN: &str =
    "no lease of a stream that was made anew says what was processed of the one before";
pub(super) const KEPT: &str =
    "when a stream was made anew, each lease of the one before is kept, as far as its shard was processed";

/// What is known of the streams that are gone.
#[derive(Debug, Default)]
pub(super) struct Anew {
    /// The last record of all shards that there were.
    last: Option<SequenceNumber>,
    /// The same, of those that are gone.
    last_gone: Option<SequenceNumber>,
    gone: BTreeSet<Name>,
    rows: BTreeMap<Name, Checkpoint>,
    /// The leases of streams that are gone. Those that were made later are of the next one.
    expected: BTreeMap<Name, Checkpoint>,
    kept: BTreeMap<Name, Checkpoint>,
}

impl Anew {
    fn missing(&self) -> Option<String> {
        let leases = self.expected.iter();
        // The leases of shards that had ended may have been deleted before.
        let mut open = leases.filter(|(_, checkpoint)| !checkpoint.is_shard_end());
        open.find_map(|(shard, checkpoint)| {
            let kept = self.kept.get(shard);
            let is_kept = kept.is_some_and(|kept| kept >= checkpoint);
            let said = kept.map_or("nothing".to_owned(), ToString::to_string);
            (!is_kept).then(|| format!("{shard} was at {checkpoint}; {said} is kept of it"))
        })
    }
}

impl Rule for Anew {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Put { position, .. } => {
                self.last = self.last.take().max(Some(position.sequence.clone()));
            }
            What::StreamDeleted { shards } => {
                self.gone.extend(shards.iter().cloned());
                self.last_gone.clone_from(&self.last);
                let leases = self.rows.extract_if(.., |shard, _| shards.contains(shard));
                self.expected.extend(leases);
            }
            What::Row { shard, row } | What::RowEditedByHand { shard, row, .. } => {
                if let Some(expected) = self.expected.get_mut(shard) {
                    if row.rewind_to.is_some() {
                        *expected = row.furthest_back();
                        return None;
                    }
                    let is_of_it =
                        |at: &SequenceNumber| self.last_gone.as_ref().is_some_and(|last| at <= last);
                    if matches!(&row.checkpoint, Checkpoint::At(at) if is_of_it(&at.sequence)) {
                        *expected = row.checkpoint.clone();
                    }
                    return None;
                }
                self.rows.insert(shard.clone(), row.furthest_back());
                if let (Checkpoint::At(at), Some(last)) = (&row.checkpoint, &self.last_gone)
                    && !self.gone.contains(shard)
                    && at.sequence <= *last
                {
                    return Some((FOREIGN, format!("{shard} is checkpointed at {}", row.checkpoint)));
                }
            }
            What::RowGone { shard } => {
                self.rows.remove(shard);
            }
            What::RowDeletedByHand { shard } => {
                self.rows.remove(shard);
                self.expected.remove(shard);
            }
            What::Kept { shard, checkpoint } => {
                self.kept.insert(shard.clone(), checkpoint.clone());
            }
            What::Settled => return self.missing().map(|seen| (KEPT, seen)),
            _ => {}
        }
        None
    }
}
