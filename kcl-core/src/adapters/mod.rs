//! Processors out of closures: one for each batch, and one for each record, of which many are handled at once; and a stream of records
//! that are acknowledged later.

mod concurrent;
mod deliveries;
mod each_batch;
mod each_record;
mod failure;
mod handler;
mod keyed;
mod runners;
#[cfg(feature = "tower")]
mod service;
mod shard;
#[cfg(test)]
mod testing;
mod worker_bound;

pub use self::deliveries::{Deliveries, DeliveringProcessor, Delivery, DeliveryOptions, deliveries};
pub use self::each_batch::{EachBatch, each_batch};
pub use self::each_record::{EachRecord, EachRecordOptions, each_record};
pub use self::handler::{BatchHandler, RecordHandler};
#[cfg(feature = "tower")]
pub use self::service::each_record_service;
