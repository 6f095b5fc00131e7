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
