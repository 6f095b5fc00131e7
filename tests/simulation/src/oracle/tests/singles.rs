//! Records that are handled beside each other.

use super::*;
use crate::history::Single;
use crate::oracle::{order, ownership, singles, telling};
use crate::singles::{Handled, Limits, Shape};

pub(super) const LIMITS: Limits = Limits {
    shape: Shape::EachRecord,
    order: Handled::ByKey,
    at_once: 2,
    in_worker: None,
    undone: 4,
    undone_in_worker: None,
    held_back: 2,
    ahead: 6,
    interval: Duration::from_secs(1),
};

fn singly(limits: Limits) -> What {
    What::HandlesSingly { limits }
}

/// Records of these lanes, one after the other from this number on.
fn given(first: u64, lanes: &[&str]) -> What {
    let single = |(number, lane): (u64, &&str)| Single {
        position: place(number, 0),
        lane: (!lane.is_empty()).then(|| (*lane).into()),
        is_unreadable: *lane == "bad",
    };
    What::Given {
        of: of(0, 1),
        records: (first..).zip(lanes).map(single).collect(),
    }
}

/// A handler is called with a record, and the call bears the record's number.
fn begins(number: u64) -> What {
    What::RecordBegan {
        of: of(0, 1),
        call: 100 + number,
        position: place(number, 0),
        is_valid: true,
    }
}

fn ends(number: u64, is_ok: bool) -> What {
    What::RecordEnded {
        of: of(0, 1),
        call: 100 + number,
        is_ok,
    }
}

/// What `a` does with records of these lanes, one second after the other.
fn handling(lanes: &[&str], what: Vec<What>) -> Vec<&'static str> {
    handling_within(LIMITS, lanes, what)
}

fn handling_within(limits: Limits, lanes: &[&str], what: Vec<What>) -> Vec<&'static str> {
    let start = [
        starts("a"),
        singly(limits),
        initialized(0, 1),
        began(0, 1, 0),
        given(1, lanes),
        ended(0, 1, 0, true),
    ];
    let events = start.into_iter().chain(what);
    broken((0..).zip(events).map(|(at, what)| (at, "a", what)).collect())
}

#[test]
fn keys_are_handled_beside_each_other_and_each_in_order() {
    let in_order = vec![begins(1), begins(3), ends(3, true), ends(1, true), begins(2)];
    assert_eq!(handling(&["k", "k", "l"], in_order), [""; 0]);
    assert_eq!(
        handling(&["k", "k"], vec![begins(1), begins(2)]),
        [singles::ORDER]
    );
    assert_eq!(handling(&["k", "k"], vec![begins(2)]), [singles::ORDER]);
    assert_eq!(
        handling(&["k", "k"], vec![begins(1), ends(1, false), begins(2)]),
        [singles::ORDER],
        "the one before has failed"
    );
    assert_eq!(handling(&["k"], vec![begins(1), begins(1)]), [singles::ORDER]);
    assert_eq!(
        handling(&["", ""], vec![begins(2), begins(1)]),
        [""; 0],
        "in any order"
    );
}

#[test]
fn a_record_that_no_handler_takes_may_be_given_up() {
    let given_up = vec![begins(1), ends(1, false), begins(2), ends(2, true)];
    assert_eq!(handling(&["bad", "bad"], given_up), [""; 0]);
    assert_eq!(
        handling(&["bad", "bad"], vec![begins(2)]),
        [singles::ORDER],
        "it was not tried"
    );
}

#[test]
fn what_is_done_is_not_handled_again_nor_what_was_not_given() {
    assert_eq!(
        handling(&["k"], vec![begins(1), ends(1, true), begins(1)]),
        [singles::ONCE]
    );
    assert_eq!(handling(&["k"], vec![begins(2)]), [singles::ONCE]);
}

#[test]
fn handlers_are_counted_by_shard_and_by_worker() {
    let three = || vec![begins(1), begins(2), begins(3)];
    assert_eq!(handling(&["k", "l", "m"], three()), [singles::CROWD]);
    let after_one = vec![begins(1), begins(2), ends(1, false), begins(3)];
    assert_eq!(handling(&["k", "l", "m"], after_one), [""; 0]);
    let of_worker = Limits {
        at_once: 8,
        in_worker: Some(2),
        ..LIMITS
    };
    assert_eq!(
        handling_within(of_worker, &["k", "l", "m"], three()),
        [singles::CROWD]
    );
}

#[test]
fn no_more_is_taken_in_than_allowed_unless_the_shard_is_about_to_be_given_up() {
    let next = || began(0, 1, 1);
    assert_eq!(handling(&["k", "k", "k", "k"], vec![next()]), [""; 0]);
    assert_eq!(
        handling(&["k", "k", "k", "k", "k"], vec![next()]),
        [singles::TAKEN]
    );
    assert_eq!(
        handling(
            &["k", "k", "k", "k", "k"],
            vec![What::ShutdownRequested { of: of(0, 1) }]
        ),
        [""; 0]
    );
}

#[test]
fn beyond_the_bound_of_its_worker_a_shard_takes_in_no_second_record() {
    let of_worker = Limits {
        undone_in_worker: Some(3),
        ..LIMITS
    };
    let beside = |lanes: &[&str], first_is_over: bool| {
        let records = match given(11, lanes) {
            What::Given { records, .. } => records,
            other => panic!("{other:?}"),
        };
        let given = What::Given {
            of: of(1, 1),
            records,
        };
        let over = first_is_over.then(|| What::LeaseLost { of: of(0, 1) });
        let next = [
            initialized(1, 1),
            began(1, 1, 1),
            given,
            ended(1, 1, 1, true),
            began(1, 1, 2),
        ];
        handling_within(of_worker, &["k", "l"], over.into_iter().chain(next).collect())
    };
    assert_eq!(beside(&["k"], false), [""; 0]);
    assert_eq!(beside(&["k", "l", "m"], false), [singles::TAKEN]);
    assert_eq!(beside(&["k", "l", "m"], true), [""; 0]);
}

#[test]
fn what_is_done_ahead_of_the_rest_counts_too() {
    let batch =
        |first, call, lanes: &[&str]| vec![began(0, 1, call), given(first, lanes), ended(0, 1, call, true)];
    let ahead = |more: &[&str]| {
        let done = vec![
            begins(2),
            ends(2, true),
            begins(3),
            ends(3, true),
            begins(4),
            ends(4, true),
        ];
        let events = [done, batch(5, 1, more), vec![began(0, 1, 2)]].concat();
        handling(&["k", "l", "m", "n"], events)
    };
    assert_eq!(ahead(&["k", "k"]), [""; 0]);
    assert_eq!(ahead(&["k", "k", "k"]), [singles::TAKEN]);
}

#[test]
fn a_key_that_fails_holds_only_so_much_back() {
    let batch =
        |first, call, lanes: &[&str]| vec![began(0, 1, call), given(first, lanes), ended(0, 1, call, true)];
    let held_back = |more: &[&str]| {
        let events = [
            vec![begins(1), ends(1, false)],
            batch(2, 1, more),
            vec![began(0, 1, 2)],
        ]
        .concat();
        handling(&["k"], events)
    };
    assert_eq!(
        held_back(&["k"]),
        [""; 0],
        "it was the last one for which there was room"
    );
    assert_eq!(held_back(&["k", "l"]), [singles::TAKEN]);
    assert_eq!(held_back(&["l", "k"]), [""; 0]);
}

#[test]
fn a_checkpoint_stays_in_front_of_what_is_not_done() {
    let checkpointed = |number| What::Checkpointed {
        of: of(0, 1),
        to: at(number),
    };
    let history = |what| handling(&["k", "l"], vec![begins(1), begins(2), ends(2, true), what]);
    assert_eq!(history(checkpointed(0)), [""; 0]);
    assert_eq!(history(checkpointed(1)), [singles::WATERMARK]);
    let failed = vec![begins(1), ends(1, false), checkpointed(1)];
    assert_eq!(handling(&["k"], failed), [singles::WATERMARK]);
    let done = vec![begins(1), ends(1, true), checkpointed(1)];
    assert_eq!(handling(&["k"], done), [""; 0]);
    let given_up = vec![begins(1), ends(1, false), checkpointed(1)];
    assert_eq!(handling(&["bad"], given_up), [""; 0]);
    let over = What::ShardEnded { of: of(0, 1) };
    assert_eq!(history(over), [singles::WATERMARK]);
}

#[test]
fn nothing_is_begun_once_the_shard_is_over() {
    for over in [
        What::LeaseLost { of: of(0, 1) },
        What::ShutdownRequested { of: of(0, 1) },
    ] {
        assert_eq!(handling(&["k"], vec![over, begins(1)]), [singles::OVER]);
    }
}

#[test]
fn a_record_is_begun_with_a_valid_lease_and_not_where_its_lease_begins() {
    let mut stale = begins(1);
    if let What::RecordBegan { is_valid, .. } = &mut stale {
        *is_valid = false;
    }
    assert_eq!(handling(&["k"], vec![stale]), [ownership::INVALID]);
    let events = vec![
        (0, "a", starts("a")),
        (0, "a", singly(LIMITS)),
        (0, "world", row(0, "a", None, 1, at(1))),
        (1, "a", initialized(0, 1)),
        (1, "a", began(0, 1, 0)),
        (1, "a", given(1, &["k"])),
        (1, "a", begins(1)),
    ];
    assert_eq!(broken(events), [telling::AGAIN]);
}

#[test]
fn whoever_takes_a_shard_over_waits_until_its_records_are_handled() {
    let history = |is_done: bool| {
        let mut events = vec![
            (0, "a", starts("a")),
            (0, "b", starts("b")),
            (0, "a", singly(LIMITS)),
            (0, "b", singly(LIMITS)),
            (1, "world", row(0, "a", None, 1, Checkpoint::TrimHorizon)),
            (1, "a", initialized(0, 1)),
            (1, "a", began(0, 1, 0)),
            (1, "a", given(1, &["k"])),
            (1, "a", ended(0, 1, 0, true)),
            (2, "a", begins(1)),
            (3, "world", row(0, "b", Some("a"), 2, Checkpoint::TrimHorizon)),
            (3, "a", What::ShutdownRequested { of: of(0, 1) }),
        ];
        if is_done {
            events.push((4, "a", ends(1, true)));
        }
        events.extend([
            (5, "world", row(0, "b", None, 3, Checkpoint::TrimHorizon)),
            (5, "b", initialized(0, 9)),
            (5, "b", began(0, 9, 1)),
        ]);
        broken(events)
    };
    assert_eq!(history(true), [""; 0]);
    assert_eq!(history(false), [ownership::OVERLAP]);
}

#[test]
fn the_first_deliveries_of_a_key_need_an_order_only_where_there_is_one() {
    let unordered = Limits {
        order: Handled::InAnyOrder,
        ..LIMITS
    };
    let delivers = |limits| {
        let events = vec![
            (0, "a", singly(limits)),
            (1, "a", took(0, 1, 1)),
            (2, "a", took(0, 1, 0)),
        ];
        broken(events)
    };
    assert_eq!(delivers(LIMITS), [order::FIRSTS]);
    assert_eq!(delivers(unordered), [""; 0]);
}
