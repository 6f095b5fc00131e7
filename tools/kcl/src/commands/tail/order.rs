//! Which shards are read when: parents to their ends before their children. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::reading::ListedShard;

/// What is being read, and what was.
#[derive(Debug)]
pub(super) struct Order {
    reading: BTreeSet<String>,
    ended: BTreeSet<String>,
    /// Shards that are not read.
    left_out: BTreeSet<String>,
    /// Only what descends from these shards, and they themselves, is read.
    only: Option<BTreeSet<String>>,
}

impl Order {
    /// Of the shards that are listed now. With the latest records, those that are closed are left out.
    pub(super) fn new(shards: &[ListedShard], only: Option<&str>, is_latest: bool) -> Self {
        let closed = shards.iter().filter(|shard| is_latest && !shard.is_open());
        let mut left_out: BTreeSet<String> = closed.map(|shard| shard.id.to_string()).collect();
        if let Some(only) = only {
            let others = shards.iter().filter(|shard| shard.id.as_str() != only);
            let follow = descendants(shards, only);
            left_out.extend(
                others
                    .map(|shard| shard.id.to_string())
                    .filter(|id| !follow.contains(id)),
            );
            left_out.remove(only);
        }
        Self {
            reading: BTreeSet::new(),
            ended: BTreeSet::new(),
            left_out,
            only: only.map(|only| BTreeSet::from([only.to_owned()])),
        }
    }

    /// With which to begin.
    pub(super) fn first<'a>(&mut self, shards: &'a [ListedShard]) -> Vec<&'a ListedShard> {
        self.next(shards)
    }

    /// Whether anything is being read.
    pub(super) fn is_reading(&self) -> bool {
        !self.reading.is_empty()
    }

    /// A shard is read.
    pub(super) fn done(&mut self, shard: &str, has_ended: bool) {
        self.reading.remove(shard);
        if has_ended {
            self.ended.insert(shard.to_owned());
        } else {
            // What follows it would come too early.
            self.left_out.insert(shard.to_owned());
        }
    }

    /// Shards that may be read now, their parents being read to their ends.
    pub(super) fn following<'a>(&mut self, shards: &'a [ListedShard]) -> Vec<&'a ListedShard> {
        self.next(shards)
    }

    fn next<'a>(&mut self, shards: &'a [ListedShard]) -> Vec<&'a ListedShard> {
        let listed: BTreeMap<&str, &ListedShard> =
            shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
        if let Some(only) = &mut self.only {
            for root in only.clone() {
                only.extend(descendants(shards, &root));
            }
        }
        let is_known =
            |id: &str| self.reading.contains(id) || self.ended.contains(id) || self.left_out.contains(id);
        let waits = |shard: &ListedShard| {
            let parents = shard.parents.iter().map(|parent| parent.as_str());
            let mut parents = parents.filter(|parent| listed.contains_key(parent));
            // A parent that was left out, closed, is not waited for.
            !parents.all(|parent| {
                let is_closed = listed.get(parent).is_some_and(|it| !it.is_open());
                self.ended.contains(parent) || is_closed && self.left_out.contains(parent)
            })
        };
        let is_wanted = |shard: &ListedShard| {
            let only = self.only.as_ref();
            only.is_none_or(|only| only.contains(shard.id.as_str()))
        };
        let next: Vec<_> = shards
            .iter()
            .filter(|shard| !is_known(shard.id.as_str()) && is_wanted(shard) && !waits(shard))
            .collect();
        self.reading.extend(next.iter().map(|shard| shard.id.to_string()));
        next
    }
}

/// The shards that descend from one.
fn descendants(shards: &[ListedShard], of: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![of.to_owned()];
    while let Some(id) = open.pop() {
        for shard in shards {
            let is_child = shard.parents.iter().any(|parent| parent.as_str() == id);
            if is_child && found.insert(shard.id.to_string()) {
                open.push(shard.id.to_string());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use kcl_lease::SequenceNumber;

    use super::*;

    fn shard(id: &str, parents: &[&str], is_open: bool) -> ListedShard {
        let number = |text: &str| SequenceNumber::parse(text).expect("digits");
        let parents = parents.iter().map(|parent| (*parent).into());
        let mut shard = ListedShard::open(id, parents, number("1"));
        shard.ends_at = (!is_open).then(|| number("9"));
        shard
    }

    /// `0` was split into `1` and `2`, of which `2` and `3` were merged to `4`.
    fn stream() -> Vec<ListedShard> {
        vec![
            shard("0", &[], false),
            shard("1", &["0"], true),
            shard("2", &["0"], false),
            shard("3", &[], false),
            shard("4", &["2", "3"], true),
        ]
    }

    fn ids(shards: Vec<&ListedShard>) -> Vec<&str> {
        shards.into_iter().map(|shard| shard.id.as_str()).collect()
    }

    #[test]
    fn parents_are_read_to_their_ends_before_their_children() {
        let shards = stream();
        let mut order = Order::new(&shards, None, false);
        assert_eq!(ids(order.first(&shards)), ["0", "3"]);
        order.done("3", true);
        assert!(order.following(&shards).is_empty(), "2 comes first");
        order.done("0", true);
        assert_eq!(ids(order.following(&shards)), ["1", "2"]);
        order.done("2", true);
        assert_eq!(ids(order.following(&shards)), ["4"]);
        order.done("1", false);
        order.done("4", false);
        assert!(!order.is_reading());
    }

    #[test]
    fn from_the_latest_record_on_only_open_shards_and_what_follows_them_are_read() {
        let mut shards = stream();
        let mut order = Order::new(&shards, None, true);
        assert_eq!(ids(order.first(&shards)), ["1", "4"]);
        shards[1].ends_at = SequenceNumber::parse("9").ok();
        shards.push(shard("5", &["1"], true));
        order.done("1", true);
        assert_eq!(ids(order.following(&shards)), ["5"]);
    }

    #[test]
    fn one_shard_is_read_with_those_that_follow_it_and_no_others() {
        let shards = stream();
        let mut order = Order::new(&shards, Some("2"), false);
        assert_eq!(ids(order.first(&shards)), ["2"]);
        order.done("2", true);
        assert_eq!(ids(order.following(&shards)), ["4"]);
    }
}
