//! Real Java KCL workers and workers of this library in one fleet, on one lease table, over TCP, in real time.
//!
//! Needs Java 11 or later, Maven, and the KCL's jars, which Maven fetches once; where one of them is missing the suite
//! says so and passes. The short scenarios always run, the others with `KCL_MIXED_FLEET=all`. They mostly wait, so they
//! run together. A word on the command line picks scenarios whose names contain it, long ones included.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod fleet;
mod java;
mod scenarios;

use std::process::ExitCode;
use std::time::Duration;

use kcl_tests::runner::Suite;

fn main() -> ExitCode {
    let suite = Suite {
        scenarios: scenarios::ALL,
        all: Some("KCL_MIXED_FLEET"),
        // Each has two or three processes, most of which wait most of the time.
        at_once: 4,
        limit: Duration::from_secs(420),
    };
    suite.run()
}
