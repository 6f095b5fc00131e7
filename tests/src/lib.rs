//! Worlds for tests and benchmarks: a backend, a stream, a fleet of workers, and a ledger of every record.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test harness panics"
)]

mod backend_process;
#[cfg(test)]
mod deployments;
pub mod draining;
mod fencing;
pub mod fetch;
#[cfg(test)]
mod house;
mod ledger;
mod link;
mod policy;
mod positions;
pub mod process;
mod processor;
mod producer;
pub mod runner;
pub mod scenarios;
mod servers;
#[cfg(test)]
mod told;
mod world;

pub use backend_process::BackendProcess;
pub use fencing::Fencing;
pub use ledger::{Delivery, Ledger, Tally};
pub use link::{Link, Weather};
pub use processor::{Behaviour, Hook, Reaction};
pub use producer::Producer;
pub use servers::{Bundled, Remote, Servers};
pub use world::{Running, World, WorldOptions, eventually};
