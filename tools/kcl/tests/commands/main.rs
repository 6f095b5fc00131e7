//! The commands, end to end: against tables in the bundled backend, with running workers and with what Java workers wrote.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod changing;
mod hostile;
mod java;
mod process;
mod reading;
mod redriving;
mod resetting;
mod several_streams;
mod tailing;
mod world;
