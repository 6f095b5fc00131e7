//! What the rows of the lease table may do.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::{Checkpoint, SequenceNumber};

use super::Rule;
use crate::history::{Event, Name, Row, What};

pub(super) const COUNTER: &str = "a lease's counter only grows";
pub(super) const BACK: &str = "a checkpoint never moves back";
pub(super) const PASSED: &str = "a checkpoint never passes a record that was not processed";

#[derive(Debug, Default)]
struct Records {
    waiting: BTreeSet<SequenceNumber>,
    processed: BTreeSet<SequenceNumber>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<Name, Row>,
    shards: BTreeMap<Name, Records>,
}

impl Table {
    fn passed(&self, shard: &Name, checkpoint: &Checkpoint) -> Option<(&'static str, String)> {
        let first = self.shards.get(shard)?.waiting.first()?;
        let is_passed = match checkpoint {
            Checkpoint::At(position) => *first <= position.sequence,
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
            What::Put { shard, sequence, .. } => {
                let records = self.shards.entry(shard.clone()).or_default();
                if !records.processed.contains(sequence) {
                    records.waiting.insert(sequence.clone());
                }
                let checkpoint = self.rows.get(shard)?.checkpoint.clone();
                self.passed(shard, &checkpoint)
            }
            What::Delivered { of, sequence, .. } => {
                let records = self.shards.entry(of.shard.clone()).or_default();
                records.waiting.remove(sequence);
                records.processed.insert(sequence.clone());
                None
            }
            What::Row { shard, row } => {
                let last = self.rows.insert(shard.clone(), row.clone());
                if let Some(last) = last {
                    if row.checkpoint < last.checkpoint {
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

    fn forget(&mut self, shard: &Name) {
        self.rows.remove(shard);
    }
}
