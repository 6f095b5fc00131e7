//! Histories that break each rule, and the nearest ones that do not.

use std::time::Duration;

use kcl_core::{Checkpoint, ExtendedSequenceNumber, SequenceNumber};

use super::{Oracle, Start, Times, cost, family, leaving, order, ownership, rest, stuck, table, telling};
use crate::history::{Event, Name, Ownership, Row, What};

const TIMES: Times = Times {
    failover: Duration::from_secs(10),
    drain: Duration::from_secs(20),
};

/// The rules that a history breaks; each event is so many seconds after the beginning.
fn broken(events: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    broken_from(Start::Beginning, events)
}

/// The same for an application that starts to read elsewhere.
fn broken_from(start: Start, events: Vec<(u64, &str, What)>) -> Vec<&'static str> {
    let events: Vec<_> = events
        .into_iter()
        .map(|(at, who, what)| Event {
            at: Duration::from_secs(at),
            who: who.into(),
            what,
        })
        .collect();
    let mut oracle = Oracle::new(TIMES).starting(start);
    let violations = events.iter().flat_map(|event| oracle.see(event));
    violations.map(|violation| violation.rule).collect()
}

fn shard(number: u64) -> Name {
    format!("shard-{number}").into()
}

fn of(number: u64, token: u64) -> Ownership {
    Ownership {
        shard: shard(number),
        token,
    }
}

fn sequence(number: u64) -> SequenceNumber {
    SequenceNumber::parse(number.to_string()).expect("a number")
}

fn at(number: u64) -> Checkpoint {
    Checkpoint::At(ExtendedSequenceNumber {
        sequence: sequence(number),
        sub_sequence: 0,
    })
}

fn put(number: u64, counter: u64) -> What {
    What::Put {
        key: "key".into(),
        counter,
        shard: shard(number),
        sequence: sequence(counter),
    }
}

fn initialized(number: u64, token: u64) -> What {
    What::Initialized {
        of: of(number, token),
    }
}

fn began(number: u64, token: u64, call: u64) -> What {
    What::BatchBegan {
        of: of(number, token),
        call,
        is_valid: true,
        records: 1,
    }
}

fn took(number: u64, token: u64, counter: u64) -> What {
    What::Delivered {
        of: of(number, token),
        key: "key".into(),
        counter,
        sequence: sequence(counter),
    }
}

fn ended(number: u64, token: u64, call: u64, is_ok: bool) -> What {
    What::BatchEnded {
        of: of(number, token),
        call,
        is_ok,
    }
}

fn row(number: u64, owner: &str, from: Option<&str>, counter: u64, checkpoint: Checkpoint) -> What {
    What::Row {
        shard: shard(number),
        row: Row {
            owner: Some(owner.to_owned()),
            checkpoint_owner: from.map(ToOwned::to_owned),
            counter,
            checkpoint,
        },
    }
}

fn starts(id: &str) -> What {
    What::Started { id: id.to_owned() }
}

#[test]
fn a_good_history_breaks_nothing() {
    let good = vec![
        (0, "a", starts("a")),
        (1, "world", row(0, "a", None, 1, Checkpoint::TrimHorizon)),
        (1, "world", put(0, 0)),
        (1, "world", put(0, 1)),
        (2, "a", initialized(0, 2)),
        (2, "a", began(0, 2, 0)),
        (2, "a", took(0, 2, 0)),
        (2, "a", ended(0, 2, 0, false)),
        (3, "a", began(0, 2, 1)),
        (3, "a", took(0, 2, 0)),
        (3, "a", ended(0, 2, 1, true)),
        (3, "a", began(0, 2, 2)),
        (3, "a", took(0, 2, 1)),
        (3, "a", ended(0, 2, 2, true)),
        (4, "world", row(0, "a", None, 3, at(1))),
        (9, "world", What::Settled),
    ];
    assert_eq!(broken(good), [""; 0]);
}

#[test]
fn a_record_that_is_never_processed_is_found() {
    assert_eq!(
        broken(vec![(1, "world", put(0, 0)), (9, "world", What::Settled)]),
        [rest::LOST]
    );
}

#[test]
fn a_fleet_that_does_not_rest_is_found() {
    let because = vec!["shard-0 has no lease".to_owned()];
    assert_eq!(
        broken(vec![(9, "world", What::Unsettled { because })]),
        [rest::RESTS]
    );
}

#[test]
fn a_key_out_of_order_is_found() {
    let events = vec![
        (1, "a", began(0, 2, 0)),
        (1, "a", took(0, 2, 1)),
        (1, "a", ended(0, 2, 0, true)),
    ];
    assert_eq!(broken(events), [order::FIRSTS]);
}

#[test]
fn a_batch_repeated_after_a_success_is_found_but_not_under_the_next_owner() {
    let events = |token| {
        vec![
            (1, "a", began(0, 2, 0)),
            (1, "a", took(0, 2, 0)),
            (1, "a", ended(0, 2, 0, true)),
            (1, "a", began(0, token, 1)),
            (1, "a", took(0, token, 0)),
            (1, "a", ended(0, token, 1, true)),
        ]
    };
    assert_eq!(broken(events(2)), [order::WITHIN]);
    assert_eq!(broken(events(3)), [""; 0]);
}

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
fn a_checkpoint_that_moves_back_is_found_unless_the_row_was_deleted_by_hand() {
    let lower = |between: What| {
        vec![
            (1, "world", row(0, "a", None, 1, at(9))),
            (2, "world", between),
            (3, "world", row(0, "a", None, 2, at(8))),
        ]
    };
    let gone = What::RowGone { shard: shard(0) };
    let deleted = What::RowDeletedByHand { shard: shard(0) };
    assert_eq!(broken(lower(gone)), [table::BACK]);
    assert_eq!(broken(lower(deleted)), [""; 0]);
}

#[test]
fn a_counter_that_shrinks_is_found() {
    let events = vec![
        (1, "world", row(0, "a", None, 5, at(9))),
        (2, "world", row(0, "a", None, 4, at(9))),
    ];
    assert_eq!(broken(events), [table::COUNTER]);
}

#[test]
fn a_checkpoint_beyond_what_was_processed_is_found() {
    let events = |checkpoint| {
        vec![
            (1, "world", put(0, 7)),
            (2, "world", row(0, "a", None, 5, checkpoint)),
        ]
    };
    assert_eq!(broken(events(at(6))), [""; 0]);
    assert_eq!(broken(events(at(7))), [table::PASSED]);
    assert_eq!(broken(events(Checkpoint::ShardEnd)), [table::PASSED]);
    let heard_of_later = vec![(1, "world", row(0, "a", None, 5, at(7))), (2, "world", put(0, 7))];
    assert_eq!(broken(heard_of_later), [table::PASSED]);
}

#[test]
fn a_stale_owner_that_begins_a_batch_is_found() {
    let events = vec![
        (1, "a", initialized(0, 2)),
        (2, "b", initialized(0, 5)),
        (3, "a", began(0, 2, 0)),
    ];
    assert_eq!(broken(events), [ownership::STALE]);
}

#[test]
fn a_token_used_twice_is_found() {
    let events = vec![(1, "a", initialized(0, 2)), (2, "b", initialized(0, 2))];
    assert_eq!(broken(events), [ownership::SAME_TOKEN]);
}

#[test]
fn a_batch_without_a_lease_and_two_valid_leases_are_found() {
    let events = vec![
        (
            1,
            "a",
            What::BatchBegan {
                of: of(0, 2),
                call: 0,
                is_valid: false,
                records: 1,
            },
        ),
        (
            2,
            "world",
            What::SeveralValid {
                shard: shard(1),
                holders: vec!["a with 2".to_owned(), "b with 5".to_owned()],
            },
        ),
    ];
    assert_eq!(broken(events), [ownership::INVALID, ownership::SEVERAL]);
}

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
fn a_worker_that_ends_by_itself_is_found() {
    let reason = "a panic".to_owned();
    assert_eq!(broken(vec![(1, "a", What::Ended { reason })]), [leaving::ENDED]);
}

#[test]
fn a_trimmed_record_must_be_reported_once_there_was_a_checkpoint() {
    let gap = |after, before| What::GapReported {
        of: of(0, 5),
        after: Some(sequence(after)),
        before: Some(sequence(before)),
    };
    let trimmed = |checkpoint, then: Vec<What>| {
        let mut events = vec![
            (1, "world", put(0, 0)),
            (1, "world", put(0, 1)),
            (2, "a", took(0, 2, 0)),
            (3, "world", row(0, "a", None, 1, checkpoint)),
            (4, "world", What::Trimmed { shard: shard(0) }),
        ];
        events.extend(then.into_iter().map(|what| (5, "b", what)));
        events.push((6, "world", What::Settled));
        broken(events)
    };
    assert_eq!(trimmed(at(0), vec![]), [rest::LOST]);
    assert_eq!(trimmed(at(0), vec![gap(0, 2)]), [""; 0]);
    assert_eq!(trimmed(at(0), vec![gap(1, 2)]), [rest::LOST], "another gap");
    assert_eq!(
        trimmed(at(0), vec![took(0, 5, 1)]),
        [""; 0],
        "read before it was trimmed"
    );
    assert_eq!(
        trimmed(Checkpoint::TrimHorizon, vec![]),
        [""; 0],
        "read from whatever is left"
    );
}

#[test]
fn what_was_put_before_reading_starts_is_not_missed() {
    let history = |first_row| {
        vec![
            (1, "world", put(0, 0)),
            (2, "world", row(0, "a", None, 1, first_row)),
            (3, "a", initialized(0, 2)),
            (4, "world", put(0, 1)),
            (5, "a", began(0, 2, 1)),
            (5, "a", took(0, 2, 1)),
            (5, "a", ended(0, 2, 1, true)),
            (6, "world", row(0, "a", None, 2, at(1))),
            (9, "world", What::Settled),
        ]
    };
    let latest = history(Checkpoint::Latest);
    assert_eq!(broken_from(Start::Latest, latest.clone()), [""; 0]);
    assert_eq!(
        broken(latest),
        [order::FIRSTS, table::PASSED, rest::LOST],
        "nothing was to be left out"
    );
    assert_eq!(
        broken_from(Start::Latest, history(Checkpoint::TrimHorizon)),
        [table::PASSED, rest::LOST],
        "the shard of a child is read whole"
    );
    let timed = history(Checkpoint::AtTimestamp);
    assert_eq!(
        broken_from(Start::At(Duration::from_secs(2)), timed.clone()),
        [""; 0]
    );
    assert_eq!(
        broken_from(Start::At(Duration::ZERO), timed),
        [table::PASSED, rest::LOST]
    );
}

#[test]
fn a_checkpoint_out_of_range_that_is_accepted_is_found() {
    let what = What::Misled("accepted".to_owned());
    assert_eq!(broken(vec![(1, "a", what)]), [table::MISLED]);
}

/// A shard whose owner dies in second 5, with `b` alive; whatever happens `then`, until second `end`.
fn orphaned(end: u64, then: Vec<(u64, &'static str, What)>) -> Vec<&'static str> {
    let opened = What::ShardOpened {
        shard: shard(0),
        parents: vec![],
    };
    let killed = What::Killed { id: "a".to_owned() };
    let mut events = vec![
        (0, "world", opened),
        (0, "a", starts("a")),
        (0, "b", starts("b")),
        (1, "world", row(0, "a", None, 2, Checkpoint::TrimHorizon)),
        (1, "a", initialized(0, 2)),
        (5, "a", killed),
    ];
    events.extend(then);
    events.push((end, "world", What::Disturbed("time passes".to_owned())));
    broken(events)
}

#[test]
fn a_shard_that_stands_still_is_found_if_somebody_could_take_it() {
    assert_eq!(orphaned(94, vec![]), [""; 0]);
    assert_eq!(orphaned(96, vec![]), [stuck::STUCK]);
    assert_eq!(orphaned(96, vec![(90, "b", initialized(0, 5))]), [""; 0]);
    assert_eq!(
        orphaned(96, vec![(50, "b", What::Impaired)]),
        [""; 0],
        "nobody is well"
    );
    let ill_for_a_while = vec![(10, "b", What::Impaired), (50, "b", What::Recovered)];
    assert_eq!(orphaned(139, ill_for_a_while.clone()), [""; 0]);
    assert_eq!(orphaned(141, ill_for_a_while), [stuck::STUCK]);
    let ended = vec![(6, "world", row(0, "a", None, 9, Checkpoint::ShardEnd))];
    assert_eq!(orphaned(200, ended), [""; 0]);
}

#[test]
fn a_processor_in_a_worker_that_cannot_renew_serves_nobody() {
    let opened = What::ShardOpened {
        shard: shard(0),
        parents: vec![],
    };
    let frozen = |recovers: Option<u64>, end| {
        let mut events = vec![
            (0, "world", opened.clone()),
            (0, "a", starts("a")),
            (0, "b", starts("b")),
            (1, "a", initialized(0, 2)),
            (2, "a", What::Impaired),
        ];
        events.extend(recovers.map(|at| (at, "a", What::Recovered)));
        events.push((end, "world", What::Disturbed("time passes".to_owned())));
        broken(events)
    };
    assert_eq!(frozen(None, 100), [stuck::STUCK]);
    assert_eq!(frozen(Some(60), 100), [""; 0]);
}

#[test]
fn a_worker_that_asks_more_than_its_work_takes_is_found() {
    let spent = |requests, faults| What::Spent {
        over: Duration::from_secs(10),
        requests,
        faults,
    };
    let judged = |requests, faults, batches: u64| {
        let mut events = vec![(0, "a", starts("a"))];
        events.extend((0..batches).map(|call| (1, "a", ended(0, 2, call, true))));
        events.push((10, "a", spent(requests, faults)));
        broken(events)
    };
    assert_eq!(judged(60, 0, 0), [""; 0]);
    assert_eq!(judged(100, 0, 0), [cost::DEAR]);
    assert_eq!(judged(100, 10, 0), [""; 0]);
    assert_eq!(judged(100, 0, 10), [""; 0]);
}

#[test]
fn a_processor_that_is_followed_and_was_never_told_is_found() {
    let history = |told: Vec<What>| {
        let mut events = vec![(1, "a", initialized(0, 2))];
        events.extend(told.into_iter().map(|what| (2, "a", what)));
        events.extend([(3, "b", initialized(0, 5)), (9, "world", What::Settled)]);
        broken(events)
    };
    assert_eq!(history(vec![]), [telling::UNTOLD]);
    assert_eq!(history(vec![What::LeaseLost { of: of(0, 2) }]), [""; 0]);
    assert_eq!(history(vec![What::ShutdownRequested { of: of(0, 2) }]), [""; 0]);
    assert_eq!(history(vec![What::Killed { id: "a".to_owned() }]), [""; 0]);
    assert_eq!(history(vec![began(0, 2, 1)]), [""; 0], "a call is under way");
}

#[test]
fn a_worker_that_stops_without_asking_its_processors_to_is_found() {
    let stopped = |faults, before: Vec<What>| {
        let what = What::Stopped {
            id: "a".to_owned(),
            owned: vec![],
            has_row: false,
            had_joined: true,
            faults,
        };
        let mut events = vec![(1, "a", initialized(0, 2))];
        events.extend(before.into_iter().map(|what| (2, "a", what)));
        events.push((9, "a", what));
        broken(events)
    };
    assert_eq!(stopped(0, vec![]), [telling::LEFT_ALONE]);
    assert_eq!(stopped(1, vec![]), [""; 0]);
    assert_eq!(
        stopped(0, vec![What::ShutdownRequested { of: of(0, 2) }]),
        [""; 0]
    );
    assert_eq!(stopped(0, vec![began(0, 2, 1)]), [""; 0], "it would not end");
}

#[test]
fn an_acknowledged_checkpoint_that_is_not_in_the_table_is_found() {
    let acknowledged = |row_says| {
        let what = What::Checkpointed {
            of: of(0, 2),
            to: at(5),
        };
        broken(vec![
            (1, "world", row(0, "a", None, 1, at(3))),
            (2, "a", what),
            (2, "world", row(0, "a", None, 2, row_says)),
            (4, "world", What::Disturbed("time passes".to_owned())),
        ])
    };
    assert_eq!(acknowledged(at(4)), [telling::FORGOTTEN]);
    assert_eq!(acknowledged(at(5)), [""; 0]);
    assert_eq!(acknowledged(at(7)), [""; 0]);
}

#[test]
fn an_owner_that_begins_with_what_is_done_is_found() {
    let begins_with = |counter| {
        broken(vec![
            (1, "world", put(0, 0)),
            (1, "world", put(0, 1)),
            (1, "a", took(0, 2, 0)),
            (2, "world", row(0, "b", None, 5, at(0))),
            (3, "b", initialized(0, 6)),
            (4, "b", took(0, 6, counter)),
        ])
    };
    assert_eq!(begins_with(1), [""; 0]);
    assert_eq!(begins_with(0), [telling::AGAIN]);
}

#[test]
fn a_processor_that_takes_another_one_s_shard_for_its_own_is_found() {
    let owner = Some("b".to_owned());
    let what = What::Mistaken {
        shard: shard(0),
        owner,
    };
    assert_eq!(broken(vec![(1, "a", what.clone())]), [ownership::MISTAKEN]);
    let orphan = vec![
        (1, "a", initialized(0, 2)),
        (2, "world", What::RowDeletedByHand { shard: shard(0) }),
        (3, "a", what),
    ];
    assert_eq!(broken(orphan), [""; 0]);
}
