//! Which leases a stream lacks. Pure.
//!
//! The rules are the Java KCL's, so that a mixed fleet agrees, but for three:
//!
//! * A lease that was processed to its end vouches for its children: those without lease get one, once their other
//!   parents have one.
//! * An ancestor of a leased shard never gets a lease: it was read, or was not to be. The Java KCL would start a line
//!   with it, and deliver records of its descendants twice.
//! * A lease also stands for its shard when that, and perhaps its children and theirs, have left the stream: the first
//!   shards that are left of its line are begun at their beginning. The Java KCL would begin them at the initial position.

use std::collections::{BTreeMap, BTreeSet};

use kcl_lease::{Checkpoint, HashRange, Lease};

use super::graph::{Shard, ShardGraph};
use crate::config::{InitialPosition, ShardId};

/// The leases of a new application. `graph` holds the shards that were open at the initial position.
///
/// Should it hold more than those (a backend that ignores the filter), the oldest of each line are taken, or the open
/// ones when reading starts at the latest record: never a shard together with its descendant.
pub(crate) fn bootstrap_leases(graph: &ShardGraph, initial: InitialPosition) -> Vec<Lease> {
    let start = |shard: &&Shard| match initial {
        InitialPosition::Latest => shard.is_open() && !graph.is_premature(shard),
        _ => graph.listed_parents(shard).next().is_none(),
    };
    in_order(
        graph
            .iter()
            .filter(start)
            .map(|shard| (shard, initial.sentinel()))
            .collect(),
    )
}

/// What a lease says about its shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leased {
    /// It was processed to its end.
    pub(crate) has_ended: bool,
    /// Old versions did not write it.
    pub(crate) hash_range: Option<HashRange>,
}

/// The leases of a table, by shard.
pub(crate) fn leased(leases: &[Lease]) -> BTreeMap<ShardId, Leased> {
    let of = |lease: &Lease| Leased {
        has_ended: lease.has_ended(),
        hash_range: lease.hash_range,
    };
    leases
        .iter()
        .map(|lease| (ShardId::of_lease(&lease.key), of(lease)))
        .collect()
}

/// The leases to create for an application that has some already; `graph` holds all listed shards.
///
/// Of each line of descent that no lease covers, exactly one generation gets leases; the others follow when it ends.
pub(crate) fn missing_leases(
    graph: &ShardGraph,
    leases: &BTreeMap<ShardId, Leased>,
    initial: InitialPosition,
) -> Vec<Lease> {
    let mut walk = Walk::new(graph, initial, leases.keys().cloned().collect());
    for (id, leased) in leases {
        if graph.has_lost(id) {
            let heirs = graph.heirs(id, leased.hash_range);
            walk.heirs.extend(heirs.into_iter().map(|heir| heir.id.clone()));
        }
    }
    for (id, ended) in leases.iter().filter(|(_, leased)| leased.has_ended) {
        let waits = |child: &Shard| {
            graph
                .listed_parents(child)
                .any(|parent| !leases.contains_key(&parent.id))
        };
        let children = graph.heirs(id, ended.hash_range);
        for child in children
            .into_iter()
            .filter(|child| !leases.contains_key(&child.id) && !waits(child))
        {
            walk.leased.insert(child.id.clone());
            walk.new.insert(child.id.clone(), Checkpoint::TrimHorizon);
        }
    }
    walk.find_ancestors();
    for shard in graph
        .iter()
        .filter(|shard| shard.is_open() && !graph.is_premature(shard))
    {
        if !walk.leased.contains(&shard.id) && !walk.is_descendant(shard) {
            walk.new.insert(shard.id.clone(), initial.sentinel());
        }
    }
    let new = std::mem::take(&mut walk.new);
    in_order(
        new.into_iter()
            .filter_map(|(id, start)| Some((graph.get(&id)?, start)))
            .collect(),
    )
}

/// The walk from the open shards up to the first ancestors that have a lease.
struct Walk<'a> {
    graph: &'a ShardGraph,
    initial: InitialPosition,
    leased: BTreeSet<ShardId>,
    /// The first listed shards behind leases whose shards have left the stream.
    heirs: BTreeSet<ShardId>,
    new: BTreeMap<ShardId, Checkpoint>,
    /// Shards without a leased ancestor, whose line has to start with them.
    line_starts: BTreeSet<ShardId>,
    /// Ancestors of leased shards.
    above: BTreeSet<ShardId>,
    known: BTreeMap<ShardId, bool>,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a ShardGraph, initial: InitialPosition, leased: BTreeSet<ShardId>) -> Self {
        Self {
            graph,
            initial,
            leased,
            heirs: BTreeSet::new(),
            new: BTreeMap::new(),
            line_starts: BTreeSet::new(),
            above: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    fn find_ancestors(&mut self) {
        let mut stack: Vec<&Shard> = self.leased.iter().filter_map(|id| self.graph.get(id)).collect();
        while let Some(shard) = stack.pop() {
            for parent in self.graph.listed_parents(shard) {
                if self.above.insert(parent.id.clone()) {
                    stack.push(parent);
                }
            }
        }
    }

    /// Whether the shard, or an ancestor of it, has a lease or is about to get one. Depth first, without recursion:
    /// a stream that was resharded daily for a year has lines of hundreds of generations.
    fn is_descendant(&mut self, shard: &Shard) -> bool {
        let mut stack = vec![shard.id.clone()];
        while let Some(id) = stack.last().cloned() {
            let Some(shard) = self.graph.get(&id) else {
                stack.pop();
                continue;
            };
            if self.known.contains_key(&id) {
                stack.pop();
                continue;
            }
            let unknown: Vec<_> = if self.leased.contains(&id) {
                Vec::new()
            } else {
                let parents = self.graph.listed_parents(shard).map(|parent| parent.id.clone());
                parents
                    .filter(|parent| !self.known.contains_key(parent))
                    .collect()
            };
            if unknown.is_empty() {
                let verdict = self.leased.contains(&id) || self.settle(shard);
                self.known.insert(id, verdict);
                stack.pop();
            } else {
                stack.extend(unknown);
            }
        }
        self.known.get(&shard.id).copied().unwrap_or(false)
    }

    /// Decides about a shard without lease whose parents are decided.
    fn settle(&mut self, shard: &Shard) -> bool {
        let parents: Vec<_> = self
            .graph
            .listed_parents(shard)
            .map(|parent| parent.id.clone())
            .collect();
        let covered: BTreeSet<_> = parents
            .iter()
            .filter(|parent| self.known.get(*parent) == Some(&true) || self.line_starts.contains(*parent))
            .cloned()
            .collect();
        if covered.is_empty() && !self.heirs.contains(&shard.id) {
            if self.initial != InitialPosition::Latest && !self.above.contains(&shard.id) {
                self.line_starts.insert(shard.id.clone());
            }
            return false;
        }
        for parent in parents {
            if self.leased.contains(&parent) || self.above.contains(&parent) {
                continue;
            }
            if self.line_starts.contains(&parent) || !covered.contains(&parent) {
                let starts_at_time = self.initial.sentinel() == Checkpoint::AtTimestamp;
                let start = if covered.contains(&parent) && !starts_at_time {
                    Checkpoint::TrimHorizon
                } else {
                    self.initial.sentinel()
                };
                self.new.insert(parent, start);
            }
        }
        true
    }
}

/// As leases, in the order in which the shards were opened.
fn in_order(mut chosen: Vec<(&Shard, Checkpoint)>) -> Vec<Lease> {
    chosen.sort_by(|(a, _), (b, _)| (&a.starts_at, &a.id).cmp(&(&b.starts_at, &b.id)));
    chosen
        .into_iter()
        .map(|(shard, start)| {
            Lease::new(shard.id.lease_key(), start)
                .with_parents(shard.parents.iter().map(ShardId::as_str))
                .with_hash_range(shard.hash_range)
        })
        .collect()
}

#[cfg(test)]
mod tests;
