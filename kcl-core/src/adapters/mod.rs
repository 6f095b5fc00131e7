//! Processors out of closures: one for each batch, and one for each record, of which many are handled at once.

mod each_batch;
mod each_record;
mod failure;
mod handler;
mod keyed;
mod shard;

pub use self::each_batch::{EachBatch, each_batch};
pub use self::each_record::{EachRecord, EachRecordOptions, each_record};
pub use self::handler::{BatchHandler, RecordHandler};
