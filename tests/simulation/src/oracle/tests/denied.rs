//! A worker that may not read.

use super::*;
use crate::oracle::denied;

/// `a` has the shard and may not read from second 10 on, with `b` alive since second `b_since`.
fn denied(end: u64, b_since: u64, then: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let mut events = vec![
        (0, "a", starts("a")),
        (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
        (1, "world", row(1, "b", None, 2, Checkpoint::TrimHorizon)),
        (b_since, "b", starts("b")),
        (10, "a", What::Impaired),
        (10, "a", What::Denied),
    ];
    events.sort_by_key(|(at, ..)| *at);
    events.extend(then);
    events.push((end, "world", What::Disturbed("time passes".to_owned())));
    let mut rules = broken(events);
    rules.retain(|rule| [denied::KEPT, denied::GIVEN].contains(rule));
    rules
}

#[test]
fn what_a_denied_worker_keeps_is_found_while_another_one_is_well() {
    assert_eq!(denied(57, 0, vec![]), [""; 0]);
    assert_eq!(denied(58, 0, vec![]), [denied::KEPT]);
    assert_eq!(denied(58, 20, vec![]), [""; 0], "it came too late");
    assert_eq!(denied(58, 0, vec![(50, "b", What::Impaired)]), [""; 0]);
    let allowed = vec![(50, "a", What::Allowed), (50, "a", What::Recovered)];
    assert_eq!(denied(58, 0, allowed), [""; 0]);
    let moved = row(0, "b", None, 3, Checkpoint::TrimHorizon);
    assert_eq!(denied(58, 0, vec![(40, "world", moved)]), [""; 0]);
}

#[test]
fn a_lease_given_to_a_worker_that_gave_leases_up_is_found() {
    let moved = |at, owner| (at, "world", row(0, owner, None, at, Checkpoint::TrimHorizon));
    let given = |at| (at, "world", row(1, "a", None, at, Checkpoint::TrimHorizon));
    assert_eq!(denied(57, 0, vec![moved(40, "b"), given(51)]), [denied::GIVEN]);
    assert_eq!(
        denied(57, 0, vec![moved(40, "b"), given(49)]),
        [""; 0],
        "it had not been told"
    );
    assert_eq!(
        denied(57, 0, vec![moved(29, "b"), given(51)]),
        [""; 0],
        "it was balanced"
    );
    let fails = vec![
        (38, "a", began(0, 1, 0)),
        (38, "a", ended(0, 1, 0, false)),
        moved(40, "b"),
        given(51),
    ];
    assert_eq!(denied(57, 0, fails), [""; 0], "it was its processor");
    let stops = (50, "b", What::Stopping { id: "b".to_owned() });
    assert_eq!(
        denied(57, 0, vec![moved(40, "b"), stops, given(51)]),
        [""; 0],
        "a guess"
    );
}

#[test]
fn who_gave_leases_up_is_well_once_it_has_been_tried() {
    let owned = |at, shard, owner| (at, "world", row(shard, owner, None, at, Checkpoint::TrimHorizon));
    let allowed = |allowed| {
        let then = vec![
            (20, "c", starts("c")),
            (30, "b", What::Impaired),
            (30, "b", What::Denied),
            owned(40, 0, "c"),
            (54, "c", What::Impaired),
            owned(55, 1, "c"),
            (allowed, "b", What::Allowed),
            (allowed, "b", What::Recovered),
            owned(150, 1, "a"),
        ];
        denied(151, 0, then)
    };
    assert_eq!(allowed(60), [denied::GIVEN]);
    assert_eq!(allowed(61), [""; 0], "it may not have been tried and trusted yet");
}
