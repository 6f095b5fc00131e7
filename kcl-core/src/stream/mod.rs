//! The shards of a stream, and the leases that stand for them.

mod audit;
mod children;
mod cleanup;
mod client;
mod consumer;
mod creation;
mod doubt;
mod fan_out;
mod graph;
mod identity;
mod key;
mod listed;
mod missing;
mod reads;
mod scans;
mod service_time;
mod shard_problems;
mod starting_position;

pub(crate) use self::audit::{HoleWatch, find_lease_hole};
pub(crate) use self::children::Child;
pub(crate) use self::cleanup::{Ended, deletable};
pub(crate) use self::client::{StreamClient, ended};
pub(crate) use self::consumer::ConsumerArn;
pub(crate) use self::creation::{LeaseCreation, LeaseUpkeepError};
pub(crate) use self::doubt::Doubt;
pub(crate) use self::graph::Shard;
#[cfg(test)]
pub(crate) use self::graph::tests;
pub(crate) use self::identity::{LeasesOfAnother, OtherKind, Recognition, contradiction};
pub(crate) use self::key::LeaseKeys;
#[cfg(fuzzing)]
pub use self::reads::fuzzing;
pub(crate) use self::reads::{Answer, SubscribeFrom, Subscription};
pub(crate) use self::scans::LeaseScans;
pub(crate) use self::shard_problems::ShardProblems;
pub(crate) use self::starting_position::StartingPosition;
