//! Where leases are once nothing is disturbed any more.

use super::*;
use crate::load::{Machine, Voice};
use crate::oracle::balance::{MOVING, MUTE, RESTLESS, UNEVEN, UPHILL};

/// A machine of ordinary size that does nothing besides.
const ORDINARY: Machine = Machine {
    size: 1_000,
    base: 0,
    noise: 0,
    voice: Voice::Clear,
};

fn says(voice: Voice) -> Machine {
    Machine { voice, ..ORDINARY }
}

/// A record per second takes a tenth of an ordinary machine.
fn calm(machines: &[(&str, Machine)]) -> What {
    let machines = machines.iter().map(|(id, machine)| ((*id).to_owned(), *machine));
    What::Calm {
        machines: machines.collect(),
        record: 100_000,
        max_utilization: 100,
    }
}

/// Who has which shard from the beginning, with records per second.
type Held<'a> = (&'a str, u64);

/// Shards with their owners and their records in 100 calm seconds; then the fleet is weighed.
fn weighed(
    machines: &[(&str, Machine)],
    held: &[Held<'_>],
    moves: Vec<(u64, u64, &str)>,
) -> Vec<&'static str> {
    let mut events = Vec::new();
    for (number, (owner, _)) in (0..).zip(held) {
        events.push((0, "world", row(number, owner, None, 1, Checkpoint::Latest)));
    }
    events.push((10, "world", calm(machines)));
    for (counter, (at, number, to)) in (2..).zip(moves) {
        events.push((at, "world", row(number, to, None, counter, Checkpoint::Latest)));
    }
    for (number, (_, rate)) in (0..).zip(held) {
        events.extend((0..rate * 100).map(|counter| (109, "world", put(number, counter))));
    }
    events.push((110, "world", What::Weighed));
    events.sort_by_key(|(at, ..)| *at);
    broken_from(Start::Latest, events)
}

const PAIR: [(&str, Machine); 2] = [("a", ORDINARY), ("b", ORDINARY)];
const THREE: [(&str, Machine); 3] = [("a", ORDINARY), ("b", ORDINARY), ("c", ORDINARY)];

#[test]
fn a_lease_that_moved_stays_for_a_while_and_does_not_return_for_long() {
    let held = [("a", 1), ("b", 1), ("c", 1)];
    let moved = |moves: &[(u64, u64, &'static str)]| {
        let mut all = moves.to_vec();
        // Whatever came of it, each has one lease in the end.
        all.retain(|(at, ..)| *at < 90);
        weighed(&THREE, &held, all)
            .into_iter()
            .filter(|rule| *rule == RESTLESS)
            .count()
    };
    assert_eq!(moved(&[(20, 0, "b"), (50, 0, "c")]), 0);
    assert_eq!(moved(&[(20, 0, "b"), (40, 0, "c")]), 1, "too soon");
    assert_eq!(moved(&[(20, 0, "b"), (60, 0, "a")]), 1, "it returns");
    assert_eq!(moved(&[(5, 0, "b"), (15, 0, "a")]), 0, "much happened until now");
    assert_eq!(
        moved(&[(20, 0, "gone"), (40, 0, "a")]),
        0,
        "it was given to a dead one"
    );
}

#[test]
fn what_moves_by_number_from_a_worker_that_has_just_got_it_all_may_return() {
    // `c` has just died, and `a` is new.
    let restless = |got_at, numbers: std::ops::Range<u64>, returns_at| {
        let held = [("c", 0), ("c", 0), ("c", 0), ("c", 0), ("b", 0), ("b", 0)];
        let got = numbers.map(|number| (got_at, number, "a"));
        let moves = got.chain([(30, 0, "b"), (returns_at, 0, "a")]);
        let broken = weighed(&PAIR, &held, moves.collect());
        broken.iter().filter(|rule| **rule == RESTLESS).count()
    };
    assert_eq!(restless(29, 0..4, 90), 0);
    assert_eq!(restless(29, 0..4, 40), 1, "too soon");
    assert_eq!(restless(29, 0..3, 90), 1, "the numbers were even enough");
    assert_eq!(restless(5, 0..4, 90), 1, "loads are known");
}

#[test]
fn what_a_worker_without_any_lease_is_given_may_return() {
    // `b` is given a second lease of `a`, which returns; it had one for long, or got that one from nobody just before.
    let moves = |given_at| {
        let free = What::Row {
            shard: shard(2),
            row: Row {
                owner: None,
                checkpoint_owner: None,
                counter: 2,
                checkpoint: Checkpoint::Latest,
                rewind_to: None,
            },
        };
        let row = |number, owner, counter| row(number, owner, None, counter, Checkpoint::Latest);
        let mut events = vec![
            (0, "world", row(0, "a", 1)),
            (0, "world", row(1, "a", 1)),
            (0, "world", row(3, "a", 1)),
            (0, "world", row(2, "c", 1)),
            (1, "world", free),
            (given_at, "world", row(2, "b", 3)),
            (20, "world", calm(&THREE)),
            (21, "world", row(0, "b", 2)),
            (60, "world", row(0, "a", 3)),
        ];
        events.sort_by_key(|(at, ..)| *at);
        broken_from(Start::Latest, events)
    };
    assert_eq!(moves(19), [""; 0]);
    assert_eq!(moves(5), [RESTLESS]);
}

#[test]
fn what_a_worker_is_given_beyond_its_share_may_not_return() {
    // `b` gets half of all just before it gets the one that would fit `a`, or less than that.
    let given = |second| {
        let row = |number, owner, counter| row(number, owner, None, counter, Checkpoint::Latest);
        let mut events = vec![
            (0, "world", row(0, "a", 1)),
            (0, "world", row(1, "a", 1)),
            (0, "world", row(2, "a", 1)),
            (0, "world", row(3, "a", 1)),
            (5, "world", row(0, "b", 2)),
            (5, "world", row(1, second, 2)),
            (6, "world", row(2, "b", 2)),
            (10, "world", calm(&PAIR)),
        ];
        events.extend((0..800).map(|counter| (109, "world", put(0, counter))));
        events.extend((0..100).map(|counter| (109, "world", put(2, counter))));
        events.push((110, "world", What::Weighed));
        broken_from(Start::Latest, events)
    };
    assert_eq!(given("b"), [""; 0]);
    assert_eq!(given("a"), [UNEVEN]);
}

#[test]
fn nothing_goes_to_a_worker_that_cannot_tell_how_busy_it_is_unless_nobody_can() {
    let fleet = |voice| [("a", says(voice)), ("b", says(Voice::Lost))];
    let held = [("a", 1), ("a", 1)];
    let moves = vec![(20, 0, "b")];
    assert_eq!(weighed(&fleet(Voice::Clear), &held, moves.clone()), [MUTE]);
    assert_eq!(weighed(&fleet(Voice::Silent), &held, moves.clone()), [MUTE]);
    assert_eq!(weighed(&fleet(Voice::Lost), &held, moves), [""; 0]);
}

#[test]
fn in_a_busy_fleet_no_lease_moves_to_who_is_busy() {
    let history = |to| {
        let mut events = Vec::new();
        for (number, owner) in (0..).zip(["a", "a", "b", "b", "b", "c"]) {
            events.push((0, "world", row(number, owner, None, 1, Checkpoint::Latest)));
        }
        events.push((10, "world", calm(&THREE)));
        for counter in 0..50 {
            events.extend((0..5).map(|number| (11, "world", put(number, counter * 4))));
            events.extend((0..5).map(|number| (12, "world", put(number, counter * 4 + 1))));
            events.extend((0..5).map(|number| (13, "world", put(number, counter * 4 + 2))));
        }
        events.sort_by_key(|(at, ..)| *at);
        events.push((60, "world", row(0, to, None, 2, Checkpoint::Latest)));
        broken_from(Start::Latest, events)
    };
    assert_eq!(history("c"), [""; 0]);
    assert_eq!(history("b"), [UPHILL]);
}

#[test]
fn a_calm_fleet_soon_moves_few_leases() {
    let moved = |held: &[Held<'_>], at, count| {
        let moves = (0..count).map(|number| (at, number, "b")).collect();
        weighed(&PAIR, held, moves)
    };
    let few = [("a", 1), ("a", 1), ("a", 1), ("b", 1)];
    assert_eq!(moved(&few, 100, 2), [""; 0]);
    assert_eq!(moved(&few, 100, 3), [MOVING]);
    assert_eq!(moved(&few, 50, 2), [""; 0]);
    let many = [("a", 1); 8];
    assert_eq!(moved(&many, 100, 4), [""; 0]);
    assert_eq!(moved(&many, 100, 5), [MOVING]);
}

#[test]
fn a_fleet_is_even_by_count_if_it_is_not_busy_or_somebody_reports_nothing() {
    let even = [("a", 0), ("a", 0), ("b", 0)];
    let uneven = [("a", 0), ("a", 0)];
    assert_eq!(weighed(&PAIR, &even, vec![]), [""; 0]);
    assert_eq!(weighed(&PAIR, &uneven, vec![]), [UNEVEN]);
    let loads = [("a", 1), ("a", 1), ("a", 1), ("b", 3)];
    let silent = [("a", ORDINARY), ("b", says(Voice::Silent))];
    assert_eq!(weighed(&silent, &loads, vec![]), [UNEVEN]);
    let mute = [("a", ORDINARY), ("b", says(Voice::Lost))];
    assert_eq!(
        weighed(&mute, &uneven, vec![]),
        [""; 0],
        "who is mute does not count"
    );
}

#[test]
fn a_busy_fleet_is_even_by_load() {
    let busy = |held: &[Held<'_>]| weighed(&PAIR, held, vec![]);
    assert_eq!(busy(&[("a", 1), ("a", 1), ("a", 1), ("a", 1), ("b", 4)]), [""; 0]);
    assert_eq!(
        busy(&[
            ("a", 1),
            ("a", 1),
            ("a", 1),
            ("a", 1),
            ("a", 1),
            ("a", 1),
            ("b", 1)
        ]),
        [UNEVEN]
    );
    assert_eq!(busy(&[("a", 5), ("a", 1)]), [UNEVEN], "the other has nothing");
    assert_eq!(busy(&[("a", 8), ("b", 1)]), [""; 0], "one cannot be divided");
    let strong = Machine {
        size: 4_000,
        ..ORDINARY
    };
    let held = [("a", 1), ("a", 1), ("a", 1), ("a", 1), ("a", 1), ("b", 5)];
    let unlike = [("a", strong), ("b", ORDINARY), ("c", ORDINARY)];
    assert_eq!(
        weighed(&unlike, &[held.as_slice(), &[("c", 2)]].concat(), vec![]),
        [""; 0]
    );
}

#[test]
fn a_lease_that_may_not_return_does_not_make_a_fleet_uneven() {
    let held: Vec<_> = ["a", "a", "a", "a", "a", "a", "b"].map(|id| (id, 1)).to_vec();
    let moved = |at| (0..6).map(|number| (at, number, "a")).collect::<Vec<_>>();
    let mut came: Vec<_> = held.iter().map(|(_, rate)| ("b", *rate)).collect();
    assert_eq!(
        weighed(&PAIR, &came, moved(30)),
        [UNEVEN],
        "a had nothing: what it was given may return"
    );
    came.push(("a", 0));
    assert_eq!(weighed(&PAIR, &came, moved(30)), [""; 0], "none may return");
    let fleet = [("a", ORDINARY), ("b", ORDINARY), ("c", ORDINARY)];
    let held: Vec<_> = came
        .iter()
        .map(|(id, rate)| (*id, *rate))
        .chain([("c", 0)])
        .collect();
    assert_eq!(weighed(&fleet, &held, moved(30)), [UNEVEN]);
}
