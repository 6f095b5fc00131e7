//! Tries to break the Kinesis Client Library: a stream, a fleet, and everything that can go wrong, in virtual time and from
//! one seed; an oracle that knows what must hold; and the history of what happened when it did not.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test program: its own mistakes end it"
)]

pub mod aggregates;
pub mod chaos;
pub mod crew;
pub mod damage;
pub mod edits;
pub mod failovers;
pub mod faults;
pub mod fleet;
pub mod history;
pub mod load;
pub mod memory;
pub mod oracle;
pub mod pauses;
pub mod policies;
pub mod processor;
pub mod rewinds;
pub mod scale;
pub mod scripts;
pub mod seeds;
pub mod settled;
pub mod singles;
pub mod sink;
pub mod stalls;
pub mod streams;
pub mod summary;
pub mod table;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod watcher;
pub mod workload;
pub mod world;
