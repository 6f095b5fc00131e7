//! Leases as a tree: shards below the shards that they came from. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kcl_lease::Lease;

/// A lease and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Branch<'a> {
    pub(crate) lease: &'a Lease,
    /// Below how many ancestors that have leases, too.
    pub(crate) depth: usize,
}

/// The stream, if there are several, and the shard that a lease is of.
pub(crate) fn name(lease: &Lease) -> (&str, &str) {
    match &lease.stream_shard {
        Some(named) => (&named.stream, &named.shard_id),
        None => ("", lease.key.as_str()),
    }
}

/// Each lease once, children directly behind and below their first parent. What hostile rows say of parents leads nowhere twice.
pub(crate) fn tree(leases: &[Lease]) -> Vec<Branch<'_>> {
    let named: BTreeMap<_, &Lease> = leases.iter().map(|lease| (name(lease), lease)).collect();
    let mut children: BTreeMap<(&str, &str), Vec<&Lease>> = BTreeMap::new();
    let mut roots = Vec::new();
    for lease in leases {
        let (stream, _) = name(lease);
        let parent = lease.parents.iter().map(|parent| (stream, parent.as_str()));
        match parent.into_iter().find(|parent| named.contains_key(parent)) {
            Some(parent) => children.entry(parent).or_default().push(lease),
            None => roots.push(lease),
        }
    }
    let (mut branches, mut seen) = (Vec::with_capacity(leases.len()), BTreeSet::new());
    // Rows that are each other's ancestors have no root.
    for root in roots.into_iter().chain(leases) {
        let mut open = vec![Branch {
            lease: root,
            depth: 0,
        }];
        while let Some(branch) = open.pop() {
            if !seen.insert(&branch.lease.key) {
                continue;
            }
            branches.push(branch);
            let below = children.get(&name(branch.lease)).into_iter().flatten();
            open.extend(below.rev().map(|lease| Branch {
                lease,
                depth: branch.depth + 1,
            }));
        }
    }
    branches
}

/// The same leases, parents before their children. Rows that are each other's ancestors come last, as they are.
pub(crate) fn parents_first<T>(mut all: Vec<T>, lease: impl Fn(&T) -> &Lease) -> Vec<T> {
    let mut sorted = Vec::with_capacity(all.len());
    while !all.is_empty() {
        let left: BTreeSet<(String, String)> = all.iter().map(|it| owned(name(lease(it)))).collect();
        let waits = |it: &T| {
            let (stream, _) = name(lease(it));
            let mut parents = lease(it).parents.iter();
            parents.any(|parent| left.contains(&owned((stream, parent))))
        };
        let (waiting, free): (Vec<_>, Vec<_>) = all.into_iter().partition(waits);
        if free.is_empty() {
            sorted.extend(waiting);
            break;
        }
        sorted.extend(free);
        all = waiting;
    }
    sorted
}

fn owned((stream, shard): (&str, &str)) -> (String, String) {
    (stream.to_owned(), shard.to_owned())
}

#[cfg(test)]
mod tests {
    use kcl_lease::{Checkpoint, StreamShard};

    use super::*;

    fn lease(key: &str, parents: &[&str]) -> Lease {
        Lease::new(key, Checkpoint::TrimHorizon).with_parents(parents.iter().copied())
    }

    fn shown(leases: &[Lease]) -> Vec<(String, usize)> {
        let branches = tree(leases).into_iter();
        branches
            .map(|branch| (branch.lease.key.to_string(), branch.depth))
            .collect()
    }

    fn expected(all: &[(&str, usize)]) -> Vec<(String, usize)> {
        all.iter()
            .map(|(key, depth)| ((*key).to_owned(), *depth))
            .collect()
    }

    #[test]
    fn children_stand_below_their_first_parent_that_is_left() {
        let leases = [
            lease("0", &[]),
            lease("1", &["gone"]),
            lease("2", &["0"]),
            lease("3", &["0"]),
            lease("4", &["1", "3"]),
            lease("5", &["2"]),
        ];
        let tree = expected(&[("0", 0), ("2", 1), ("5", 2), ("3", 1), ("1", 0), ("4", 1)]);
        assert_eq!(shown(&leases), tree);
    }

    #[test]
    fn rows_that_are_each_other_s_parents_are_shown_once() {
        let leases = [lease("a", &["b"]), lease("b", &["a"]), lease("c", &["c"])];
        assert_eq!(shown(&leases), expected(&[("a", 0), ("b", 1), ("c", 0)]));
    }

    #[test]
    fn parents_come_first_and_a_ring_comes_last() {
        let leases = vec![
            lease("ring", &["ring"]),
            lease("merged", &["old", "young"]),
            lease("young", &["old"]),
            lease("old", &["gone"]),
        ];
        let sorted = parents_first(leases, |lease| lease);
        let keys: Vec<_> = sorted.iter().map(|lease| lease.key.as_str()).collect();
        assert_eq!(keys, ["old", "young", "merged", "ring"]);
    }

    #[test]
    fn a_parent_is_one_of_the_same_stream() {
        let of = |stream: &str, shard: &str, parents: &[&str]| {
            let mut lease = lease(&format!("{stream}:{shard}"), parents);
            lease.stream_shard = Some(StreamShard::new(stream, shard));
            lease
        };
        let leases = [of("s", "0", &[]), of("t", "1", &["0"])];
        assert_eq!(shown(&leases), expected(&[("s:0", 0), ("t:1", 0)]));
    }
}
