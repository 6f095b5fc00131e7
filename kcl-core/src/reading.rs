//! Reading a stream without an application, for tools.

pub use crate::retrieval::alone::{ListedShard, ReadFailed, ReadFrom, ShardReading, StreamReader};
