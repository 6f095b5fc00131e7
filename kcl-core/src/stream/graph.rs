//! The shards of a stream and how they descend from each other. Pure.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kinesis::types as sdk;
use kcl_lease::{HashRange, SequenceNumber};

use crate::config::ShardId;

/// A shard as Kinesis lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    /// The shards that were split or merged into this one, as far as Kinesis says; they may be gone already.
    pub(crate) parents: BTreeSet<ShardId>,
    pub(crate) hash_range: HashRange,
    pub(crate) starts_at: SequenceNumber,
    /// Whether the shard takes new records.
    pub(crate) is_open: bool,
}

/// A listed shard that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Kinesis listed shard {shard} without a valid {missing}")]
pub(crate) struct InvalidShard {
    shard: String,
    missing: &'static str,
}

impl Shard {
    pub(crate) fn from_sdk(shard: &sdk::Shard) -> Result<Self, InvalidShard> {
        let invalid = |missing| InvalidShard {
            shard: shard.shard_id.clone(),
            missing,
        };
        let numbers = shard
            .sequence_number_range()
            .ok_or_else(|| invalid("sequence number range"))?;
        Ok(Self {
            id: ShardId::from(shard.shard_id()),
            parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                .into_iter()
                .flatten()
                .map(ShardId::from)
                .collect(),
            hash_range: shard
                .hash_key_range()
                .and_then(hash_range)
                .ok_or_else(|| invalid("hash key range"))?,
            starts_at: SequenceNumber::parse(numbers.starting_sequence_number())
                .map_err(|_| invalid("starting sequence number"))?,
            is_open: numbers.ending_sequence_number().is_none(),
        })
    }
}

/// Reads a hash range of the SDK; `None` if it is not made of two numbers in order.
pub(crate) fn hash_range(range: &sdk::HashKeyRange) -> Option<HashRange> {
    let start = range.starting_hash_key().parse().ok()?;
    let end = range.ending_hash_key().parse().ok()?;
    (start <= end).then_some(HashRange { start, end })
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

    /// Whether a parent of the shard is still open: the listing was taken in the middle of a split or merge.
    pub(crate) fn is_premature(&self, shard: &Shard) -> bool {
        self.listed_parents(shard).any(|parent| parent.is_open)
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
            starts_at: SequenceNumber::parse(number.to_string()).expect("digits"),
            is_open,
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
    fn a_listed_shard_is_read_from_the_sdk() {
        let listed = sdk::Shard::builder()
            .shard_id("shardId-000000000002")
            .parent_shard_id("shardId-000000000000")
            .adjacent_parent_shard_id("shardId-000000000001")
            .hash_key_range(
                sdk::HashKeyRange::builder()
                    .starting_hash_key("0")
                    .ending_hash_key("340282366920938463463374607431768211455")
                    .build()
                    .expect("complete"),
            )
            .sequence_number_range(
                sdk::SequenceNumberRange::builder()
                    .starting_sequence_number("2")
                    .build()
                    .expect("complete"),
            )
            .build()
            .expect("complete");
        assert_eq!(
            Shard::from_sdk(&listed),
            Ok(shard(2, &[0, 1], HashRange::FULL, true))
        );
    }

    #[test]
    fn a_shard_without_ranges_is_refused_by_name() {
        let listed = sdk::Shard::builder()
            .shard_id("shardId-1")
            .build()
            .expect("complete");
        let error = Shard::from_sdk(&listed).expect_err("incomplete");
        assert_eq!(
            error.to_string(),
            "Kinesis listed shard shardId-1 without a valid sequence number range"
        );
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

    #[test]
    fn the_documented_example_is_contiguous() {
        let graph = documented_example();
        assert!(
            find_hole(
                graph
                    .iter()
                    .filter(|shard| shard.is_open)
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
