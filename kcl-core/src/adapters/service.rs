//! A `tower` service for each record.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use tower_service::Service;

use super::each_record::{EachRecord, handled_by};
use crate::processor::ShardContext;
use crate::processor_error::ProcessorError;
use crate::record::Record;

/// Processors that call a [`tower` service](https://docs.rs/tower) for each record, with whatever middleware it has: time-outs, limits,
/// tracing. For [`Worker::builder`](crate::Worker::builder); needs the feature `tower`.
///
/// Order, checkpoints, failures, ends and the [options](crate::EachRecordOptions) are those of [`each_record`](crate::each_record()): the
/// service is cloned for each record, waited for until it is ready, and called; a record is done when the answer is `Ok`. An error is a
/// failure of the record, those of the middleware too: a limit that waits is better than one that sheds.
///
/// ```
/// use std::time::Duration;
/// use kcl_core::{each_record_service, EachRecordOptions as _, Record, Worker};
/// use tower::{BoxError, ServiceBuilder, service_fn};
///
/// let service = ServiceBuilder::new()
///     .concurrency_limit(100)
///     .timeout(Duration::from_secs(5))
///     .service(service_fn(async |record: Record| {
///         println!("{}", record.partition_key());
///         Ok::<(), BoxError>(())
///     }));
/// let builder = Worker::builder("my-app", "my-stream", each_record_service(service).concurrency(64));
/// ```
pub fn each_record_service<S>(service: S) -> impl Fn(&ShardContext) -> EachRecord + Send + Sync + 'static
where
    S: Service<Record, Response = ()> + Clone + Send + 'static,
    S::Error: Into<ProcessorError>,
    S::Future: Send,
{
    // Many services can be sent and not shared.
    let service = Arc::new(Mutex::new(service));
    handled_by(move |record: &Record| {
        let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let record = record.clone();
        async move {
            poll_fn(|context| service.poll_ready(context))
                .await
                .map_err(Into::into)?;
            service.call(record).await.map_err(Into::into)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;
    use tower::{BoxError, ServiceBuilder, service_fn};

    use super::*;
    use crate::EachRecordOptions as _;
    use crate::testing::{TestShard, batch};

    #[derive(Debug, Default)]
    struct Count {
        calls: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
    }

    /// A call that is under way.
    struct Call(Arc<Count>);

    impl Call {
        fn begin(count: &Arc<Count>) -> Self {
            let now = count.now.fetch_add(1, Ordering::Relaxed) + 1;
            count.most.fetch_max(now, Ordering::Relaxed);
            Self(count.clone())
        }
    }

    impl Drop for Call {
        fn drop(&mut self) {
            self.0.now.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_the_service_is_kept_and_its_time_out_is_a_failure_that_is_repeated() {
        let count = Arc::new(Count::default());
        let counted = count.clone();
        let service = ServiceBuilder::new()
            .concurrency_limit(2)
            .timeout(Duration::from_secs(5))
            .service(service_fn(move |_: Record| {
                let count = counted.clone();
                async move {
                    let _call = Call::begin(&count);
                    let hangs = count.calls.fetch_add(1, Ordering::Relaxed) == 0;
                    sleep(Duration::from_millis(if hangs { 60_000 } else { 100 })).await;
                    Ok::<(), BoxError>(())
                }
            }));
        let mut shard = TestShard::new().await;
        let mut processor = each_record_service(service).unordered().concurrency(8)(shard.context());
        shard
            .process(&mut processor, &batch(["a", "b", "c", "d"]))
            .await
            .expect("taken in");
        sleep(Duration::from_millis(5_001)).await;
        let problem = shard.status().problem.expect("told");
        assert!(problem.text.contains("timed out"), "{problem:?}");
        shard.end(&mut processor).await.expect("all is done");
        assert_eq!(shard.checkpoints().last().map(String::as_str), Some("SHARD_END"));
        assert_eq!(count.calls.load(Ordering::Relaxed), 5, "one of them twice");
        assert_eq!(count.most.load(Ordering::Relaxed), 2);
    }
}
