//! What a leader would make of the table, for those who want to know and do not lead.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::options::FleetOptions;
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::Lease;
use crate::plan::{BalanceLimits, Balancer, Claim, FleetView, LeaseState, Observer, ObserverOptions};
use crate::store::{LeaseChange, TableSnapshot};

/// Judges a fleet by scans of its table, and plans as a leader with the same options would. It writes nothing, and is no worker.
///
/// A leader goes by what changes between its scans, on its own clock. So one scan says little: after two that are further apart than
/// [renewals](crate::Timers::renewal) are, it is known who lives, and after the fail-over time, who does not. What the leader in
/// office remembers from before, such as which leases moved lately, is not known here. Where it matters, that leader does less.
///
/// ```
/// use kcl_lease::{Checkpoint, FleetOptions, Forecast, Lease, TableSnapshot, WorkerRow};
///
/// let mut forecast = Forecast::new(&FleetOptions::default());
/// let lease = Lease::new("shardId-000000000000", Checkpoint::TrimHorizon);
/// let worker = WorkerRow::new("w1", 1_800_000_000);
/// forecast.observe(&TableSnapshot::new(vec![lease], vec![worker]), 1_800_000_001);
/// assert_eq!(forecast.plan()[0].to.as_ref().map(|to| to.as_str()), Some("w1"));
/// ```
#[derive(Debug)]
pub struct Forecast {
    observer: Observer,
    balancer: Balancer,
    view: FleetView,
}

/// What may be done with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Standing {
    /// Its shard is finished: nothing is to be assigned.
    Ended,
    /// Nobody owns it.
    Unowned,
    /// Its owner has been silent for longer than the fail-over time, or is known to be dead.
    Expired,
    /// Its owner renews it, or has not been watched for long enough to say otherwise.
    Live,
    /// Its processor is being stopped for the next owner.
    HandOff,
    /// The same, for longer than the time-out: the leader ends it.
    HandOffOverdue,
}

/// A lease as it was judged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JudgedLease {
    /// The lease.
    pub key: LeaseKey,
    /// What may be done with it.
    pub standing: Standing,
    /// Whether its owner has begun with it; `None` if that cannot be told yet. What nobody has begun with is moved without a hand-off.
    pub has_begun: Option<bool>,
    /// For how long nothing was written to it, as far as it was watched.
    pub still_for: Duration,
}

/// A worker as it was judged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct JudgedWorker {
    /// The worker.
    pub id: WorkerId,
    /// Whether it is alive, announced and well.
    pub is_eligible: bool,
    /// Silent for longer than a healthy worker is: it keeps what it has and is given nothing more until it is heard of.
    pub is_overdue: bool,
}

/// A write that a leader would make.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PlannedMove {
    /// The row as it was judged.
    pub lease: Lease,
    /// The write.
    pub change: LeaseChange,
    /// Who gets the lease.
    pub to: Option<WorkerId>,
}

impl Forecast {
    /// One that has seen nothing. The options should be those of the fleet.
    pub fn new(options: &FleetOptions) -> Self {
        let observer = Observer::new(ObserverOptions {
            // No worker has this name, so nobody is alive for the observer's sake.
            me: WorkerId::from(""),
            failover_time: options.failover_time,
            hand_off_timeout: options.hand_off_timeout,
            report_interval: options.report_interval,
        });
        let limits = BalanceLimits {
            max_leases: options.max_leases(),
            report_interval: options.report_interval,
        };
        Self {
            observer,
            balancer: Balancer::new(options.balancing, limits),
            view: FleetView::default(),
        }
    }

    /// Takes in a scan that was completed just now. `epoch_seconds` is the wall-clock time; it judges only what was never seen before.
    pub fn observe(&mut self, snapshot: &TableSnapshot, epoch_seconds: u64) {
        let now = Instant::now();
        self.view = self.observer.observe(snapshot, now, epoch_seconds, None);
    }

    /// The leases of the last scan, by key.
    pub fn leases(&self) -> Vec<JudgedLease> {
        let now = Instant::now();
        let judged = self.view.leases.iter().map(|view| JudgedLease {
            key: view.lease.key.clone(),
            standing: match view.state {
                LeaseState::Ended => Standing::Ended,
                LeaseState::Unowned => Standing::Unowned,
                LeaseState::Expired => Standing::Expired,
                LeaseState::Live => Standing::Live,
                LeaseState::HandOff { overdue: false } => Standing::HandOff,
                LeaseState::HandOff { overdue: true } => Standing::HandOffOverdue,
            },
            has_begun: match view.claim {
                Claim::No => Some(false),
                Claim::Unknown => None,
                Claim::Yes => Some(true),
            },
            still_for: self.observer.still_for(&view.lease.key, now),
        });
        judged.collect()
    }

    /// The workers of the last scan, by id.
    pub fn workers(&self) -> Vec<JudgedWorker> {
        let judged = self.view.workers.iter().map(|view| JudgedWorker {
            id: view.id.clone(),
            is_eligible: view.eligible,
            is_overdue: view.overdue,
        });
        judged.collect()
    }

    /// What a leader would write now.
    pub fn plan(&mut self) -> Vec<PlannedMove> {
        let planned = self.balancer.plan(&self.view).into_iter();
        let planned = planned.map(|planned| PlannedMove {
            to: planned.target().cloned(),
            lease: planned.lease,
            change: planned.change,
        });
        planned.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::store::WorkerRow;

    const NOW: u64 = 1_800_000_000;

    fn worker(id: &str) -> WorkerRow {
        let mut row = WorkerRow::new(id, NOW);
        row.failover_time = Some(Duration::from_secs(10));
        row.report_period = Some(Duration::from_secs(3));
        row
    }

    fn leases(counter: u64, owners: &[&str]) -> Vec<Lease> {
        let owned = owners.iter().enumerate().map(|(number, owner)| {
            let mut lease = Lease::new(format!("s{number}"), Checkpoint::TrimHorizon);
            lease.owner = Some((*owner).into());
            lease.counter = counter;
            lease
        });
        owned.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_renews_lives_who_does_not_is_expired_after_the_fail_over_time_and_nothing_moves_before() {
        let mut forecast = Forecast::new(&FleetOptions::default());
        for (second, counter) in [(0, 1), (4, 2), (8, 3), (11, 4)] {
            let mut all = leases(counter, &["a", "a", "a", "a"]);
            all.extend(leases(7, &["dead"]).into_iter().map(|mut lease| {
                lease.key = "x".into();
                lease
            }));
            let mut idle = worker("b");
            idle.report_number = counter;
            forecast.observe(&TableSnapshot::new(all, vec![worker("a"), idle]), NOW + second);
            if second == 0 {
                assert!(forecast.plan().is_empty(), "{:?}", forecast.plan());
            }
            let step = if second == 8 { 3 } else { 4 };
            tokio::time::sleep(Duration::from_secs(step)).await;
        }
        let standing: Vec<_> = forecast.leases().iter().map(|it| it.standing).collect();
        assert_eq!(standing[..4], [Standing::Live; 4]);
        assert_eq!(standing[4], Standing::Expired);
        assert!(
            forecast
                .workers()
                .iter()
                .all(|it| it.is_eligible && !it.is_overdue)
        );
        let moves = forecast.plan();
        let to_b = moves.iter().filter(|it| it.to == Some("b".into())).count();
        assert_eq!((moves.len(), to_b), (2, 2), "{moves:?}");
        assert_eq!(moves[0].change, LeaseChange::Assign { to: "b".into() });
    }
}
