//! The real worker through the real SDK against the bundled backend, in virtual time unless a module says otherwise.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod faults;
mod freeze;
mod positions;
mod processors;
mod reshard;
mod retention;
mod start;
mod table;
mod takeover;
mod tcp;
mod troubled;
