//! Leases that are processed are renewed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lives::Lives;
use super::{Rule, Times};
use crate::history::{Event, Name, What};

pub(super) const RENEWED: &str = "where requests arrive, a worker that can reach the table renews its leases within 0.8 fail-over times, whatever its processors do";

/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct Lease {
    counter: u64,
    renewed_at: Duration,
    /// The process whose processor began last, and when.
    begun: Option<(Name, Duration)>,
    /// Whom the row names, and nobody else.
    owner: Option<String>,
}

#[derive(Debug, Default)]
struct Worker {
    failover: Duration,
    troubles: u32,
    /// As many of them leave its way to the table alone.
    harmless: u32,
    /// When any of that changed.
    changed_at: Duration,
    is_leaving: bool,
}

#[derive(Debug)]
pub(super) struct Renewals {
    is_reliable: bool,
    lives: Lives,
    workers: BTreeMap<Name, Worker>,
    leases: BTreeMap<Name, Lease>,
    looked_at: Duration,
}

impl Renewals {
    pub(super) fn new(_: Times) -> Self {
        Self {
            is_reliable: false,
            lives: Lives::default(),
            workers: BTreeMap::new(),
            leases: BTreeMap::new(),
            looked_at: Duration::ZERO,
        }
    }

    fn worker(&mut self, event: &Event) -> &mut Worker {
        let worker = self.workers.entry(event.who.clone()).or_default();
        worker.changed_at = event.at;
        worker
    }

    fn silent(&self, at: Duration) -> Option<String> {
        self.leases.iter().find_map(|(shard, lease)| {
            let (who, begun_at) = lease.begun.as_ref()?;
            let (life, worker) = (self.lives.of(who)?, self.workers.get(who)?);
            let is_its = lease.owner.as_ref() == Some(&life.id) && !self.lives.is_shared(&life.id);
            let is_well = worker.troubles == worker.harmless && !worker.is_leaving;
            let since = lease.renewed_at.max(*begun_at).max(worker.changed_at);
            let is_late = at - since > worker.failover.mul_f64(0.8);
            (is_its && is_well && is_late).then(|| {
                let seconds = (at - since).as_secs_f64();
                format!("{who} has not renewed {shard} for {seconds:.1} s")
            })
        })
    }
}

impl Rule for Renewals {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        self.lives.see(event);
        match &event.what {
            What::Started { failover, .. } => self.worker(event).failover = *failover,
            What::Stopping { .. } | What::LeavesByItself { .. } => self.worker(event).is_leaving = true,
            What::Impaired => self.worker(event).troubles += 1,
            What::Recovered => {
                let worker = self.worker(event);
                worker.troubles = worker.troubles.saturating_sub(1);
            }
            What::Denied | What::StandsStill => self.worker(event).harmless += 1,
            What::Allowed | What::MovesOn => {
                let worker = self.worker(event);
                worker.harmless = worker.harmless.saturating_sub(1);
            }
            What::Row { shard, row } => {
                let lease = self.leases.entry(shard.clone()).or_default();
                if lease.counter != row.counter {
                    (lease.counter, lease.renewed_at) = (row.counter, event.at);
                }
                let is_settled = row.checkpoint_owner.is_none() && !row.has_ended();
                let owner = row.owner.clone().filter(|_| is_settled);
                if lease.owner != owner {
                    lease.renewed_at = event.at;
                    lease.owner = owner;
                }
            }
            What::RowGone { shard }
            | What::RowDeletedByHand { shard }
            | What::RowDamaged { shard, .. }
            | What::RowMended { shard }
            | What::RowEditedByHand { shard, .. } => {
                self.leases.remove(shard);
            }
            What::Initialized { of } => {
                let lease = self.leases.entry(of.shard.clone()).or_default();
                lease.begun = Some((event.who.clone(), event.at));
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } | What::ShardEnded { of } => {
                let lease = self.leases.entry(of.shard.clone()).or_default();
                lease.begun.take_if(|(who, _)| *who == event.who);
            }
            _ => {}
        }
        if !self.is_reliable || event.at < self.looked_at + PERIOD {
            return None;
        }
        self.looked_at = event.at;
        let seen = self.silent(event.at)?;
        self.leases.clear();
        Some((RENEWED, seen))
    }

    fn no_request_fails(&mut self) {
        self.is_reliable = true;
    }
}
