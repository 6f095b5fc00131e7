//! Children after their parents.

use super::*;
use crate::oracle::family;

#[test]
fn a_child_before_its_parents_end_is_found_even_if_the_world_hears_of_it_later() {
    let opens = What::ShardOpened {
        shard: shard(2),
        parents: vec![shard(0), shard(1)],
    };
    let end = |number| What::ShardEnded { of: of(number, 2) };
    let early = vec![
        (1, "a", end(0)),
        (1, "world", opens.clone()),
        (2, "a", initialized(2, 2)),
    ];
    assert_eq!(broken(early), [family::PARENTS]);
    let unheard_of = vec![
        (1, "a", end(0)),
        (2, "a", initialized(2, 2)),
        (2, "a", end(1)),
        (3, "world", opens.clone()),
    ];
    assert_eq!(broken(unheard_of), [family::PARENTS]);
    let good = vec![
        (1, "a", end(0)),
        (1, "a", end(1)),
        (2, "a", initialized(2, 2)),
        (3, "world", opens),
    ];
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_parent_that_has_left_the_stream_is_waited_for_if_it_has_a_lease() {
    let begun_behind = |leased: u64| {
        let opened = |number, parents| What::ShardOpened {
            shard: shard(number),
            parents,
        };
        broken(vec![
            (0, "world", opened(0, vec![])),
            (0, "world", opened(1, vec![shard(0)])),
            (1, "world", row(leased, "a", None, 1, Checkpoint::TrimHorizon)),
            (2, "world", What::ShardGone { shard: shard(0) }),
            (3, "a", initialized(1, 2)),
        ])
    };
    assert_eq!(begun_behind(0), [family::PARENTS]);
    assert_eq!(begun_behind(1), [""; 0]);
}
