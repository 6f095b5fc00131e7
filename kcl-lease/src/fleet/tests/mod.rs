//! Fleets of a few workers on one table, in virtual time.

mod dying;
mod joining;
mod leading;
mod leaving;
mod loads;
mod measured;
mod namesakes;
mod taking_up;
mod telling;
mod troubled;

use std::time::{Duration, UNIX_EPOCH};

use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::checkpoint::Checkpoint;
use crate::keeper::{HeldState, LossReason};
use crate::lease::Lease;
use crate::metrics::Metrics;
use crate::store::MemoryLeaseStore;

const FAILOVER: Duration = Duration::from_secs(10);

/// A worker with a processor that gives every lease up as soon as it is asked to.
struct TestWorker {
    fleet: Membership,
    processor: AbortHandle,
}

impl TestWorker {
    async fn join(store: &Arc<dyn LeaseStore>, id: &str) -> Self {
        Self::join_with(store, id, |_| {}).await
    }

    async fn join_with(
        store: &Arc<dyn LeaseStore>,
        id: &str,
        configure: impl FnOnce(&mut FleetOptions),
    ) -> Self {
        let start = test_began_at();
        let seed = id.bytes().fold(0, |seed, byte| seed * 31 + u64::from(byte));
        let epoch = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let env = Environment::seeded(seed, move || epoch + start.elapsed());
        let mut options = FleetOptions::with_failover_time(FAILOVER);
        configure(&mut options);
        let (fleet, mut acquired) = Membership::join(Arc::clone(store), id, options, env)
            .await
            .unwrap();
        let processor = tokio::spawn(async move {
            let mut leases = JoinSet::new();
            while let Some(held) = acquired.recv().await {
                leases.spawn(async move {
                    let mut watching = held.watch();
                    let _ = watching.wait_for(|state| *state != HeldState::Held).await;
                    let _ = held.give_up().await;
                });
            }
        });
        Self {
            fleet,
            processor: processor.abort_handle(),
        }
    }

    fn count(&self) -> usize {
        self.fleet.held().iter().filter(|held| held.is_valid()).count()
    }

    /// The codes of its problems.
    fn problems(&self) -> Vec<&'static str> {
        let problems = self.fleet.status().problems;
        problems.iter().map(|problem| problem.code).collect()
    }

    fn leads(&self) -> bool {
        *self.fleet.leadership().borrow()
    }

    fn kill(self) {
        self.fleet.abandon();
        self.processor.abort();
    }

    async fn stop(self) {
        self.fleet.prepare_to_leave(Duration::from_secs(4)).await;
        let left = async {
            while !self.fleet.held().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(FAILOVER, left)
            .await
            .expect("processors give their leases up");
        self.fleet.leave().await;
    }
}

/// Each test has a thread of its own.
fn test_began_at() -> Instant {
    thread_local! {
        static BEGAN_AT: std::cell::OnceCell<Instant> = const { std::cell::OnceCell::new() };
    }
    BEGAN_AT.with(|began_at| *began_at.get_or_init(Instant::now))
}

async fn table_of(leases: usize) -> Arc<dyn LeaseStore> {
    let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
    fill(&store, leases).await;
    store
}

async fn fill(store: &Arc<dyn LeaseStore>, leases: usize) {
    for i in 0..leases {
        assert!(
            store
                .create(&Lease::new(format!("s{i:02}"), Checkpoint::TrimHorizon))
                .await
                .unwrap()
        );
    }
}

/// Waits until the workers hold these numbers of leases, in any order; how long it took.
async fn until_held(workers: &[&TestWorker], expected: &[usize], limit: Duration) -> Duration {
    let start = Instant::now();
    let counts = || {
        let mut counts: Vec<_> = workers.iter().map(|worker| worker.count()).collect();
        counts.sort_unstable();
        counts
    };
    while counts() != expected {
        assert!(
            start.elapsed() < limit,
            "after {limit:?} the workers hold {:?}, not {expected:?}",
            counts()
        );
        sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}
