//! Who is at work at the same time.

use super::*;
use crate::oracle::ownership;

/// `a` works on the shard, last renewed at second 1, while `b` begins at second `begins`.
fn overlapping(begins: u64, between: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let mut events = vec![
        (0, "a", starts("a")),
        (0, "b", starts("b")),
        (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
        (1, "a", initialized(0, 2)),
        (1, "a", began(0, 2, 0)),
    ];
    events.extend(between);
    events.push((begins, "b", initialized(0, 9)));
    events.push((begins, "b", began(0, 9, 1)));
    broken(events)
}

#[test]
fn two_processors_at_work_are_found_unless_the_lease_expired() {
    let taken = |at| vec![(at, "world", row(0, "b", None, 3, Checkpoint::TrimHorizon))];
    assert_eq!(overlapping(8, taken(8)), [ownership::OVERLAP]);
    assert_eq!(overlapping(11, taken(11)), [""; 0]);
    assert_eq!(
        overlapping(11, vec![]),
        [""; 0],
        "the table was not looked at since"
    );
    let renewed = row(0, "a", None, 3, Checkpoint::TrimHorizon);
    let after_a_renewal = vec![
        (7, "world", renewed),
        (11, "world", row(0, "b", None, 4, Checkpoint::TrimHorizon)),
    ];
    assert_eq!(overlapping(11, after_a_renewal), [ownership::OVERLAP]);
}

#[test]
fn a_lease_given_back_does_not_make_an_expired_owner_valid_again() {
    let there_and_back = vec![
        (11, "world", row(0, "b", None, 3, Checkpoint::TrimHorizon)),
        (12, "world", row(0, "a", None, 4, Checkpoint::TrimHorizon)),
    ];
    assert_eq!(overlapping(13, there_and_back), [""; 0]);
}

#[test]
fn who_works_for_a_row_that_was_deleted_takes_nobody_s_place() {
    let history = |is_deleted: bool| {
        let mut events = vec![
            (0, "a", starts("a")),
            (0, "b", starts("b")),
            (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
            (1, "a", initialized(0, 2)),
        ];
        if is_deleted {
            events.push((2, "world", What::RowDeletedByHand { shard: shard(0) }));
        }
        events.push((3, "b", initialized(0, 9)));
        events.push((3, "b", began(0, 9, 1)));
        events.push((3, "a", began(0, 2, 2)));
        broken(events)
    };
    assert_eq!(history(true), [""; 0]);
    assert_eq!(history(false), [ownership::STALE, ownership::OVERLAP]);
}

#[test]
fn a_hand_off_may_overtake_a_call_only_when_its_time_to_drain_is_over() {
    let handed = |over_at| {
        let renewals = (5..over_at).step_by(5).map(|at| {
            let counter = 2 + at;
            (
                at,
                "world",
                row(0, "b", Some("a"), counter, Checkpoint::TrimHorizon),
            )
        });
        let mut events: Vec<_> = renewals.collect();
        events.push((over_at, "world", row(0, "b", None, 99, Checkpoint::TrimHorizon)));
        events
    };
    assert_eq!(overlapping(12, handed(12)), [ownership::OVERLAP]);
    assert_eq!(overlapping(26, handed(26)), [""; 0]);
}

#[test]
fn a_call_of_a_worker_that_leaves_by_itself_may_be_overtaken_until_it_begins_the_next_one() {
    let leaves = |then: Vec<(u64, &'static str, What)>| {
        let renewals = (5..20).map(|at| (at, "world", row(0, "a", None, 2 + at, Checkpoint::TrimHorizon)));
        let mut events: Vec<_> = renewals.collect();
        events.extend(then);
        events.push((20, "world", row(0, "b", None, 99, Checkpoint::TrimHorizon)));
        events.sort_by_key(|(at, _, _)| *at);
        overlapping(20, events)
    };
    let left = || (3, "a", What::LeavesByItself { id: "a".to_owned() });
    assert_eq!(leaves(vec![]), [ownership::OVERLAP]);
    assert_eq!(leaves(vec![left()]), [""; 0]);
    let told = || (10, "a", What::Stopping { id: "a".to_owned() });
    assert_eq!(leaves(vec![told()]), [ownership::OVERLAP]);
    assert_eq!(leaves(vec![left(), told()]), [""; 0], "it left before that");
    assert_eq!(
        leaves(vec![left(), (8, "a", initialized(1, 7))]),
        [ownership::OVERLAP]
    );
}
