//! Panics of what is not a processor: of the lease store, and so of the worker's own tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kcl_core::{
    Error, LeaseKey, LeaseStore, StoreError, StoreErrorKind, WorkerId, WorkerStatus, async_trait,
};
use kcl_lease::{
    ClientVersion, DynamoDbLeaseStore, LeaderLock, Lease, LeaseChange, ProcessId, StreamIdentity,
    TableSnapshot, WorkerRow, WriteOutcome,
};
use kcl_tests::scenarios::shard;
use kcl_tests::{Behaviour, Running, World};
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

/// What panics at present.
#[derive(Debug, Default, Clone)]
struct Panics {
    /// Looking at the lease of the first shard.
    get: Arc<AtomicBool>,
    /// Not a panic: leases cannot be released.
    release: Arc<AtomicBool>,
    assigned_to: Arc<AtomicBool>,
    write: Arc<AtomicBool>,
    scan: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Panicking {
    inner: DynamoDbLeaseStore,
    panics: Panics,
}

/// A worker whose lease store panics.
fn start(world: &World, panics: &Panics) -> Running {
    let store = Panicking {
        inner: world.store(),
        panics: panics.clone(),
    };
    let builder = world.builder("one", Behaviour::default());
    world.run("one", builder.lease_store(Arc::new(store)))
}

fn at(panics: &AtomicBool) {
    if panics.load(Ordering::Relaxed) {
        // Like a panic, without its message on the screen.
        std::panic::resume_unwind(Box::new("the store panics"));
    }
}

#[async_trait]
impl LeaseStore for Panicking {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare().await
    }

    async fn scan(&self) -> Result<TableSnapshot, StoreError> {
        at(&self.panics.scan);
        self.inner.scan().await
    }

    async fn scan_now(&self) -> Result<TableSnapshot, StoreError> {
        self.scan().await
    }

    async fn get(&self, key: &LeaseKey) -> Result<Option<Lease>, StoreError> {
        if key.as_str() == shard(0) {
            at(&self.panics.get);
        }
        self.inner.get(key).await
    }

    async fn assigned_to(&self, worker: &WorkerId) -> Result<Vec<LeaseKey>, StoreError> {
        at(&self.panics.assigned_to);
        self.inner.assigned_to(worker).await
    }

    async fn create(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.inner.create(lease).await
    }

    async fn write(&self, seen: &Lease, change: &LeaseChange) -> Result<WriteOutcome, StoreError> {
        at(&self.panics.write);
        if *change == LeaseChange::Release && self.panics.release.load(Ordering::Relaxed) {
            let kind = StoreErrorKind::Unavailable;
            return Err(StoreError::new(kind, "releasing", "app", "no answer"));
        }
        self.inner.write(seen, change).await
    }

    async fn delete(&self, seen: &Lease) -> Result<bool, StoreError> {
        self.inner.delete(seen).await
    }

    async fn read_leader(&self) -> Result<Option<LeaderLock>, StoreError> {
        self.inner.read_leader().await
    }

    async fn take_leader(&self, lock: &LeaderLock, seen: Option<&str>) -> Result<bool, StoreError> {
        self.inner.take_leader(lock, seen).await
    }

    async fn beat_leader(&self, lock: &LeaderLock, seen: &str) -> Result<bool, StoreError> {
        self.inner.beat_leader(lock, seen).await
    }

    async fn release_leader(&self, lock: &LeaderLock) -> Result<bool, StoreError> {
        self.inner.release_leader(lock).await
    }

    async fn report(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        self.inner.report(worker).await
    }

    async fn announce(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        self.inner.announce(worker).await
    }

    async fn stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        self.inner.stream().await
    }

    async fn record_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        self.inner.record_stream(seen, stream).await
    }

    async fn set_aside(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        self.inner.set_aside(seen, stream).await
    }

    async fn kept(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        self.inner.kept().await
    }

    async fn retire(&self, worker: &WorkerId, process: &ProcessId) -> Result<bool, StoreError> {
        self.inner.retire(worker, process).await
    }

    async fn forget(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        self.inner.forget(seen).await
    }

    async fn is_announced(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        self.inner.is_announced(worker).await
    }

    async fn agree_on_version(&self, ours: &ClientVersion) -> Result<ClientVersion, StoreError> {
        self.inner.agree_on_version(ours).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_consumer_panics_while_the_table_does_not_answer_is_not_held_by_nobody() {
    let world = World::with_shards(1).await;
    let panics = Panics::default();
    let worker = start(&world, &panics);
    world.until_called("initialize", 1, MINUTE).await;
    world.put(5, 5).await;
    world.until_drained(MINUTE).await;
    world.assert_exactly_once();
    // From here on the children's consumers panic when they look at their parent, and cannot give their leases up.
    panics.get.store(true, Ordering::Relaxed);
    panics.release.store(true, Ordering::Relaxed);
    world.split(&shard(0)).await;
    let is_told = |status: &WorkerStatus| {
        let mut problems = status.problems.iter();
        problems.any(|problem| problem.code == "consumer-panicked")
    };
    worker.until(MINUTE, is_told).await;
    sleep(MINUTE).await;
    panics.get.store(false, Ordering::Relaxed);
    world.put(40, 40).await;
    world.until_drained(Duration::from_secs(30)).await;
    world.assert_nothing_lost();
    sleep(Duration::from_secs(70)).await;
    let status = worker.handle.status();
    assert!(!is_told(&status), "{status:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_with_a_loop_that_panicked_leaves_and_fails() {
    for broken in ["assigned_to", "scan", "write"] {
        let world = World::with_shards(2).await;
        world.put(10, 10).await;
        let panics = Panics::default();
        let one = start(&world, &panics);
        world.until_drained(MINUTE).await;
        world.assert_exactly_once();
        let two = world.start("two");
        sleep(Duration::from_secs(5)).await;
        let which = match broken {
            "assigned_to" => &panics.assigned_to,
            "scan" => &panics.scan,
            _ => &panics.write,
        };
        which.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let ended = timeout(MINUTE, one.ended()).await.expect("in time");
        let error = ended.expect_err(broken);
        assert!(matches!(error, Error::Broken(_)), "{error}");
        assert!(error.to_string().contains("the store panics"), "{error}");
        world.put(20, 20).await;
        world.until_drained(Duration::from_secs(30)).await;
        world.assert_nothing_lost();
        assert!(began.elapsed() < Duration::from_secs(90));
        two.kill().await;
    }
}
