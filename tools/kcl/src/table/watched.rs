//! A table that was watched for a while, so that it is known who lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::FleetOptions;
use kcl_lease::{Forecast, JudgedLease, JudgedWorker, LeaseKey, WorkerId};
use tokio::time::sleep;

use super::{Look, Table};
use crate::arguments::Watching;
use crate::failure::Failure;
use crate::screen::{Screen, span};

/// Java workers that do nothing show themselves by a report every 30 s, and by nothing else.
const JAVA_REPORTS: Duration = Duration::from_secs(60);
/// What a scan and its answer may take.
const MARGIN: Duration = Duration::from_secs(1);
/// Scans within a fail-over time: healthy owners renew between any two of them.
const PARTS: u32 = 3;

/// A table that was watched, its last look, and what was seen to change.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) last: Look,
    pub(crate) forecast: Forecast,
    pub(crate) evidence: Evidence,
    pub(crate) watched_for: Duration,
}

impl Watched {
    pub(crate) fn judged(&self, key: &LeaseKey) -> Option<JudgedLease> {
        let all = self.forecast.leases();
        all.into_iter().find(|judged| judged.key == *key)
    }

    pub(crate) fn judged_worker(&self, id: &WorkerId) -> Option<JudgedWorker> {
        let all = self.forecast.workers();
        all.into_iter().find(|judged| judged.id == *id)
    }
}

/// What shows that somebody is at work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// A sentence for each worker that lives.
    pub(crate) living: BTreeMap<WorkerId, String>,
    /// Leases that were written to by nobody that can be named.
    pub(crate) written: BTreeSet<LeaseKey>,
    /// The leader's lock was refreshed.
    pub(crate) lock_moved: bool,
}

impl Evidence {
    /// Takes in what changed from one look to the next.
    pub(crate) fn compare(&mut self, before: &Look, now: &Look) {
        let mut lives = |id: &WorkerId, how: String| {
            self.living.entry(id.clone()).or_insert(how);
        };
        for lease in &now.snapshot.leases {
            let moved = before
                .lease(&lease.key)
                .is_none_or(|before| before.counter != lease.counter);
            match lease.actual_owner() {
                _ if !moved => {}
                Some(owner) => lives(owner, format!("it wrote to the lease of {}", lease.key)),
                None => {
                    self.written.insert(lease.key.clone());
                }
            }
        }
        for row in &now.snapshot.workers {
            let report = |row: &kcl_lease::WorkerRow| (row.reported_at, row.report_number);
            if before.worker(&row.id).map(report) != Some(report(row)) {
                lives(&row.id, "it reported".to_owned());
            }
        }
        let version = |look: &Look| {
            let lock = look.lock.as_ref().ok().and_then(Option::as_ref);
            lock.map(|lock| lock.version.clone())
        };
        if version(now).is_some() && version(before) != version(now) {
            self.lock_moved = true;
            if let Some(leader) = now.leader() {
                lives(leader, "it refreshed the leader's lock".to_owned());
            }
        }
    }

    /// Takes in what a single look shows: Java workers report seldom.
    pub(crate) fn judge_reports(&mut self, now: &Look) {
        let seconds = now.epoch_seconds();
        for row in &now.snapshot.workers {
            let age = seconds.abs_diff(row.reported_at);
            if row.report_period.is_none() && age <= JAVA_REPORTS.as_secs() {
                let how = format!("it is a Java worker, and reported {age} s ago");
                self.living.entry(row.id.clone()).or_insert(how);
            }
        }
    }

    /// Whether nobody is at work.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The options of the fleet, as far as the rows and the arguments tell them.
pub(crate) fn options_of(look: &Look, watching: &Watching) -> FleetOptions {
    let told = look.snapshot.workers.iter().filter_map(|row| row.failover_time);
    let default = FleetOptions::default();
    let failover_time = watching.failover_time.or_else(|| told.max());
    let mut options = FleetOptions::with_failover_time(failover_time.unwrap_or(default.failover_time));
    if let Some(balancing) = watching.balancing {
        options.balancing = balancing;
    }
    options.max_leases = watching.max_leases;
    options
}

/// Watches a table until it is known who lives.
pub(crate) async fn watch(
    table: &Table,
    watching: &Watching,
    screen: &mut Screen<'_>,
) -> Result<Watched, Failure> {
    let mut last = table.look().await?;
    let options = options_of(&last, watching);
    let mut forecast = Forecast::new(&options);
    forecast.observe(&last.snapshot, last.epoch_seconds());
    let mut evidence = Evidence::default();
    let is_empty = last.snapshot.leases.is_empty() && last.snapshot.workers.is_empty();
    let total = watching.watch_for.unwrap_or(match is_empty {
        // There is nobody to watch.
        true => Duration::ZERO,
        false => options.failover_time + MARGIN,
    });
    if !total.is_zero() {
        screen.remark(format!("watching the table for {} ...", span(total)))?;
        for _ in 0..PARTS {
            sleep(total / PARTS).await;
            let now = table.look().await?;
            forecast.observe(&now.snapshot, now.epoch_seconds());
            evidence.compare(&last, &now);
            last = now;
        }
    }
    evidence.judge_reports(&last);
    Ok(Watched {
        last,
        forecast,
        evidence,
        watched_for: total,
    })
}
