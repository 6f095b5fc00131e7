//! What an observer makes of one table after another, at seconds that the tests choose.

mod claims;
mod expiry;
mod failover_times;
mod hand_offs;
mod history;
mod java;
mod signs_of_life;
mod succession;

use super::*;
use crate::checkpoint::Checkpoint;

const FAILOVER: Duration = Duration::from_secs(10);
const EPOCH: u64 = 1_800_000_000;

fn observer() -> Observer {
    Observer::new(ObserverOptions {
        me: "me".into(),
        failover_time: FAILOVER,
        hand_off_timeout: Duration::from_secs(30),
        report_interval: Duration::from_secs(30),
    })
}

fn lease(key: &str, owner: &str, counter: u64) -> Lease {
    Lease {
        owner: Some(owner.into()),
        counter,
        ..Lease::new(key, Checkpoint::TrimHorizon)
    }
}

fn worker(id: &str, reported_at: u64) -> WorkerRow {
    let report_period = Some(Duration::from_secs(3));
    WorkerRow {
        report_period,
        ..WorkerRow::new(id, reported_at)
    }
}

fn java_worker(id: &str, reported_at: u64) -> WorkerRow {
    WorkerRow {
        report_period: None,
        ..worker(id, reported_at)
    }
}

fn table(leases: &[Lease], workers: &[WorkerRow]) -> TableSnapshot {
    TableSnapshot {
        leases: leases.to_vec(),
        workers: workers.to_vec(),
        ..TableSnapshot::default()
    }
}

/// Observes one table after another at the given seconds; the last view.
fn after(scans: &[(u64, TableSnapshot)]) -> FleetView {
    let (mut observer, start) = (observer(), Instant::now());
    let mut view = FleetView::default();
    for (second, snapshot) in scans {
        view = observer.observe(
            snapshot,
            start + Duration::from_secs(*second),
            EPOCH + second,
            None,
        );
    }
    view
}

fn state_of(view: &FleetView, key: &str) -> LeaseState {
    view.leases
        .iter()
        .find(|view| view.lease.key.as_str() == key)
        .unwrap()
        .state
}

fn is_eligible(view: &FleetView, id: &str) -> bool {
    view.workers
        .iter()
        .find(|worker| worker.id.as_str() == id)
        .unwrap()
        .eligible
}
