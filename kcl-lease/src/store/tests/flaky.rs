//! A store whose writes can be made to fail, for tests of its users.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::store::*;

/// What happens to one call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mishap {
    /// Fails before it has any effect.
    RequestLost,
    /// Takes effect, then fails.
    AnswerLost,
    /// Takes effect, and is then repeated, as the SDK does: the caller sees the second answer.
    Repeated,
    /// Takes effect, somebody else writes this to the row, and then it fails.
    Overtaken(LeaseChange),
    /// Takes this long, then works.
    Slow(Duration),
}

/// Wraps a store; each lease write and heartbeat takes the next mishap, if there is one.
#[derive(Debug)]
pub(crate) struct FlakyStore {
    pub(crate) inner: MemoryLeaseStore,
    mishaps: Mutex<VecDeque<Mishap>>,
    cut: Mutex<bool>,
    index_lags: Mutex<bool>,
    index_failure: Mutex<Option<StoreErrorKind>>,
    /// So many of the next scans and of the next lease writes are throttled.
    throttled: [AtomicUsize; 2],
    writes: AtomicUsize,
    unreadable: Mutex<Vec<UnreadableRow>>,
    scans: AtomicUsize,
}

impl FlakyStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryLeaseStore::new(),
            mishaps: Mutex::default(),
            cut: Mutex::new(false),
            index_lags: Mutex::new(false),
            index_failure: Mutex::default(),
            throttled: Default::default(),
            writes: AtomicUsize::new(0),
            unreadable: Mutex::default(),
            scans: AtomicUsize::new(0),
        })
    }

    /// How often the table was scanned.
    pub(crate) fn scans(&self) -> usize {
        self.scans.load(Ordering::Relaxed)
    }

    pub(crate) fn suffer(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.mishaps.lock().unwrap().extend(mishaps);
    }

    /// While cut off, every call fails.
    pub(crate) fn set_cut_off(&self, cut: bool) {
        *self.cut.lock().unwrap() = cut;
    }

    /// While it fails in this way, the owner index cannot be queried.
    pub(crate) fn set_index_failure(&self, failure: Option<StoreErrorKind>) {
        *self.index_failure.lock().unwrap() = failure;
    }

    /// From now on so many scans, and so many writes of leases, are throttled.
    pub(crate) fn throttle(&self, scans: usize, writes: usize) {
        self.throttled[0].store(scans, Ordering::Relaxed);
        self.throttled[1].store(writes, Ordering::Relaxed);
    }

    /// How often the leases were written, or were to be.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// Rows that nobody can read.
    pub(crate) fn set_unreadable(&self, rows: Vec<UnreadableRow>) {
        *self.unreadable.lock().unwrap() = rows;
    }

    fn pass(&self, kind: usize) -> Result<(), StoreError> {
        let one_less = |left: usize| left.checked_sub(1);
        let relaxed = Ordering::Relaxed;
        match self.throttled[kind].fetch_update(relaxed, relaxed, one_less) {
            Ok(_) => Err(StoreError::new(
                StoreErrorKind::Throttled,
                "testing",
                "t",
                "too fast",
            )),
            Err(_) => Ok(()),
        }
    }

    /// While it lags, the owner index shows nothing.
    pub(crate) fn set_index_lags(&self, lags: bool) {
        *self.index_lags.lock().unwrap() = lags;
    }

    fn failure(unknown: bool) -> StoreError {
        StoreError::new(StoreErrorKind::Unavailable, "testing", "t", "made to fail")
            .with_unknown_outcome(unknown)
    }

    fn reach(&self) -> Result<(), StoreError> {
        if *self.cut.lock().unwrap() {
            Err(Self::failure(true))
        } else {
            Ok(())
        }
    }

    fn next_mishap(&self) -> Option<Mishap> {
        self.mishaps.lock().unwrap().pop_front()
    }
}

#[async_trait]
impl LeaseStore for FlakyStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.reach()
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        self.reach()?;
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.pass(0)?;
        let mut snapshot = self.inner.scan().await?;
        snapshot.unreadable = self.unreadable.lock().unwrap().clone();
        Ok(snapshot)
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        self.scan().await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        self.reach()?;
        let unreadable = self.unreadable.lock().unwrap().clone();
        if let Some(row) = unreadable.iter().find(|row| row.key == key.as_str()) {
            let problem = row.problem.clone();
            return Err(StoreError::new(StoreErrorKind::Invalid, "testing", "t", problem));
        }
        self.inner.get(key).await
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        self.reach()?;
        if let Some(kind) = *self.index_failure.lock().unwrap() {
            return Err(StoreError::new(kind, "testing", "t", "no such index"));
        }
        if *self.index_lags.lock().unwrap() {
            return Ok(Vec::new());
        }
        self.inner.assigned_to(worker).await
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.create(lease).await
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        self.reach()?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.pass(1)?;
        match self.next_mishap() {
            None => self.inner.write(seen, change).await,
            Some(Mishap::RequestLost) => Err(Self::failure(true)),
            Some(Mishap::AnswerLost) => {
                self.inner.write(seen, change).await?;
                Err(Self::failure(true))
            }
            Some(Mishap::Repeated) => {
                self.inner.write(seen, change).await?;
                self.inner.write(seen, change).await
            }
            Some(Mishap::Overtaken(by)) => {
                self.inner.write(seen, change).await?;
                if let Some(row) = self.inner.get(&seen.key).await? {
                    self.inner.write(&row, &by).await?;
                }
                Err(Self::failure(true))
            }
            Some(Mishap::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.inner.write(seen, change).await
            }
        }
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.delete(seen).await
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        self.reach()?;
        self.inner.read_leader().await
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        self.reach()?;
        match self.next_mishap() {
            Some(Mishap::AnswerLost) => {
                self.inner.take_leader(lock, seen).await?;
                Err(Self::failure(true))
            }
            Some(Mishap::Repeated) => {
                self.inner.take_leader(lock, seen).await?;
                self.inner.take_leader(lock, seen).await
            }
            _ => self.inner.take_leader(lock, seen).await,
        }
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        self.reach()?;
        match self.next_mishap() {
            Some(Mishap::AnswerLost) => {
                self.inner.beat_leader(lock, seen).await?;
                Err(Self::failure(true))
            }
            Some(Mishap::Repeated) => {
                self.inner.beat_leader(lock, seen).await?;
                self.inner.beat_leader(lock, seen).await
            }
            Some(Mishap::RequestLost) => Err(Self::failure(true)),
            _ => self.inner.beat_leader(lock, seen).await,
        }
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.release_leader(lock).await
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        self.reach()?;
        self.inner.announce(worker).await
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.report(worker).await
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.retire(worker, process).await
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.forget(seen).await
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.is_announced(worker).await
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        self.reach()?;
        self.inner.agree_on_version(ours).await
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        self.reach()?;
        self.inner.stream().await
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.record_stream(seen, stream).await
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        self.reach()?;
        self.inner.set_aside(seen, stream).await
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        self.reach()?;
        self.inner.kept().await
    }
}
