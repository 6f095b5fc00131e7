//! The real worker through the real SDK against the bundled backend, in virtual time unless a module says otherwise.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod accounts;
mod batches;
mod beginnings;
mod blocked;
mod broken;
mod checkpoints;
mod cloudwatch;
mod dead_letters;
mod each_record;
mod encodings;
mod failing;
mod failover_times;
mod fan_out;
mod faults;
mod measured;
mod namesakes;
mod other_stream;
mod pace;
mod positions;
mod processors;
mod reshard;
mod resuming;
mod retention;
mod several_streams;
mod shapes;
mod skipping;
mod stalled;
mod start;
mod stops;
mod table;
mod takeover;
mod tcp;
mod troubled;
mod witness;
mod wrong_stream;
