//! A Kinesis Client Library: processes the records of a Kinesis stream with a fleet of workers.
//!
//! Implement [`RecordProcessor`], and start a [`Worker`] in as many processes as you like. The workers share the shards of
//! the stream through leases in one DynamoDB table, run one processor per shard, follow splits and merges in order, and
//! take over from each other when one stops or crashes. The table is compatible with the Java KCL 3.5.
//!
//! ```no_run
//! use aws_config::BehaviorVersion;
//! use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor, Worker};
//!
//! struct Printer;
//!
//! #[async_trait]
//! impl RecordProcessor for Printer {
//!     async fn process_records(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
//!         for record in batch {
//!             println!("{} {}", record.partition_key(), String::from_utf8_lossy(record.data()));
//!         }
//!         checkpointer.checkpoint().await?; // everything in this batch is done
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), kcl_core::Error> {
//!     tracing_subscriber::fmt().init(); // what the worker has to say
//!     let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
//!     Worker::builder("my-app", "my-stream", |_shard| Printer)
//!         .aws_config(&aws)
//!         .build()?
//!         .run_until_signal() // SIGTERM / ctrl-c: drain, checkpoint, hand on, leave
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! The [guides](guide) lead from here to tests, deployments and operation.
//!
//! # What holds
//!
//! - **At least once, in order.** Each record of a shard is delivered until it is checkpointed, in the shard's order, and
//!   after the records of the shard's parents.
//! - **Nothing is skipped.** A processor that fails gets the same batch again; see [`FailurePolicy`] for other choices.
//! - **Nothing is silent.** [`WorkerHandle::status`] says what each shard is doing, since when, and what fails.
//! - **Losing a lease is a signal.** Checkpoints fail with [`CheckpointError::LeaseLost`], and the processor is told by
//!   [`RecordProcessor::lease_lost`].

mod adapters;
mod aws;
mod begin;
mod checkpointer;
mod config;
mod consumer;
pub mod dead_letters;
mod error;
mod failure;
pub mod guide;
mod leading;
mod log_limiter;
mod memory;
mod processor;
mod processor_error;
mod processor_factory;
pub mod reading;
mod record;
mod record_failures;
mod retrieval;
mod retry;
mod source;
mod spans;
mod status;
mod stream;
mod streams;
#[cfg(feature = "testing")]
pub mod testing;
mod trouble;
mod worker;

pub use async_trait::async_trait;
pub use kcl_lease::{
    Balancing, Billing, Broken, Checkpoint, Counter, Environment, ExtendedSequenceNumber, FencingToken,
    FleetOptions, Gauge, HashRange, Histogram, InvalidPosition, JoinError, Labels, LeaseKey, LeaseStore,
    Load, LoadError, LoadSource, LossReason, MemoryLeaseStore, PendingCheckpoint, Problem, Recorder,
    SequenceNumber, SigningProblem, StoreError, StoreErrorKind, TableCreation, TableOptions, WorkerId,
};

#[cfg(feature = "tower")]
pub use self::adapters::each_record_service;
pub use self::adapters::{
    BatchHandler, Deliveries, DeliveringProcessor, Delivery, DeliveryOptions, EachBatch, EachRecord,
    EachRecordOptions, RecordHandler, deliveries, each_batch, each_record,
};
pub use self::begin::Begin;
pub use self::checkpointer::{CheckpointError, Checkpointer, OutOfRange, PreparedCheckpoint};
pub use self::config::{
    FailurePolicy, FanOut, FormerStreams, InitialPosition, InvalidStream, InvalidStreamId, LastResort,
    LeaseOptions, OtherStream, ProcessingOptions, ReadEncoding, RetrievalOptions, ShardId, Stream,
    StreamConsumer, StreamId, StreamTracker, Streams, TrackedStream, WorkerConfig,
};
pub use self::error::Error;
pub use self::failure::{Decision, FailedRecords, FailureHandler};
pub use self::processor::{RecordProcessor, ShardContext};
pub use self::processor_error::ProcessorError;
pub use self::processor_factory::AsyncFactory;
pub use self::record::{Encryption, Gap, Record, RecordBatch};
pub use self::status::{ShardState, ShardStatus, WorkerPhase, WorkerStatus};
pub use self::worker::{Departure, Fate, PauseError, Stopped, Worker, WorkerBuilder, WorkerHandle};

#[cfg(fuzzing)]
#[doc(hidden)]
pub use self::stream::fuzzing;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
