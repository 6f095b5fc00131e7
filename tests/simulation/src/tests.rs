//! The simulator itself: the same seed is the same history, and a few hundred histories hold.

use std::time::Duration;

use crate::crew;
use crate::faults::Wanted;
use crate::scale::{self, Scale};
use crate::summary::Summary;
use crate::timeline;
use crate::world::{Size, run};

/// Where the seeds of this run begin; what CI sets moves with the commit, so that each one tries new histories.
const FIRST_SEED: &str = "KCL_SIMULATION_SEED";
/// How many histories must hold.
const HISTORIES: u64 = 100;

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
    let first = match std::env::var(FIRST_SEED) {
        Ok(seed) => seed.parse().expect("a whole number"),
        Err(_) => 1,
    };
    println!("seeds {first} to {}", first + HISTORIES - 1);
    let mut summary = Summary::default();
    let watch = crew::Stopwatch::start();
    let finished = crew::run_all(first..first + HISTORIES, &size(), crew::cores(), |outcome| {
        if !outcome.violations.is_empty() {
            println!("{}", timeline::report(&outcome, &size().replay(outcome.seed)));
        }
        summary.add(&outcome);
    });
    summary.took = watch.elapsed();
    println!("{summary}");
    assert_eq!(
        summary.broken(),
        0,
        "histories that broke a rule; their timelines are above"
    );
    if let Err(seed) = finished {
        panic!("seed {seed} does not come to an end: {}", size().replay(seed));
    }
}

#[test]
fn a_fleet_is_balanced_soon_after_whatever_happens_to_it() {
    let failover = Duration::from_secs(10);
    let scale = Scale {
        workers: 10,
        shards: 100,
        failover,
        ..Scale::default()
    };
    let report = scale::run(&scale, |_| ());
    println!("{report}");
    let most = [
        // Every worker lists the shards, and creates what another has not yet created.
        Duration::from_secs(3),
        // The fail-over time, and a scan and a look before and after it.
        failover + Duration::from_secs(4),
        // A worker counts as one that lives when it was seen twice.
        failover,
        failover,
        // The lock is taken when half of the fail-over time is over; the leases of the dead count on.
        failover * 2,
    ];
    let phases = report.phases.iter().filter(|phase| phase.name != "rest");
    let late: Vec<_> = phases
        .zip(most)
        .filter(|(phase, most)| phase.balanced_after.is_none_or(|time| time > *most))
        .map(|(phase, most)| format!("{}: {:?}, not within {most:?}", phase.name, phase.balanced_after))
        .collect();
    assert_eq!(report.phases.len(), 6);
    assert!(late.is_empty(), "{late:?}");
}
