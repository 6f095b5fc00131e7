//! Scripts are played, twice in the same way, or say that they cannot be.

use super::*;
use crate::faults::Wanted;
use crate::oracle::UNPLAYABLE;
use crate::world::{self, Outcome, Size};

/// It cannot be played.
pub(super) const IN_VAIN: Script = Script {
    name: "in-vain",
    shows: &["Nothing."],
    shards: 1,
    failover: seconds(2),
    play: |it| {
        Box::pin(async move {
            it.until("a worker that nobody started", || it.leads("nobody"))
                .await
        })
    },
};

fn played(name: &str, seed: u64) -> Outcome {
    world::run(
        seed,
        &Size {
            workers: 0,
            shards: 0,
            disturbed: Duration::ZERO,
            wanted: Wanted {
                script: Some(name.to_owned()),
                ..Wanted::default()
            },
        },
    )
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = ALL.iter().map(|script| script.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn the_same_script_and_seed_give_the_same_history() {
    let (first, second) = (played("late-release", 1), played("late-release", 1));
    assert_eq!(first, second);
    assert_ne!(first.events, played("late-release", 2).events);
}

#[test]
fn a_script_that_waits_in_vain_says_so() {
    let outcome = played(IN_VAIN.name, 1);
    let violation = outcome.violations.first().expect("a broken rule");
    assert_eq!(violation.rule, UNPLAYABLE);
    assert_eq!(violation.seen, "waited for a worker that nobody started");
}
