//! Leases for workers that are gone.

use super::*;
use crate::oracle::targets;

fn killed(id: &str) -> What {
    What::Killed { id: id.to_owned() }
}

fn stopped(id: &str) -> What {
    What::Stopped {
        id: id.to_owned(),
        owned: Vec::new(),
        has_row: false,
        had_joined: true,
        faults: 0,
    }
}

/// A lease of `b` is given to `a`, which was killed at 10 s.
fn given(at: u64, requests_fail: bool, before: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    let mut events = before;
    events.push((10, "a", killed("a")));
    events.push((11, "world", row(0, "b", None, 1, Checkpoint::TrimHorizon)));
    events.push((at, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)));
    events.sort_by_key(|(at, _, _)| *at);
    let mut oracle = Oracle::new(TIMES);
    if !requests_fail {
        oracle = oracle.with_reliable_requests();
    }
    judged(oracle, events)
}

#[test]
fn a_lease_given_to_a_worker_that_is_long_gone_is_found() {
    assert_eq!(given(79, true, vec![]), [""; 0]);
    assert_eq!(given(81, true, vec![]), [targets::DEAD]);
}

#[test]
fn a_lease_given_to_a_silent_worker_is_found_while_all_others_are_well_and_one_has_known_it() {
    let lives = |since| vec![(since, "c", starts("c"))];
    assert_eq!(given(19, false, lives(1)), [""; 0]);
    assert_eq!(given(20, false, lives(1)), [targets::SILENT]);
    let mut troubled = lives(1);
    troubled.extend([(1, "c", What::Impaired), (12, "c", What::Recovered)]);
    assert_eq!(given(20, false, troubled), [""; 0]);
    assert_eq!(given(20, false, lives(9)), [""; 0]);
    let mut killed_too = lives(1);
    killed_too.push((15, "c", killed("c")));
    assert_eq!(given(20, false, killed_too), [""; 0]);
    let leader_dies = |at| {
        let mut events = lives(1);
        events.extend([(1, "d", starts("d")), (at, "d", killed("d"))]);
        events
    };
    assert_eq!(given(40, false, leader_dies(21)), [""; 0]);
    assert_eq!(given(40, false, leader_dies(15)), [targets::SILENT]);
    let leader_leaves = |until| {
        let stopping = What::Stopping { id: "d".to_owned() };
        let mut events = lives(1);
        events.extend([
            (1, "d", starts("d")),
            (14, "d", stopping),
            (until, "d", stopped("d")),
        ]);
        events
    };
    assert_eq!(given(20, false, leader_leaves(21)), [""; 0]);
    assert_eq!(given(40, false, leader_leaves(15)), [targets::SILENT]);
}

#[test]
fn whom_a_leaving_worker_names_is_its_guess() {
    let stopping = What::Stopping { id: "b".to_owned() };
    assert_eq!(given(81, true, vec![(80, "b", stopping)]), [""; 0]);
}

#[test]
fn a_worker_that_lives_again_may_be_given_leases() {
    assert_eq!(given(81, true, vec![(30, "a.2", starts("a"))]), [""; 0]);
}

#[test]
fn what_belonged_to_it_before_was_not_given() {
    let kept = row(0, "a", None, 1, Checkpoint::TrimHorizon);
    let written = row(0, "a", None, 2, Checkpoint::TrimHorizon);
    let events = vec![(1, "world", kept), (10, "a", killed("a")), (90, "world", written)];
    assert_eq!(broken(events), [""; 0]);
}
