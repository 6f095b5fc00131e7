//! The shards of a stream and how they descend from each other. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kcl_lease::{HashRange, SequenceNumber};

use crate::config::ShardId;

/// A shard as Kinesis lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    /// The shards that were split or merged into this one, as far as Kinesis says; they may be gone already.
    pub(crate) parents: BTreeSet<ShardId>,
    pub(crate) hash_range: HashRange,
    /// No record of the shard has this number; all have greater ones.
    pub(crate) starts_at: SequenceNumber,
    /// Once the shard takes no new records: no record of it has this number; all have smaller ones.
    pub(crate) ends_at: Option<SequenceNumber>,
}

impl Shard {
    /// Whether the shard takes new records.
    pub(crate) fn is_open(&self) -> bool {
        self.ends_at.is_none()
    }

    /// Whether a number is no record's, but the shard's own first or last one.
    pub(crate) fn is_an_end(&self, number: &SequenceNumber) -> bool {
        *number == self.starts_at || Some(number) == self.ends_at.as_ref()
    }

    /// Whether a checkpoint may lie in this shard. One that cannot was made in another stream: numbers begin with the time
    /// at which their shard was opened, so those of a stream that was made anew are greater.
    pub(crate) fn may_hold(&self, checkpoint: &SequenceNumber) -> bool {
        *checkpoint >= self.starts_at && self.ends_at.as_ref().is_none_or(|end| checkpoint <= end)
    }
}

/// The number in a shard's id: Kinesis counts the shards of a stream as they are opened.
pub(crate) fn number(id: &ShardId) -> Option<u64> {
    id.as_str().strip_prefix("shardId-")?.parse().ok()
}

fn overlap(a: HashRange, b: HashRange) -> bool {
    a.start <= b.end && b.start <= a.end
}

/// The listed shards with their ancestry.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardGraph {
    shards: BTreeMap<ShardId, Shard>,
    children: BTreeMap<ShardId, BTreeSet<ShardId>>,
}

impl ShardGraph {
    pub(crate) fn new(shards: impl IntoIterator<Item = Shard>) -> Self {
        let shards: BTreeMap<_, _> = shards
            .into_iter()
            .map(|shard| (shard.id.clone(), shard))
            .collect();
        let mut children: BTreeMap<ShardId, BTreeSet<ShardId>> = BTreeMap::new();
        for shard in shards.values() {
            for parent in &shard.parents {
                children
                    .entry(parent.clone())
                    .or_default()
                    .insert(shard.id.clone());
            }
        }
        Self { shards, children }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    pub(crate) fn get(&self, id: &ShardId) -> Option<&Shard> {
        self.shards.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shard> {
        self.shards.values()
    }

    /// The parents that are still listed.
    pub(crate) fn listed_parents<'a>(&'a self, shard: &'a Shard) -> impl Iterator<Item = &'a Shard> {
        shard.parents.iter().filter_map(|parent| self.shards.get(parent))
    }

    /// The listed children, also of a shard that is itself no longer listed.
    pub(crate) fn children_of(&self, id: &ShardId) -> impl Iterator<Item = &Shard> {
        self.children
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|child| self.shards.get(child))
    }

    /// The first listed shards that follow one: its children or, when they are gone with it, the first that descend from
    /// it. `range` is that of the shard, if it is known.
    ///
    /// A shard that was opened later and has a hash key in common descends from it: at any time each hash key belongs to
    /// exactly one shard, and it passes from parent to child.
    pub(crate) fn heirs(&self, id: &ShardId, range: Option<HashRange>) -> Vec<&Shard> {
        let own = number(id).filter(|_| self.get(id).is_none());
        let Some(own) = own else {
            return self.children_of(id).collect();
        };
        let descends = |shard: &Shard| {
            shard.parents.contains(id)
                || number(&shard.id).is_some_and(|number| number > own)
                    && range.is_none_or(|range| overlap(range, shard.hash_range))
        };
        self.iter()
            .filter(|shard| descends(shard) && !self.listed_parents(shard).any(descends))
            .collect()
    }

    /// Whether a parent of the shard is still open: the listing was taken in the middle of a split or merge.
    pub(crate) fn is_premature(&self, shard: &Shard) -> bool {
        self.listed_parents(shard).any(Shard::is_open)
    }

    /// Whether a shard was in this stream and has left it, all of its records being older than the retention period.
    ///
    /// One that is not listed, but has a greater number than all that are, never was in it: the shard opened last is open,
    /// and so listed. The leases, or the listing, are another stream's.
    pub(crate) fn has_lost(&self, id: &ShardId) -> bool {
        let highest = self.iter().filter_map(|shard| number(&shard.id)).max();
        !self.is_empty()
            && self.get(id).is_none()
            && number(id).is_none_or(|number| highest.is_none_or(|highest| number < highest))
    }

    /// Whether a shard that is not listed cannot have been in this stream.
    pub(crate) fn is_foreign(&self, id: &ShardId) -> bool {
        !self.is_empty() && self.get(id).is_none() && !self.has_lost(id)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::audit::find_hole;
    use super::*;

    pub(crate) fn shard(number: u32, parents: &[u32], range: HashRange, is_open: bool) -> Shard {
        Shard {
            id: id(number),
            parents: parents.iter().copied().map(id).collect(),
            hash_range: range,
            starts_at: SequenceNumber::parse((number * 1000).to_string()).expect("digits"),
            ends_at: (!is_open)
                .then(|| SequenceNumber::parse((number * 1000 + 999).to_string()).expect("digits")),
        }
    }

    pub(crate) fn id(number: u32) -> ShardId {
        ShardId::new(format!("shardId-{number:012}"))
    }

    /// The documented example of the Java KCL: shards 0 to 5; 0 and 1 merge into 6, 2 and 3 into 7, 5 is split into 9
    /// and 10, then 6 and 7 merge into 8.
    pub(crate) fn documented_example() -> ShardGraph {
        let share = |from: u128, to: u128| HashRange {
            start: u128::MAX / 6 * from,
            end: if to == 6 {
                u128::MAX
            } else {
                u128::MAX / 6 * to - 1
            },
        };
        let half = share(5, 6).start + (share(5, 6).end - share(5, 6).start) / 2;
        ShardGraph::new([
            shard(0, &[], share(0, 1), false),
            shard(1, &[], share(1, 2), false),
            shard(2, &[], share(2, 3), false),
            shard(3, &[], share(3, 4), false),
            shard(4, &[], share(4, 5), true),
            shard(5, &[], share(5, 6), false),
            shard(6, &[0, 1], share(0, 2), false),
            shard(7, &[2, 3], share(2, 4), false),
            shard(8, &[6, 7], share(0, 4), true),
            shard(
                9,
                &[5],
                HashRange {
                    start: share(5, 6).start,
                    end: half,
                },
                true,
            ),
            shard(
                10,
                &[5],
                HashRange {
                    start: half + 1,
                    end: share(5, 6).end,
                },
                true,
            ),
        ])
    }

    #[test]
    fn children_are_found_even_when_their_parent_is_gone() {
        let graph = ShardGraph::new([shard(9, &[5], HashRange::FULL, true)]);
        let children: Vec<_> = graph.children_of(&id(5)).map(|child| child.id.clone()).collect();
        assert_eq!(children, [id(9)]);
        assert_eq!(
            graph.listed_parents(graph.get(&id(9)).expect("listed")).count(),
            0
        );
    }

    fn heirs(graph: &ShardGraph, gone: u32, range: Option<HashRange>) -> Vec<ShardId> {
        let heirs = graph.heirs(&id(gone), range);
        heirs.into_iter().map(|shard| shard.id.clone()).collect()
    }

    #[test]
    fn those_that_follow_a_shard_are_found_when_its_children_are_gone_too() {
        let half = u128::MAX / 2;
        let (left, right) = (
            HashRange { start: 0, end: half },
            HashRange {
                start: half + 1,
                end: u128::MAX,
            },
        );
        // 0 was split into 1 and 2, which were merged to 3; that was split into 4 and 5, and 5 is followed by 6.
        let later = [
            shard(4, &[3], left, true),
            shard(5, &[3], right, false),
            shard(6, &[5], right, true),
        ];
        let graph = ShardGraph::new(later);
        assert_eq!(heirs(&graph, 0, Some(HashRange::FULL)), [id(4), id(5)]);
        assert_eq!(heirs(&graph, 1, Some(left)), [id(4)]);
        assert_eq!(heirs(&graph, 2, Some(right)), [id(5)]);
        assert_eq!(heirs(&graph, 2, None), [id(4), id(5)], "any may follow");
        assert_eq!(heirs(&graph, 5, Some(right)), [id(6)], "it is still there");
        assert_eq!(heirs(&graph, 7, Some(right)), [], "nothing was opened later");
    }

    #[test]
    fn a_listed_parent_that_follows_too_comes_first() {
        let graph = documented_example();
        let without = |gone: &[u32]| {
            let gone: Vec<_> = gone.iter().copied().map(id).collect();
            ShardGraph::new(graph.iter().filter(|shard| !gone.contains(&shard.id)).cloned())
        };
        let range = |number| graph.get(&id(number)).map(|shard| shard.hash_range);
        assert_eq!(heirs(&without(&[0]), 0, range(0)), [id(6)]);
        assert_eq!(heirs(&without(&[0, 1, 6]), 0, range(0)), [id(8)]);
        assert_eq!(heirs(&without(&[0, 1, 6]), 6, range(6)), [id(8)]);
    }

    #[test]
    fn a_shard_above_all_that_are_listed_was_never_in_the_stream() {
        let graph = ShardGraph::new([
            shard(4, &[], HashRange::FULL, false),
            shard(7, &[4], HashRange::FULL, true),
        ]);
        for (number, lost, foreign) in [
            (0, true, false),
            (4, false, false),
            (5, true, false),
            (7, false, false),
            (8, false, true),
        ] {
            assert_eq!(graph.has_lost(&id(number)), lost, "{number}");
            assert_eq!(graph.is_foreign(&id(number)), foreign, "{number}");
        }
        assert!(graph.has_lost(&ShardId::from("shard-a")), "it cannot be told");
        let nothing = ShardGraph::default();
        assert!(
            !nothing.has_lost(&id(1)) && !nothing.is_foreign(&id(1)),
            "nothing was listed"
        );
    }

    #[test]
    fn a_checkpoint_outside_of_its_shard_was_made_in_another_stream() {
        let at = |text: &str| SequenceNumber::parse(text).expect("digits");
        let closed = shard(2, &[], HashRange::FULL, false);
        for (checkpoint, held, end) in [
            ("1999", false, false),
            ("2000", true, true),
            ("2001", true, false),
            ("2999", true, true),
            ("3000", false, false),
        ] {
            assert_eq!(closed.may_hold(&at(checkpoint)), held, "{checkpoint}");
            assert_eq!(closed.is_an_end(&at(checkpoint)), end, "{checkpoint}");
        }
        assert!(shard(2, &[], HashRange::FULL, true).may_hold(&at("3000")));
    }

    #[test]
    fn the_documented_example_is_contiguous() {
        let graph = documented_example();
        assert!(
            find_hole(
                graph
                    .iter()
                    .filter(|shard| shard.is_open())
                    .map(|shard| shard.hash_range)
            )
            .is_none()
        );
        assert!(
            find_hole(
                graph
                    .iter()
                    .filter(|shard| shard.parents.is_empty())
                    .map(|s| s.hash_range)
            )
            .is_none()
        );
    }
}
