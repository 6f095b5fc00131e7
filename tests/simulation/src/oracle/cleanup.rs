//! In which order the leases of ended shards are deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::Checkpoint;

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const PARENTS: &str = "the lease of an ended shard is deleted after those of its parents";
pub(super) const CHILDREN: &str = "the lease of an ended shard is deleted after its children were begun";

#[derive(Debug, Default)]
pub(super) struct Cleanup {
    parents: BTreeMap<Name, Vec<Name>>,
    /// Shards that have a lease now.
    rows: BTreeSet<Name>,
    /// Shards of which something was checkpointed, or that are begun at the latest record.
    begun: BTreeSet<Name>,
    /// Shards whose rows were changed or deleted by hand.
    touched: BTreeSet<Name>,
    /// Shards whose rows were seen to be gone, and when: judged once all that was seen at that moment is known.
    gone: Vec<(Duration, Name)>,
}

impl Cleanup {
    fn judge(&self, gone: &Name) -> Option<(&'static str, String)> {
        let parents = self.parents.get(gone).into_iter().flatten();
        let children = self.parents.iter().filter(|(_, parents)| parents.contains(gone));
        let children: Vec<_> = children.map(|(child, _)| child).collect();
        let mut family = parents.clone().chain(children.iter().copied()).chain([gone]);
        if family.any(|shard| self.touched.contains(shard)) {
            return None;
        }
        if let Some(parent) = parents.clone().find(|parent| self.rows.contains(*parent)) {
            return Some((PARENTS, format!("{gone} is gone, and {parent} is still there")));
        }
        let child = children.into_iter().find(|child| !self.begun.contains(*child))?;
        Some((CHILDREN, format!("{gone} is gone, and {child} was not begun")))
    }
}

impl Rule for Cleanup {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let is_over = self.gone.first().is_some_and(|(at, _)| *at < event.at);
        let gone = if is_over {
            std::mem::take(&mut self.gone)
        } else {
            Vec::new()
        };
        let verdict = gone.iter().find_map(|(_, shard)| self.judge(shard));
        match &event.what {
            What::ShardOpened { shard, parents } => {
                self.parents.insert(shard.clone(), parents.clone());
            }
            What::Row { shard, row } => {
                self.rows.insert(shard.clone());
                if !matches!(row.checkpoint, Checkpoint::TrimHorizon | Checkpoint::AtTimestamp) {
                    self.begun.insert(shard.clone());
                }
            }
            // The table is looked at ten times a second: the rows of a whole family may come and go between two looks.
            What::Checkpointed { of, .. } | What::ShardEnded { of } => {
                self.begun.insert(of.shard.clone());
            }
            // Nobody can begin it any more.
            What::ShardGone { shard } => {
                self.begun.insert(shard.clone());
            }
            What::RowGone { shard } => {
                self.rows.remove(shard);
                self.gone.push((event.at, shard.clone()));
            }
            What::RowDeletedByHand { shard } => {
                self.rows.remove(shard);
                self.touched.insert(shard.clone());
            }
            What::RowEditedByHand { shard, .. } => {
                self.touched.insert(shard.clone());
            }
            // They are set aside in whatever order.
            What::StreamDeleted { shards } => self.touched.extend(shards.iter().cloned()),
            _ => {}
        }
        verdict
    }

    fn forget(&mut self, shard: &Name) {
        self.touched.insert(shard.clone());
    }
}
