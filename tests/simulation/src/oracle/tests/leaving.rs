//! What a worker leaves behind.

use super::*;
use crate::oracle::leaving;

#[test]
fn what_a_stopped_worker_leaves_is_found_unless_its_network_was_bad() {
    let stopped = |named_at, owned: &[&str], has_row, faults| {
        let what = What::Stopped {
            id: "a".to_owned(),
            owned: owned.iter().map(ToString::to_string).collect(),
            has_row,
            had_joined: true,
            faults,
        };
        let named = row(0, "a", None, 1, Checkpoint::TrimHorizon);
        let mut events = vec![(named_at, "world", named), (10, "a", what)];
        events.sort_by_key(|(at, _, _)| *at);
        broken(events)
    };
    assert_eq!(stopped(1, &[], false, 0), [""; 0]);
    assert_eq!(stopped(1, &["shard-0"], false, 0), [leaving::LEFT]);
    assert_eq!(stopped(1, &[], true, 0), [leaving::LEFT]);
    assert_eq!(stopped(1, &["shard-0"], true, 1), [""; 0]);
    assert_eq!(stopped(9, &["shard-0"], false, 0), [""; 0], "given to it later");
}

#[test]
fn a_row_that_is_mended_while_its_owner_leaves_may_stay_with_it() {
    let mended = |at| {
        let stopped = What::Stopped {
            id: "a".to_owned(),
            owned: vec!["shard-0".to_owned()],
            has_row: false,
            had_joined: true,
            faults: 0,
        };
        let stopping = What::Stopping { id: "a".to_owned() };
        let mut events = vec![
            (1, "world", row(0, "a", None, 1, Checkpoint::TrimHorizon)),
            (5, "a", stopping),
            (at, "world", What::RowMended { shard: shard(0) }),
            (10, "a", stopped),
        ];
        events.sort_by_key(|(at, _, _)| *at);
        broken(events)
    };
    assert_eq!(mended(4), [leaving::LEFT]);
    assert_eq!(mended(7), [""; 0]);
}

#[test]
fn a_worker_that_ends_by_itself_is_found() {
    let reason = "a panic".to_owned();
    assert_eq!(broken(vec![(1, "a", What::Ended { reason })]), [leaving::ENDED]);
}
