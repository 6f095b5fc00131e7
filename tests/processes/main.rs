//! Workers as processes, over TCP, in real time, disturbed at random: killed, stopped and resumed by signals, told to leave,
//! started anew, cut off from one service or the other, while shards are split and merged.
//!
//! Half a minute of it runs in the ordinary test command. `KCL_CHAOS_MINUTES=10` goes on for longer, `KCL_CHAOS_SEED=7` picks
//! another history; time is real, so a history is repeated only roughly. A report is printed at the end. What is done
//! deliberately has a scenario of its own. What the workers logged: `target/tmp/processes`.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod chaos;
mod exactly_once;
mod faults;
mod fleet;
mod flow;
mod instances;
mod postgres;
mod protocol;
mod report;
mod stopped_together;
mod takeovers;
mod timeline;
mod witness;
mod worker;

use std::process::ExitCode;
use std::time::Duration;

use kcl_tests::runner::{Scenario, Suite};

/// What `KCL_CHAOS_MINUTES` says; without it a single storm, as with any time that is over when the first storm is.
fn duration() -> Duration {
    std::env::var("KCL_CHAOS_MINUTES").map_or(Duration::from_secs(1), |minutes| {
        Duration::from_secs_f64(minutes.parse::<f64>().expect("a number") * 60.0)
    })
}

/// `KCL_CHAOS_SEED`, or 1.
fn seed() -> u64 {
    std::env::var("KCL_CHAOS_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "whatever_happens_to_processes_nothing_is_lost",
        is_short: true,
        prepare: || Ok(()),
        run: || {
            Box::pin(chaos::whatever_happens_to_processes_nothing_is_lost(
                seed(),
                duration(),
            ))
        },
    },
    Scenario {
        name: "whatever_happens_to_processes_sums_in_a_database_are_exact",
        is_short: true,
        prepare: || Ok(()),
        run: || {
            Box::pin(
                exactly_once::whatever_happens_to_processes_sums_in_a_database_are_exact(seed(), duration()),
            )
        },
    },
    Scenario {
        name: "a_fleet_stopped_after_a_kill_flows_at_once_when_it_is_started_again",
        is_short: true,
        prepare: || Ok(()),
        run: || {
            Box::pin(stopped_together::a_fleet_stopped_after_a_kill_flows_at_once_when_it_is_started_again())
        },
    },
    Scenario {
        name: "an_instance_that_goes_hands_every_lease_over",
        is_short: true,
        prepare: || Ok(()),
        run: || Box::pin(instances::an_instance_that_goes_hands_every_lease_over()),
    },
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(instances::NAME) {
        return instances::run(&name);
    }
    if let Ok(name) = std::env::var(worker::NAME) {
        return worker::run(&name);
    }
    let suite = Suite {
        scenarios: SCENARIOS,
        all: None,
        at_once: 1,
        limit: duration() * 2 + Duration::from_secs(300),
    };
    suite.run()
}
