//! Scenarios, and histories by dice against a simple model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_lease::SequenceNumber;
use proptest::prelude::*;

use super::*;

const WIDE: Limits = Limits {
    at_once: 100,
    undone: 100,
    held_back: 100,
    ahead: 100,
};

impl HeldBack for u64 {
    fn held_back(&mut self) {}
}

/// How often it was told that it is held back.
impl HeldBack for (u64, u32) {
    fn held_back(&mut self) {
        self.1 += 1;
    }
}

fn position(number: u64) -> ExtendedSequenceNumber {
    let sequence = SequenceNumber::parse(number.to_string()).expect("digits");
    ExtendedSequenceNumber::new(sequence, 0)
}

/// A schedule with records of these keys. What they contain is their number, from 1.
fn schedule(limits: Limits, keys: impl IntoIterator<Item = u64>) -> Schedule<u64> {
    let mut schedule = Schedule::new(limits);
    for (number, key) in (1..).zip(keys) {
        schedule.admit(key, &position(number), number);
    }
    schedule
}

/// All that may be started now.
fn start_all(schedule: &mut Schedule<u64>) -> BTreeMap<u64, Ticket> {
    std::iter::from_fn(|| schedule.start())
        .map(|started| (started.content, started.ticket))
        .collect()
}

fn numbers(started: &BTreeMap<u64, Ticket>) -> Vec<u64> {
    started.keys().copied().collect()
}

fn watermark(schedule: &Schedule<u64>) -> Option<u64> {
    schedule
        .watermark()
        .map(|at| at.sequence.as_str().parse().expect("digits"))
}

#[tokio::test(start_paused = true)]
async fn records_of_one_key_are_started_one_after_the_other_and_keys_beside_each_other() {
    let mut schedule = schedule(WIDE, [7, 7, 8, 7]);
    let mut started = start_all(&mut schedule);
    assert_eq!(numbers(&started), [1, 3]);
    schedule.done(started.remove(&1).expect("started"));
    assert_eq!(numbers(&start_all(&mut schedule)), [2]);
    assert_eq!(schedule.under_way(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_watermark_stays_in_front_of_the_first_record_that_is_not_done() {
    let mut schedule = schedule(WIDE, 1..=4);
    let mut started = start_all(&mut schedule);
    let mut seen = vec![watermark(&schedule)];
    for number in [2, 1, 4, 3] {
        schedule.done(started.remove(&number).expect("started"));
        seen.push(watermark(&schedule));
    }
    assert_eq!(seen, [None, None, Some(2), Some(2), Some(4)]);
    schedule.admit(1, &position(9), 9);
    assert_eq!(watermark(&schedule), Some(4));
}

#[tokio::test(start_paused = true)]
async fn no_more_are_under_way_than_may_be_and_keys_take_turns() {
    let limits = Limits { at_once: 2, ..WIDE };
    let mut schedule = schedule(limits, [1, 1, 1, 1, 2, 3]);
    let mut order = Vec::new();
    while let Some(started) = schedule.start() {
        order.push(started.content);
        let second = schedule.start();
        assert!(schedule.start().is_none());
        schedule.done(started.ticket);
        if let Some(second) = second {
            order.push(second.content);
            schedule.done(second.ticket);
        }
    }
    assert_eq!(
        order,
        [1, 5, 6, 2, 3, 4],
        "the key with many records is in nobody's way"
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_pauses_and_the_others_go_on() {
    let mut schedule = schedule(WIDE, [1, 2, 1, 2]);
    let mut started = start_all(&mut schedule);
    let later = Instant::now() + Duration::from_secs(1);
    schedule.failed(started.remove(&1).expect("started"), 1, later);
    schedule.done(started.remove(&2).expect("started"));
    started = start_all(&mut schedule);
    assert_eq!(numbers(&started), [4]);
    schedule.done(started.remove(&4).expect("started"));
    assert_eq!((schedule.failing_keys(), schedule.held_back()), (1, 2));
    assert_eq!((schedule.next_wake(), watermark(&schedule)), (Some(later), None));

    schedule.wake(later - Duration::from_millis(1));
    assert!(schedule.start().is_none());
    schedule.wake(later);
    let again = schedule.start().expect("ready");
    assert_eq!(again.content, 1, "the same record");
    assert_eq!(schedule.held_back(), 2, "it has not succeeded yet");
    schedule.done(again.ticket);
    assert_eq!((schedule.failing_keys(), schedule.held_back()), (0, 0));
    assert_eq!(
        (numbers(&start_all(&mut schedule)), watermark(&schedule)),
        (vec![3], Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn records_that_are_held_back_are_told_so_once() {
    let mut schedule = Schedule::new(WIDE);
    for (number, key) in [(1, 7), (2, 8), (3, 7)] {
        schedule.admit(key, &position(number), (number, 0));
    }
    let (first, other) = (schedule.start(), schedule.start());
    schedule.done(other.expect("ready").ticket);
    let mut first = first.expect("ready");
    for _ in 0..3 {
        schedule.failed(first.ticket, first.content, Instant::now());
        schedule.wake(Instant::now());
        first = schedule.start().expect("ready");
    }
    schedule.failed(first.ticket, first.content, Instant::now());
    schedule.admit(7, &position(4), (4, 0));
    schedule.wake(Instant::now());
    let mut told = Vec::new();
    while let Some(started) = schedule.start() {
        told.push(started.content);
        schedule.done(started.ticket);
    }
    assert_eq!(told, [(1, 1), (3, 1), (4, 1)]);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_room_once_too_many_are_held_back() {
    let limits = Limits { held_back: 3, ..WIDE };
    let mut schedule = schedule(limits, [1, 1, 2]);
    let mut started = start_all(&mut schedule);
    schedule.failed(started.remove(&1).expect("started"), 1, Instant::now());
    assert!(schedule.room() > 0);
    schedule.admit(1, &position(4), 4);
    assert_eq!(schedule.room(), 0);
    schedule.wake(Instant::now());
    let again = schedule.start().expect("ready");
    schedule.done(again.ticket);
    assert!(schedule.room() > 0);
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_undone_records_and_so_many_beyond_the_first_of_them() {
    let limits = Limits {
        undone: 3,
        ahead: 5,
        ..WIDE
    };
    let mut schedule = schedule(limits, [1, 2, 3]);
    assert_eq!(schedule.room(), 0);
    let mut started = start_all(&mut schedule);
    for number in [2, 3] {
        schedule.done(started.remove(&number).expect("started"));
    }
    assert_eq!(schedule.room(), 2);
    for number in [4, 5] {
        schedule.admit(number, &position(number), number);
    }
    for (_, ticket) in start_all(&mut schedule) {
        schedule.done(ticket);
    }
    assert_eq!(
        (schedule.undone(), schedule.room()),
        (1, 0),
        "five from the first one on"
    );
    schedule.done(started.remove(&1).expect("started"));
    assert_eq!((watermark(&schedule), schedule.room()), (Some(5), 3));
}

#[tokio::test(start_paused = true)]
async fn once_stopped_nothing_is_started_and_what_is_under_way_counts() {
    let mut schedule = schedule(WIDE, [1, 1, 2]);
    let mut started = start_all(&mut schedule);
    schedule.stop();
    for number in [1, 3] {
        schedule.done(started.remove(&number).expect("started"));
    }
    assert!(schedule.start().is_none());
    assert_eq!((schedule.startable(), schedule.under_way()), (0, 0));
    assert_eq!(watermark(&schedule), Some(1));
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_given_back_takes_no_place_with_it() {
    let mut schedule = schedule(WIDE, [1, 2, 1]);
    schedule.shrink();
    while let Some(started) = schedule.start() {
        schedule.done(started.ticket);
    }
    schedule.shrink();
    assert_eq!((watermark(&schedule), schedule.undone()), (Some(3), 0));
    schedule.admit(1, &position(4), 4);
    assert_eq!(watermark(&schedule), Some(3));
    let started = schedule.start().expect("ready");
    schedule.done(started.ticket);
    assert_eq!(watermark(&schedule), Some(4));
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Admit(u64),
    Start,
    Done(usize),
    Failed(usize, u64),
    Pass(u64),
    Shrink,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        3 => (0u64..6).prop_map(Deed::Admit),
        3 => Just(Deed::Start),
        2 => (0usize..8).prop_map(Deed::Done),
        1 => (0usize..8, 1u64..5).prop_map(|(which, seconds)| Deed::Failed(which, seconds)),
        1 => (1u64..4).prop_map(Deed::Pass),
        1 => Just(Deed::Shrink),
    ];
    proptest::collection::vec(deed, 1..250)
}

/// The same, kept as simply as can be.
#[derive(Debug, Default)]
struct Model {
    key_of: BTreeMap<u64, u64>,
    undone: BTreeSet<u64>,
    under_way: BTreeMap<u64, Ticket>,
    failing: BTreeMap<u64, Instant>,
}

impl Model {
    fn nth(&self, which: usize) -> Option<u64> {
        let many = self.under_way.len();
        (many > 0).then(|| self.under_way.keys().nth(which % many).copied())?
    }

    fn held_back(&self) -> usize {
        let keys: BTreeSet<_> = self.failing.keys().map(|number| self.key_of[number]).collect();
        let is_held = |number: &&u64| keys.contains(&self.key_of[*number]);
        self.undone.iter().filter(is_held).count()
    }

    /// Whether a record might be started: the first one of its key, not under way, and not pausing.
    fn is_startable(&self, number: u64, now: Instant) -> bool {
        let key = self.key_of[&number];
        let first = self.undone.iter().find(|other| self.key_of[other] == key);
        let is_pausing = self.failing.get(&number).is_some_and(|until| *until > now);
        first == Some(&number) && !self.under_way.contains_key(&number) && !is_pausing
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn order_bounds_and_watermark_hold_whatever_happens(
        deeds in deeds(), at_once in 1usize..5, undone in 1usize..12, held_back in 1usize..8, ahead in 1usize..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build().expect("built");
        let _entered = runtime.enter();
        let limits = Limits { at_once, undone, held_back, ahead };
        let (mut schedule, mut model) = (Schedule::new(limits), Model::default());
        let (mut now, mut next) = (Instant::now(), 1);
        for deed in deeds {
            match deed {
                Deed::Admit(key) => {
                    if schedule.room() == 0 {
                        continue;
                    }
                    schedule.admit(key, &position(next), next);
                    model.key_of.insert(next, key);
                    model.undone.insert(next);
                    next += 1;
                }
                Deed::Start => {
                    let can = model.under_way.len() < at_once
                        && model.undone.iter().any(|number| model.is_startable(*number, now));
                    schedule.wake(now);
                    let started = schedule.start();
                    prop_assert_eq!(started.is_some(), can, "what can be started is");
                    if let Some(started) = started {
                        prop_assert!(model.is_startable(started.content, now), "{} is not its key's first", started.content);
                        model.under_way.insert(started.content, started.ticket);
                    }
                }
                Deed::Done(which) => {
                    let Some(number) = model.nth(which) else { continue };
                    schedule.done(model.under_way.remove(&number).expect("under way"));
                    model.undone.remove(&number);
                    model.failing.remove(&number);
                }
                Deed::Failed(which, seconds) => {
                    let Some(number) = model.nth(which) else { continue };
                    let until = now + Duration::from_secs(seconds);
                    schedule.failed(model.under_way.remove(&number).expect("under way"), number, until);
                    model.failing.insert(number, until);
                }
                Deed::Shrink => schedule.shrink(),
                Deed::Pass(seconds) => now += Duration::from_secs(seconds),
            }
            let first = model.undone.first().copied().unwrap_or(next);
            prop_assert_eq!(watermark(&schedule), first.checked_sub(1).filter(|at| *at > 0));
            prop_assert_eq!(schedule.undone(), model.undone.len());
            prop_assert_eq!(schedule.under_way(), model.under_way.len());
            prop_assert_eq!(schedule.held_back(), model.held_back());
            prop_assert_eq!(schedule.failing_keys(), model.failing.len());
            prop_assert!(model.under_way.len() <= at_once && model.undone.len() <= undone);
            prop_assert!(next - first <= ahead as u64);
        }
    }
}
