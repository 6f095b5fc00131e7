//! For unit tests of processors, without a worker, a stream or a table: records, batches, and a shard whose lease is held in memory.
//!
//! ```
//! use kcl_core::testing::{self, TestShard};
//! use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor};
//!
//! #[derive(Default)]
//! struct Sum(u64);
//!
//! #[async_trait]
//! impl RecordProcessor for Sum {
//!     async fn process_records(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
//!         for record in batch {
//!             self.0 += std::str::from_utf8(record.data())?.parse::<u64>()?;
//!         }
//!         checkpointer.checkpoint().await?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ProcessorError> {
//! let mut shard = TestShard::new().await;
//! let mut sum = Sum::default();
//! shard.process(&mut sum, &testing::batch(["1", "2"])).await?;
//! assert_eq!(sum.0, 3);
//! assert_eq!(shard.checkpoints(), ["2"]);
//!
//! // What cannot be read is an error, and nothing is checkpointed.
//! assert!(shard.process(&mut sum, &testing::batch_from(3, ["4", "x"])).await.is_err());
//! assert_eq!(shard.checkpoints(), ["2"]);
//!
//! // Nor is anything once the lease is lost.
//! shard.lose(&mut sum).await;
//! assert!(shard.process(&mut sum, &testing::batch_from(3, ["4"])).await.is_err());
//! # Ok(())
//! # }
//! ```

mod shard;

pub use kcl_lease::testing::Remembering;

pub use self::shard::TestShard;
pub use crate::record::builder::{BatchBuilder, RecordBuilder, batch, batch_from, record};
