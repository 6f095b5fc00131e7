//! Makes the processors of a worker.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;

/// Makes the processor of a shard.
pub(crate) type ProcessorFactory = Arc<dyn for<'a> Fn(&'a ShardContext) -> BoxFuture<'a, Made> + Send + Sync>;

/// A processor, or why there is none.
pub(crate) type Made = Result<Box<dyn RecordProcessor>, ProcessorError>;

/// What [`Worker::async_builder`](crate::Worker::async_builder) takes. Implemented for closures and functions; there is nothing to
/// implement.
pub trait AsyncFactory<'a, P>:
    FnOnce(&'a ShardContext) -> <Self as AsyncFactory<'a, P>>::Future + Clone + Send + Sync + 'static
{
    /// What it returns.
    type Future: Future<Output = Result<P, ProcessorError>> + Send + 'a;
}

impl<'a, P, F, R> AsyncFactory<'a, P> for F
where
    F: FnOnce(&'a ShardContext) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<P, ProcessorError>> + Send + 'a,
{
    type Future = R;
}

/// From a function that has the processor at once.
pub(crate) fn immediate<P, F>(factory: F) -> ProcessorFactory
where
    P: RecordProcessor,
    F: Fn(&ShardContext) -> P + Send + Sync + 'static,
{
    let factory = Arc::new(factory);
    Arc::new(move |shard| {
        let factory = factory.clone();
        Box::pin(async move { Ok(Box::new(factory(shard)) as Box<dyn RecordProcessor>) })
    })
}

/// From one that has to wait for something, and may fail.
pub(crate) fn awaited<P, F>(factory: F) -> ProcessorFactory
where
    P: RecordProcessor,
    F: for<'a> AsyncFactory<'a, P>,
{
    Arc::new(move |shard| {
        let factory = factory.clone();
        Box::pin(async move {
            let processor = factory(shard).await?;
            Ok(Box::new(processor) as Box<dyn RecordProcessor>)
        })
    })
}
