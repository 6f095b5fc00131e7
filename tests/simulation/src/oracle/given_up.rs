//! Records that processors cannot take, and what becomes of them.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::ExtendedSequenceNumber;

use super::Rule;
use crate::history::{Event, Name, Ownership, What};

pub(super) const INNOCENT: &str = "nothing becomes a dead letter that a processor can take";
pub(super) const AGAIN: &str = "what a processor says it is done with is not delivered to it again";

#[derive(Debug, Default)]
struct Progress {
    /// Records of the batch at hand.
    records: usize,
    /// Everything before this is done, as the processor said.
    done_before: Option<ExtendedSequenceNumber>,
}

#[derive(Debug, Default)]
pub(super) struct GivenUp {
    unreadable: BTreeSet<(Name, u64)>,
    owners: BTreeMap<(Name, Ownership), Progress>,
}

impl Rule for GivenUp {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let mut progress = |of: &Ownership| {
            let owner = (event.who.clone(), of.clone());
            std::mem::take(self.owners.entry(owner).or_default())
        };
        match &event.what {
            What::PutUnreadable { key, counter, .. } => {
                self.unreadable.insert((key.clone(), *counter));
                None
            }
            What::DeadLettered {
                key,
                counter,
                position,
            } => {
                let is_innocent = !self.unreadable.contains(&(key.clone(), *counter));
                is_innocent.then(|| (INNOCENT, format!("{key}:{counter} at {position}")))
            }
            What::BatchBegan { of, records, .. } => {
                let before = progress(of);
                let next = Progress {
                    records: *records,
                    ..before
                };
                self.owners.insert((event.who.clone(), of.clone()), next);
                None
            }
            What::Named { of, position } => {
                let before = progress(of);
                let next = Progress {
                    done_before: Some(position.clone()),
                    ..before
                };
                self.owners.insert((event.who.clone(), of.clone()), next);
                None
            }
            What::Delivered {
                of,
                key,
                counter,
                position,
            } => {
                let progress = self.owners.get(&(event.who.clone(), of.clone()))?;
                // One alone may be the record in front, to see whether the sink is there.
                let is_again = progress.records > 1 && progress.done_before.as_ref() > Some(position);
                is_again.then(|| (AGAIN, format!("{key}:{counter} at {position} in {}", of.shard)))
            }
            _ => None,
        }
    }
}
