//! What may be given to the adapters: closures and functions. Each of them is what `async |record| ...` is, and its future can be sent.

use std::future::Future;

use crate::checkpointer::Checkpointer;
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};

/// What [`each_record`](crate::each_record) takes. Implemented for closures and functions; there is nothing to implement.
pub trait RecordHandler<'a>:
    FnOnce(&'a Record) -> <Self as RecordHandler<'a>>::Future + Clone + Send + Sync + 'static
{
    /// What it returns.
    type Future: Future<Output = Result<(), ProcessorError>> + Send + 'a;
}

impl<'a, F, R> RecordHandler<'a> for F
where
    F: FnOnce(&'a Record) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), ProcessorError>> + Send + 'a,
{
    type Future = R;
}

/// What [`each_batch`](crate::each_batch) takes. Implemented for closures and functions; there is nothing to implement.
pub trait BatchHandler<'a>:
    FnOnce(&'a RecordBatch, &'a Checkpointer) -> <Self as BatchHandler<'a>>::Future
    + Clone
    + Send
    + Sync
    + 'static
{
    /// What it returns.
    type Future: Future<Output = Result<(), ProcessorError>> + Send + 'a;
}

impl<'a, F, R> BatchHandler<'a> for F
where
    F: FnOnce(&'a RecordBatch, &'a Checkpointer) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), ProcessorError>> + Send + 'a,
{
    type Future = R;
}
