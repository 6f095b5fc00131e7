//! The real worker through the real SDK against the bundled backend, in virtual time unless a module says otherwise.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod blocked;
mod failover_times;
mod faults;
mod namesakes;
mod other_stream;
mod pace;
mod positions;
mod processors;
mod reshard;
mod resuming;
mod retention;
mod start;
mod takeover;
mod tcp;
mod witness;
mod wrong_stream;
