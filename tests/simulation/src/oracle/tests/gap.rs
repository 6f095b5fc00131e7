//! When a gap may be told.

use super::*;
use crate::oracle::gap;

#[test]
fn a_gap_that_nothing_made_is_found() {
    let told = || What::GapReported {
        of: of(0, 2),
        after: Some(sequence(7)),
        before: None,
    };
    let trimmed = |number| What::Trimmed { shard: shard(number) };
    assert_eq!(broken(vec![(1, "a", told())]), [gap::UNFOUNDED]);
    assert_eq!(
        broken(vec![(1, "world", trimmed(1)), (2, "a", told())]),
        [gap::UNFOUNDED]
    );
    assert_eq!(broken(vec![(1, "world", trimmed(0)), (2, "a", told())]), [""; 0]);
}
