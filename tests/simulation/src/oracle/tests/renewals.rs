//! Leases that are processed, and are not renewed.

use super::*;
use crate::oracle::renewals;

/// `a` has begun with a shard in second 1; whatever happens `then`, until second `end`.
fn silent(end: u64, then: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let mut events = vec![
        (0, "a", starts("a")),
        (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
        (1, "a", initialized(0, 2)),
    ];
    events.extend(then);
    events.push((end, "world", What::Disturbed("time passes".to_owned())));
    judged(Oracle::new(TIMES).with_reliable_requests(), events)
}

#[test]
fn a_lease_that_is_not_renewed_is_found_where_its_owner_can_reach_the_table() {
    assert_eq!(silent(9, vec![]), [""; 0]);
    assert_eq!(silent(10, vec![]), [renewals::RENEWED]);
    let renewed = row(0, "a", None, 3, Checkpoint::TrimHorizon);
    assert_eq!(silent(10, vec![(5, "world", renewed)]), [""; 0]);
    assert_eq!(silent(10, vec![(2, "a", What::Impaired)]), [""; 0]);
    let blocked = vec![(2, "a", What::Impaired), (2, "a", What::StandsStill)];
    assert_eq!(silent(11, blocked), [renewals::RENEWED]);
}

#[test]
fn what_is_handed_over_taken_or_unreadable_is_not_renewed() {
    let handed_over = row(0, "b", Some("a"), 2, Checkpoint::TrimHorizon);
    assert_eq!(silent(30, vec![(2, "world", handed_over)]), [""; 0]);
    let taken = row(0, "b", None, 3, Checkpoint::TrimHorizon);
    assert_eq!(silent(30, vec![(2, "world", taken)]), [""; 0]);
    let damaged = What::RowDamaged {
        shard: shard(0),
        damage: Damage::CounterIsText,
    };
    assert_eq!(silent(30, vec![(2, "world", damaged)]), [""; 0]);
}

#[test]
fn who_leaves_may_let_a_lease_expire_that_a_call_still_keeps() {
    let id = || "a".to_owned();
    for leaves in [What::Stopping { id: id() }, What::LeavesByItself { id: id() }] {
        assert_eq!(silent(30, vec![(2, "a", leaves)]), [""; 0]);
    }
}
