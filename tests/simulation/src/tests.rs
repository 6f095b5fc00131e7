//! The simulator itself: the same seed is the same history, and a few histories hold.

use std::time::Duration;

use crate::faults::Wanted;
use crate::world::{Size, run};
use crate::{summary, timeline};

fn size() -> Size {
    Size {
        workers: 3,
        shards: 4,
        disturbed: Duration::from_secs(45),
        wanted: Wanted::default(),
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let first = run(7, &size());
    // Whatever happened before in the process must not matter.
    let _ = run(8, &size());
    let second = run(7, &size());
    assert!(first.events.len() > 200, "{}", first.events.len());
    for (one, other) in first.events.iter().zip(&second.events) {
        assert_eq!(one, other);
    }
    assert_eq!(first, second);
}

#[test]
fn another_seed_gives_another_history() {
    assert_ne!(run(7, &size()).events, run(8, &size()).events);
}

#[test]
fn histories_hold() {
    let mut summary = summary::Summary::default();
    for seed in 1..=12 {
        let outcome = run(seed, &size());
        assert!(
            outcome.violations.is_empty(),
            "{}",
            timeline::report(&outcome, &format!("seed {seed} of this test"))
        );
        summary.add(&outcome);
    }
    println!("{summary}");
}
