//! What must have been processed at the end.

use super::*;
use crate::oracle::{order, rest, table};

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
    assert_eq!(trimmed(at(0), vec![took(0, 5, 2)]), [rest::LOST]);
    assert_eq!(
        trimmed(at(0), vec![What::ShardEnded { of: of(0, 5) }]),
        [rest::LOST]
    );
    assert_eq!(trimmed(at(0), vec![]), [""; 0], "it is said with what follows");
    assert_eq!(trimmed(at(0), vec![gap(0, 2), took(0, 5, 2)]), [""; 0]);
    assert_eq!(
        trimmed(at(0), vec![gap(1, 2), took(0, 5, 2)]),
        [rest::LOST],
        "another gap"
    );
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
fn what_was_put_before_a_shard_was_begun_with_at_its_latest_record_need_not_be_processed() {
    let seen_late = |parent_is_leased: bool| {
        let opened = What::ShardOpened {
            shard: shard(0),
            parents: vec![shard(8)],
        };
        let mut events = vec![(0, "world", opened), (1, "world", put(0, 0))];
        if parent_is_leased {
            events.push((1, "world", row(8, "a", None, 2, Checkpoint::ShardEnd)));
        }
        events.extend([
            (2, "a", initialized(0, 2)),
            (3, "world", row(0, "a", None, 4, Checkpoint::ShardEnd)),
            (9, "world", What::Settled),
        ]);
        broken_from(Start::Latest, events).contains(&rest::LOST)
    };
    assert!(!seen_late(false));
    assert!(seen_late(true), "a child is read from its beginning");
}

#[test]
fn the_rest_of_a_trimmed_aggregate_is_reported_with_what_follows_it() {
    let reported = |after| {
        let gap = What::GapReported {
            of: of(0, 5),
            after: Some(sequence(after)),
            before: Some(sequence(9)),
        };
        broken(vec![
            (1, "world", placed(put(0, 0), place(7, 0))),
            (1, "world", placed(put(0, 1), place(7, 1))),
            (2, "a", placed(took(0, 2, 0), place(7, 0))),
            (3, "world", row(0, "a", None, 1, inside(7, 0))),
            (4, "world", What::Trimmed { shard: shard(0) }),
            (5, "b", gap),
            (5, "b", placed(took(0, 5, 2), place(9, 0))),
            (6, "world", What::Settled),
        ])
    };
    assert_eq!(reported(7), [""; 0]);
    assert_eq!(reported(8), [rest::LOST], "another gap");
}
