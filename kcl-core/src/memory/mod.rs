//! The memory for records: a bound for the worker, and who holds how much of it.

mod budget;
mod share;

pub(crate) use self::budget::{Budget, Claim, Seat, Wish};
pub(crate) use self::share::{Holding, ShardMemory, Share, Unprocessed};
