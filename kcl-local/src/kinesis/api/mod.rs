//! The service's operations: requests, responses and the rules that requests must follow.
//!
//! Member names are the service's. Members that a request must have are optional here, so that leaving one out is a
//! `ValidationException` and not a failure to read the body. What members must satisfy is [checked](check) before an
//! operation begins.

mod account;
mod blob;
mod capacity;
mod check;
mod consumers;
mod describe;
mod encryption;
mod errors;
mod get;
mod monitoring;
mod position;
mod put;
mod resources;
mod retention;
mod scaling;
mod shards;
mod stream_name;
mod streams;
mod subscribe;
mod tags;
#[cfg(test)]
mod tests;
mod text;
mod timestamp;

pub(super) use check::Members;
pub(super) use subscribe::{SubscribeToShardEvent, SubscribeToShardRequest};
