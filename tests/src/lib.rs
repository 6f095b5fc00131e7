//! Worlds for tests and benchmarks: a backend, a stream, a fleet of workers, and a ledger of every record.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test harness panics"
)]

mod ledger;
mod positions;
mod processor;
mod world;

pub use ledger::{Delivery, Ledger, Tally};
pub use processor::{Behaviour, Hook, LedgerProcessor};
pub use world::{Running, World, WorldOptions, eventually};
