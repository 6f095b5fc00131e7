#![doc = include_str!("../README.md")]

mod answers;
mod server;
mod verdict;

pub use self::server::{HealthServer, Serving};
pub use self::verdict::Verdict;
