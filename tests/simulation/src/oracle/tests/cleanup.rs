//! Leases of ended shards.

use super::*;
use crate::oracle::cleanup;

fn opens(number: u64, parents: &[u64]) -> (u64, &'static str, What) {
    let parents = parents.iter().copied().map(shard).collect();
    (
        1,
        "world",
        What::ShardOpened {
            shard: shard(number),
            parents,
        },
    )
}

fn gone(at: u64, number: u64) -> (u64, &'static str, What) {
    (at, "world", What::RowGone { shard: shard(number) })
}

fn seen(at: u64, number: u64, checkpoint: Checkpoint) -> (u64, &'static str, What) {
    (at, "world", row(number, "w", None, at, checkpoint))
}

/// 0 is split into 1 and 2, and 1 into 3 and 4. What becomes of the leases, up to a last event.
fn family(events: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let opened = [
        opens(0, &[]),
        opens(1, &[0]),
        opens(2, &[0]),
        opens(3, &[1]),
        opens(4, &[1]),
    ];
    let all = opened
        .into_iter()
        .chain(events)
        .chain([(99, "world", What::Weighed)]);
    let is_about_cleanup = |rule: &&str| [cleanup::PARENTS, cleanup::CHILDREN].contains(rule);
    broken(all.collect())
        .into_iter()
        .filter(is_about_cleanup)
        .collect()
}

#[test]
fn a_lease_that_is_deleted_before_its_child_was_begun_is_found() {
    let leases = |right| {
        vec![
            seen(2, 0, Checkpoint::ShardEnd),
            seen(2, 1, at(5)),
            seen(2, 2, right),
            gone(3, 0),
        ]
    };
    assert_eq!(family(leases(Checkpoint::TrimHorizon)), [cleanup::CHILDREN]);
    assert_eq!(family(leases(at(6))), [""; 0]);
    let mut in_the_same_look = leases(Checkpoint::TrimHorizon);
    in_the_same_look.push(seen(3, 2, at(6)));
    assert_eq!(family(in_the_same_look), [""; 0]);
    let mut between_two_looks = vec![(2, "w", What::ShardEnded { of: of(2, 7) })];
    between_two_looks.extend(
        leases(Checkpoint::TrimHorizon)
            .into_iter()
            .filter(|(_, _, what)| !matches!(what, What::Row { shard: it, .. } if *it == shard(2))),
    );
    assert_eq!(family(between_two_looks), [""; 0], "its row was never seen");
}

#[test]
fn a_lease_that_is_deleted_before_its_parent_s_is_found() {
    let leases = || {
        vec![
            seen(2, 0, Checkpoint::ShardEnd),
            seen(2, 1, Checkpoint::ShardEnd),
            seen(2, 2, at(6)),
            seen(2, 3, at(7)),
            seen(2, 4, at(8)),
            gone(3, 1),
        ]
    };
    assert_eq!(family(leases()), [cleanup::PARENTS]);
    let mut in_the_same_look = leases();
    in_the_same_look.push(gone(3, 0));
    assert_eq!(family(in_the_same_look), [""; 0]);
}

#[test]
fn what_was_done_by_hand_is_nobody_s_fault() {
    let by_hand = (2, "world", What::RowDeletedByHand { shard: shard(2) });
    let leases = vec![
        seen(2, 0, Checkpoint::ShardEnd),
        seen(2, 1, at(5)),
        by_hand,
        gone(3, 0),
    ];
    assert_eq!(family(leases), [""; 0]);
}
