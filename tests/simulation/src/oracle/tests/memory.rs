//! What a worker may hold.

use super::*;
use crate::oracle::memory;

fn read(counters: &[u64]) -> What {
    let records = counters.iter().map(|counter| (sequence(*counter), 100));
    What::Read {
        records: records.collect(),
    }
}

/// A worker that may hold 250 bytes reads two records of 100 bytes, then something happens, and it reads a third one.
fn reads_a_third(before: Vec<What>) -> Vec<&'static str> {
    let mut events = vec![
        (0, "a", What::Bounded { bytes: 250 }),
        (1, "world", put(0, 0)),
        (1, "world", put(0, 1)),
        (1, "world", put(0, 2)),
        (2, "a", initialized(0, 2)),
        (3, "a", read(&[0, 1])),
        (4, "a", began(0, 2, 0)),
        (4, "a", took(0, 2, 0)),
    ];
    events.extend(before.into_iter().map(|what| (5, "a", what)));
    events.push((6, "a", read(&[1, 2])));
    broken(events)
}

#[test]
fn a_worker_that_holds_too_much_is_found() {
    assert_eq!(
        reads_a_third(vec![]),
        [memory::TOO_MUCH],
        "the first is still at work"
    );
    assert_eq!(
        reads_a_third(vec![ended(0, 2, 0, false)]),
        [memory::TOO_MUCH],
        "it failed"
    );
}

#[test]
fn what_is_processed_or_somebody_elses_is_not_held() {
    assert_eq!(reads_a_third(vec![ended(0, 2, 0, true)]), [""; 0]);
    assert_eq!(reads_a_third(vec![What::LeaseLost { of: of(0, 2) }]), [""; 0]);
    assert_eq!(reads_a_third(vec![initialized(0, 4)]), [""; 0]);
}

#[test]
fn what_the_lease_says_is_done_is_read_once_more_and_not_held() {
    let begins_behind = |checkpoint| {
        let mut rules = broken(vec![
            (0, "a", What::Bounded { bytes: 250 }),
            (1, "world", put(0, 0)),
            (1, "world", put(0, 1)),
            (1, "world", put(0, 2)),
            (2, "world", row(0, "a", None, 1, checkpoint)),
            (2, "a", initialized(0, 2)),
            (3, "a", read(&[0])),
            (4, "a", read(&[1, 2])),
        ]);
        // Nobody processed what is done.
        rules.retain(|rule| *rule == memory::TOO_MUCH);
        rules
    };
    assert_eq!(begins_behind(at(0)), [""; 0]);
    assert_eq!(begins_behind(Checkpoint::TrimHorizon), [memory::TOO_MUCH]);
}

/// A worker that may hold 250 bytes reads an aggregate of three user records and a plain record, 100 bytes each; this happens, and it reads
/// one more.
fn reads_behind_an_aggregate(first_row: Checkpoint, before: Vec<What>) -> Vec<&'static str> {
    let mut events = vec![
        (0, "a", What::Bounded { bytes: 250 }),
        (1, "world", placed(put(0, 0), place(0, 0))),
        (1, "world", placed(put(0, 1), place(0, 1))),
        (1, "world", placed(put(0, 2), place(0, 2))),
        (1, "world", put(0, 3)),
        (1, "world", put(0, 4)),
        (2, "world", row(0, "a", None, 1, first_row)),
        (2, "a", initialized(0, 2)),
        (3, "a", read(&[0, 3])),
        (4, "a", began(0, 2, 0)),
    ];
    events.extend(before.into_iter().map(|what| (5, "a", what)));
    events.push((6, "a", read(&[4])));
    let mut rules = broken(events);
    rules.retain(|rule| *rule == memory::TOO_MUCH);
    rules
}

#[test]
fn an_aggregate_is_held_until_the_last_of_its_user_records_is_processed() {
    let processed_up_to = |last: u64| {
        let taken = (0..=last).map(|index| placed(took(0, 2, index), place(0, index)));
        let before = taken.chain([ended(0, 2, 0, true)]).collect();
        reads_behind_an_aggregate(Checkpoint::TrimHorizon, before)
    };
    assert_eq!(processed_up_to(1), [memory::TOO_MUCH]);
    assert_eq!(processed_up_to(2), [""; 0]);
}

#[test]
fn an_aggregate_of_which_a_part_is_done_is_held_and_one_that_is_done_is_not() {
    assert_eq!(
        reads_behind_an_aggregate(inside(0, 1), vec![]),
        [memory::TOO_MUCH]
    );
    assert_eq!(reads_behind_an_aggregate(inside(0, 2), vec![]), [""; 0]);
}
