//! The leases of the shards that follow an ended one. Pure.

use std::collections::BTreeSet;

use kcl_lease::{Checkpoint, HashRange, Lease, WorkerId};

use super::graph::Shard;
use crate::config::ShardId;

/// A shard that follows an ended one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) id: ShardId,
    /// One parent after a split, two after a merge.
    pub(crate) parents: BTreeSet<ShardId>,
    pub(crate) hash_range: Option<HashRange>,
}

impl From<&Shard> for Child {
    fn from(shard: &Shard) -> Self {
        Self {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            hash_range: Some(shard.hash_range),
        }
    }
}

/// The leases to create, unless they exist, before the end of `ended` is recorded.
///
/// A child is read from its beginning: everything in it comes after its parents' records.
pub(crate) fn child_leases(ended: &ShardId, children: &[Child]) -> Vec<Lease> {
    children
        .iter()
        .map(|child| {
            let parents = child.parents.iter().chain([ended]).map(ShardId::as_str);
            let lease = Lease::new(child.id.lease_key(), Checkpoint::TrimHorizon).with_parents(parents);
            match child.hash_range {
                Some(range) => lease.with_hash_range(range),
                None => lease,
            }
        })
        .collect()
}

/// Makes the first `room` of the children's leases `owner`'s own, who had their parent.
///
/// It can begin with them at once; a lease without owner waits until the leader sees it, and then until its owner does.
pub(crate) fn kept_by(owner: &WorkerId, room: usize, leases: Vec<Lease>) -> Vec<Lease> {
    let named = leases.into_iter().enumerate();
    let named = named.map(|(index, lease)| {
        if index < room {
            lease.owned_by(owner.clone())
        } else {
            lease
        }
    });
    named.collect()
}

/// The other parents of merged children.
pub(crate) fn other_parents<'a>(ended: &ShardId, children: &'a [Child]) -> BTreeSet<&'a ShardId> {
    children
        .iter()
        .flat_map(|child| &child.parents)
        .filter(|parent| *parent != ended)
        .collect()
}

/// Leaves out merged children of which another parent is `awaited`: it exists, but has no lease yet because its own
/// parents are still being read. Its end will create the child's lease; created now, the child would overtake it,
/// because a parent without lease blocks nobody.
pub(crate) fn without_awaiting(children: Vec<Child>, awaited: &BTreeSet<ShardId>) -> Vec<Child> {
    children
        .into_iter()
        .filter(|child| child.parents.is_disjoint(awaited))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::graph::tests::{documented_example, id};
    use super::*;

    fn children_of(number: u32) -> Vec<Child> {
        documented_example()
            .children_of(&id(number))
            .map(Child::from)
            .collect()
    }

    #[test]
    fn a_split_gives_two_leases_from_the_beginning() {
        let leases = child_leases(&id(5), &children_of(5));
        let keys: Vec<_> = leases.iter().map(|lease| lease.key.as_str()).collect();
        assert_eq!(keys, ["shardId-000000000009", "shardId-000000000010"]);
        for lease in leases {
            assert_eq!(lease.checkpoint, Checkpoint::TrimHorizon);
            assert_eq!(lease.parents, BTreeSet::from(["shardId-000000000005".to_owned()]));
            assert!(lease.hash_range.is_some() && lease.owner.is_none());
        }
    }

    #[test]
    fn a_merge_gives_one_lease_that_names_both_parents() {
        let leases = child_leases(&id(6), &children_of(6));
        assert_eq!(leases.len(), 1);
        let parents = BTreeSet::from([
            "shardId-000000000006".to_owned(),
            "shardId-000000000007".to_owned(),
        ]);
        assert_eq!(leases[0].parents, parents);
    }

    #[test]
    fn children_stay_with_their_parent_s_owner_as_far_as_it_has_room() {
        let owners = |room| {
            let leases = kept_by(&"w1".into(), room, child_leases(&id(5), &children_of(5)));
            let owner = |lease: Lease| lease.owner.map(|owner| owner.to_string());
            leases.into_iter().map(owner).collect::<Vec<_>>()
        };
        assert_eq!(owners(0), [None, None]);
        assert_eq!(owners(1), [Some("w1".to_owned()), None]);
        assert_eq!(owners(usize::MAX), [Some("w1".to_owned()), Some("w1".to_owned())]);
    }

    #[test]
    fn the_ended_shard_is_a_parent_even_if_the_answer_does_not_say_so() {
        let child = Child {
            id: id(9),
            parents: BTreeSet::new(),
            hash_range: None,
        };
        let leases = child_leases(&id(5), &[child]);
        assert_eq!(
            leases[0].parents,
            BTreeSet::from(["shardId-000000000005".to_owned()])
        );
    }

    #[test]
    fn a_merged_child_does_not_overtake_its_other_parent() {
        assert_eq!(other_parents(&id(6), &children_of(6)), BTreeSet::from([&id(7)]));
        assert!(other_parents(&id(5), &children_of(5)).is_empty());
        assert!(without_awaiting(children_of(6), &BTreeSet::from([id(7)])).is_empty());
        assert_eq!(without_awaiting(children_of(6), &BTreeSet::new()).len(), 1);
    }
}
