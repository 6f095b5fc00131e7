//! One shard, from the acquisition of its lease to its loss or to the shard's end.

mod latest;
mod pauses;
mod pieces;
mod state;
mod task;

pub(crate) use self::pauses::{PauseWatch, Pauses};
pub(crate) use self::task::{CommonParts, consume};
