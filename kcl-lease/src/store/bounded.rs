//! A store whose calls end, whatever client was given, and are made where leases are kept.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::{
    ClientVersion, LeaderLock, LeaseChange, LeaseStore, StoreError, StoreErrorKind, TableSnapshot, WorkerRow,
    WriteOutcome,
};
use crate::ids::{LeaseKey, ProcessId, WorkerId};
use crate::lease::{Lease, StreamIdentity};
use crate::metrics::{Counter, Histogram, Labels, Metrics};
use crate::seat::{Seat, Unfinished};
use crate::timers::Timers;

/// A table may have to be created, its index filled, and its backups be switched on.
const PREPARATION: Duration = Duration::from_secs(900);

/// Bounds each call of another store.
///
/// A call for one row may take half the fail-over time: a write that is in doubt for longer is of no use, and its lease must
/// be written once more before it expires. One that reads many rows may take twice the fail-over time.
#[derive(Debug)]
pub(crate) struct BoundedStore {
    inner: Arc<dyn LeaseStore>,
    one: Duration,
    many: Duration,
    seat: Seat,
    metrics: Metrics,
}

impl BoundedStore {
    pub(crate) fn new(inner: Arc<dyn LeaseStore>, timers: Timers, seat: Seat, metrics: Metrics) -> Self {
        Self {
            inner,
            one: timers.call(),
            many: timers.long_call(),
            seat,
            metrics,
        }
    }

    async fn call<T, F>(
        &self,
        operation: &'static str,
        limit: Duration,
        call: impl FnOnce(Arc<dyn LeaseStore>) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let unknown = |problem: String| {
            StoreError::new(StoreErrorKind::Unavailable, operation, "", problem).with_unknown_outcome(true)
        };
        let call = call(Arc::clone(&self.inner));
        let bounded = async move { timeout(limit, call).await };
        let asked = Instant::now();
        let result = match self.seat.run(bounded).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unknown(format!("no answer within {limit:?}"))),
            Err(Unfinished) => Err(unknown("the call ended without an answer".to_owned())),
        };
        let labels = Labels::of_operation(operation);
        self.metrics
            .took(Histogram::TableCallTime, labels, asked.elapsed());
        let code = result.as_ref().map_or_else(|error| error.kind().code(), |_| "ok");
        self.metrics.add(Counter::TableCalls, labels.with_code(code), 1);
        result
    }
}

#[async_trait]
impl LeaseStore for BoundedStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.prepare().await };
        self.call("preparing the table", PREPARATION, call).await
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.scan().await };
        self.call("scanning", self.many, call).await
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.scan_now().await };
        self.call("scanning", self.many, call).await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        let key = key.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.get(&key).await };
        self.call("reading a lease", self.one, call).await
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        let worker = worker.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.assigned_to(&worker).await };
        self.call("looking for assignments", self.many, call).await
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        let lease = lease.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.create(&lease).await };
        self.call("creating a lease", self.one, call).await
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        let (seen, change) = (seen.clone(), change.clone());
        let call = |store: Arc<dyn LeaseStore>| async move { store.write(&seen, &change).await };
        self.call("writing a lease", self.one, call).await
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        let seen = seen.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.delete(&seen).await };
        self.call("deleting a lease", self.one, call).await
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.read_leader().await };
        self.call("reading the leader lock", self.one, call).await
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        let (lock, seen) = (lock.clone(), seen.map(str::to_owned));
        let call =
            |store: Arc<dyn LeaseStore>| async move { store.take_leader(&lock, seen.as_deref()).await };
        self.call("taking the leader lock", self.one, call).await
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        let (lock, seen) = (lock.clone(), seen.to_owned());
        let call = |store: Arc<dyn LeaseStore>| async move { store.beat_leader(&lock, &seen).await };
        self.call("refreshing the leader lock", self.one, call).await
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        let lock = lock.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.release_leader(&lock).await };
        self.call("releasing the leader lock", self.one, call).await
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        let worker = worker.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.announce(&worker).await };
        self.call("announcing the worker", self.one, call).await
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        let worker = worker.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.report(&worker).await };
        self.call("reporting the worker", self.one, call).await
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        let (worker, process) = (worker.clone(), process.clone());
        let call = |store: Arc<dyn LeaseStore>| async move { store.retire(&worker, &process).await };
        self.call("retiring the worker", self.one, call).await
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        let seen = seen.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.forget(&seen).await };
        self.call("forgetting a worker", self.one, call).await
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        let worker = worker.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.is_announced(&worker).await };
        self.call("looking for a worker", self.one, call).await
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        let ours = ours.clone();
        let call = |store: Arc<dyn LeaseStore>| async move { store.agree_on_version(&ours).await };
        self.call("reading the client version", self.one, call).await
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.stream().await };
        self.call("reading the stream's identity", self.one, call).await
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        let (seen, stream) = (seen.cloned(), stream.clone());
        let call =
            |store: Arc<dyn LeaseStore>| async move { store.record_stream(seen.as_ref(), &stream).await };
        self.call("recording the stream's identity", self.one, call).await
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        let (seen, stream) = (seen.clone(), stream.clone());
        let call = |store: Arc<dyn LeaseStore>| async move { store.set_aside(&seen, &stream).await };
        self.call("setting a lease aside", self.one, call).await
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        let call = |store: Arc<dyn LeaseStore>| async move { store.kept().await };
        self.call("looking for kept leases", self.many, call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::store::MemoryLeaseStore;
    use crate::store::conformance;
    use crate::store::tests::flaky::{FlakyStore, Mishap};

    const FAILOVER: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn it_is_the_store_that_it_bounds() {
        conformance::run(|| async {
            let inner = Arc::new(MemoryLeaseStore::new());
            Arc::new(BoundedStore::new(
                inner,
                Timers::of(FAILOVER),
                Seat::take(),
                Metrics::default(),
            )) as Arc<dyn LeaseStore>
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_gets_no_answer_is_in_doubt_after_half_the_fail_over_time() {
        let inner = FlakyStore::new();
        let store = BoundedStore::new(
            inner.clone(),
            Timers::of(FAILOVER),
            Seat::here(),
            Metrics::default(),
        );
        let lease = Lease::new("s", Checkpoint::TrimHorizon);
        assert!(store.create(&lease).await.unwrap());
        inner.suffer([Mishap::Slow(Duration::from_secs(3600))]);
        let start = tokio::time::Instant::now();
        let error = store.write(&lease, &LeaseChange::Release).await.unwrap_err();
        assert_eq!(start.elapsed(), FAILOVER / 2);
        assert!(error.may_have_been_applied() && error.is_retryable(), "{error}");
    }
}
