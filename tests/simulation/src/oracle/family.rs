//! Parents before children.

use std::collections::{BTreeMap, BTreeSet};

use super::{Rule, Start};
use crate::history::{Event, Name, What};

pub(super) const PARENTS: &str = "no child is processed before all of its parents have ended";

#[derive(Debug, Default)]
pub(super) struct Family {
    parents: BTreeMap<Name, Vec<Name>>,
    ended: BTreeSet<Name>,
    start: Start,
    /// Shards that have, or had, a lease.
    leased: BTreeSet<Name>,
    /// Shards that were begun, with those that had ended by then.
    early: BTreeMap<Name, BTreeSet<Name>>,
}

impl Rule for Family {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (child, ended) = match &event.what {
            What::Row { shard, .. } => {
                self.leased.insert(shard.clone());
                return None;
            }
            What::ShardOpened { shard, parents } => {
                self.parents.insert(shard.clone(), parents.clone());
                (shard, self.early.remove(shard)?)
            }
            What::ShardEnded { of } => {
                self.ended.insert(of.shard.clone());
                return None;
            }
            // With a lease of which nothing was processed yet, shards of the next stream may be read that have other parents.
            What::StreamDeleted { shards } => {
                self.parents.retain(|shard, _| !shards.contains(shard));
                return None;
            }
            // Nobody can read it, nor waits for somebody who does.
            What::ShardGone { shard } if !self.leased.contains(shard) => {
                self.ended.insert(shard.clone());
                return None;
            }
            What::Initialized { of } => {
                if !self.parents.contains_key(&of.shard) {
                    // Begun before the world has heard of it: judged when it has.
                    self.early
                        .entry(of.shard.clone())
                        .or_insert_with(|| self.ended.clone());
                    return None;
                }
                (&of.shard, self.ended.clone())
            }
            _ => return None,
        };
        let parent = self
            .parents
            .get(child)?
            .iter()
            // What ended before reading starts is not read.
            .filter(|parent| self.start == Start::Beginning || self.leased.contains(*parent))
            .find(|parent| !ended.contains(*parent))?;
        Some((PARENTS, format!("{child} was begun before {parent} had ended")))
    }

    fn starting(&mut self, start: Start) {
        self.start = start;
    }
}
