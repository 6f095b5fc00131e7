//! How busy each worker is, and what a lease adds to that.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::view::{FleetView, LeaseState, LeaseView};
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::Lease;

/// A worker is this far above the mean, as a part of it, before it gives leases away; the Java KCL's default
/// `reBalanceThresholdPercentage`.
const TOLERANCE: f64 = 0.10;
/// Of what workers report, smaller differences in percentage points are noise.
const NOISE: f64 = 5.0;

/// A fleet has much to do when its busiest worker is at this percentage,
const BUSY_PERCENT: f64 = 30.0;
/// or has leases with so many KB/s: what may be written to one shard.
const BUSY_KBPS: f64 = 1024.0;

/// The eligible workers' loads by each measure, and estimates of what a lease adds.
pub(super) struct Loads {
    measures: Vec<Measure>,
    /// Throughputs that are known, in KB/s.
    known_kbps: BTreeMap<LeaseKey, f64>,
    /// Throughput of leases that have none.
    average_kbps: f64,
}

/// A worker above its operating range is loaded more than any that is not.
pub(super) struct Fullness {
    is_above_range: bool,
    /// Its load as a multiple of the mean, by the measure by which that is largest.
    multiple: f64,
}

impl Fullness {
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let by_range = self.is_above_range.cmp(&other.is_above_range);
        by_range.then(self.multiple.total_cmp(&other.multiple))
    }
}

/// One measure of all eligible workers, in percent or in KB/s.
pub(super) struct Measure {
    workers: BTreeMap<WorkerId, Worker>,
    pub(super) mean: f64,
    per_kbps: f64,
    per_lease: f64,
    noise: f64,
    busy_at: f64,
}

#[derive(Clone, Copy)]
struct Worker {
    value: f64,
    max: f64,
}

impl Loads {
    /// By what every eligible worker reports; `None` if there is no metric that all of them have. One that has only just joined
    /// and has not measured yet is taken to be as busy as its leases make an average worker: neither idle, nor full.
    ///
    /// A lease adds as much as it has of the fleet's throughput; if no throughput is known, all leases add the same. What
    /// has changed hands since the reports is taken into account.
    pub(super) fn reported(view: &FleetView, report_interval: Duration) -> Option<Self> {
        let eligible: Vec<_> = view.workers.iter().filter(|worker| worker.eligible).collect();
        let measured = eligible.iter().filter(|worker| !worker.is_unmeasured);
        let unmeasured = eligible.iter().filter(|worker| worker.is_unmeasured);
        let unmeasured: BTreeSet<&WorkerId> = unmeasured.map(|worker| &worker.id).collect();
        let names = measured.clone().next()?.metrics.keys();
        let common: Vec<_> = names
            .filter(|name| measured.clone().all(|worker| worker.metrics.contains_key(*name)))
            .collect();
        if common.is_empty() {
            return None;
        }
        let average_kbps = average_kbps(view);
        let per_worker = ratio(open(view).count(), eligible.len());
        let measures = common.into_iter().map(|name| {
            let reports = measured.clone().filter_map(|worker| {
                let metric = worker.metrics.get(name)?;
                let worker_now = Worker {
                    value: metric.utilization(),
                    max: metric.max_utilization,
                };
                Some((worker.id.clone(), worker_now))
            });
            let mut workers: BTreeMap<_, _> = reports.collect();
            let mean = mean(&workers);
            let unknown = Worker {
                value: 0.0,
                max: workers.values().map(|worker| worker.max).fold(100.0, f64::min),
            };
            for worker in &unmeasured {
                workers.insert((*worker).clone(), unknown);
            }
            let target_kbps = average_kbps * per_worker;
            Measure {
                workers,
                mean,
                per_kbps: if target_kbps > 0.0 {
                    mean / target_kbps
                } else {
                    0.0
                },
                per_lease: mean / per_worker.floor().max(1.0),
                noise: NOISE,
                busy_at: BUSY_PERCENT,
            }
        });
        let mut loads = Self {
            measures: measures.collect(),
            known_kbps: known_kbps(view),
            average_kbps,
        };
        for lease in open(view) {
            loads.catch_up(lease, report_interval, &unmeasured);
        }
        Some(loads)
    }

    /// By the throughput of each worker's leases.
    pub(super) fn throughput(view: &FleetView) -> Option<Self> {
        let eligible = view.workers.iter().filter(|worker| worker.eligible);
        let nothing = Worker {
            value: 0.0,
            max: f64::INFINITY,
        };
        let workers: BTreeMap<_, _> = eligible.map(|worker| (worker.id.clone(), nothing)).collect();
        if workers.is_empty() {
            return None;
        }
        let average_kbps = average_kbps(view);
        let mut loads = Self {
            measures: vec![Measure {
                mean: average_kbps * ratio(open(view).count(), workers.len()),
                workers,
                per_kbps: 1.0,
                per_lease: 0.0,
                noise: 0.0,
                busy_at: BUSY_KBPS,
            }],
            known_kbps: known_kbps(view),
            average_kbps,
        };
        for view in open(view).filter(|view| is_served(view)) {
            if let Some(owner) = &view.lease.owner {
                loads.add(owner, &view.lease);
            }
        }
        Some(loads)
    }

    /// What is not in the reports yet: a lease that came, or went, in one of the last report periods.
    fn catch_up(&mut self, view: &LeaseView, report_interval: Duration, unmeasured: &BTreeSet<&WorkerId>) {
        let left = view.moved.as_ref().and_then(|moved| moved.from.as_ref());
        let (from, missing) = match (&view.state, &view.moved) {
            (LeaseState::HandOff { .. }, _) => (view.lease.checkpoint_owner.as_ref(), 1.0),
            (LeaseState::Live, Some(moved)) => {
                // Each new report makes up half of the average.
                let reports = moved.ago.as_secs_f64() / report_interval.as_secs_f64().max(f64::MIN_POSITIVE);
                (left, 0.5_f64.powf(reports.floor()))
            }
            (LeaseState::Live, None) => (None, 0.0),
            _ => return,
        };
        if let Some(owner) = view.lease.owner.as_ref().filter(|owner| Some(*owner) != from) {
            let is_unmeasured = unmeasured.contains(owner);
            self.change(owner, &view.lease, if is_unmeasured { 1.0 } else { missing });
            if let Some(from) = from {
                self.change(from, &view.lease, -missing);
            }
        }
    }

    pub(super) fn add(&mut self, worker: &WorkerId, lease: &Lease) {
        self.change(worker, lease, 1.0);
    }

    pub(super) fn remove(&mut self, worker: &WorkerId, lease: &Lease) {
        self.change(worker, lease, -1.0);
    }

    fn change(&mut self, worker: &WorkerId, lease: &Lease, part: f64) {
        let kbps = self.kbps(lease);
        for measure in &mut self.measures {
            let weight = measure.weight(kbps);
            if let Some(worker) = measure.workers.get_mut(worker) {
                worker.value = (worker.value + part * weight).max(0.0);
            }
        }
    }

    /// Throughput of a lease in KB/s, the average if it is not known.
    pub(super) fn kbps(&self, lease: &Lease) -> f64 {
        let known = self.known_kbps.get(&lease.key).copied();
        known.unwrap_or(self.average_kbps)
    }

    /// The load of the busiest worker; 1 is much to do.
    pub(super) fn busyness(&self) -> f64 {
        let each = self.measures.iter().flat_map(|measure| {
            let workers = measure.workers.values();
            workers.map(|worker| worker.value / measure.busy_at)
        });
        each.fold(0.0, f64::max)
    }

    /// How loaded a worker is compared with the others.
    pub(super) fn fullness(&self, worker: &WorkerId) -> Fullness {
        let mut full = Fullness {
            is_above_range: false,
            multiple: 0.0,
        };
        for measure in &self.measures {
            if let Some(now) = measure.workers.get(worker).filter(|now| now.value > 0.0) {
                full.is_above_range |= now.value > now.max;
                full.multiple = full.multiple.max(now.value / measure.mean);
            }
        }
        full
    }

    /// Whether a worker stays below the mean, and within its operating range, if it gets a lease.
    pub(super) fn fits(&self, worker: &WorkerId, lease: &Lease) -> bool {
        let kbps = self.kbps(lease);
        self.measures.iter().all(|measure| {
            let now = measure.workers.get(worker);
            now.is_some_and(|now| {
                let then = now.value + measure.weight(kbps);
                then <= measure.mean * (1.0 + 1e-9) && then <= now.max
            })
        })
    }

    /// Whether a worker should rather give leases away, by any measure.
    pub(super) fn is_hot(&self, worker: &WorkerId) -> bool {
        self.measures.iter().any(|measure| measure.is_hot(worker))
    }

    /// Whether a worker could well do more, by every measure.
    pub(super) fn is_cold(&self, worker: &WorkerId) -> bool {
        self.measures.iter().all(|measure| {
            let now = measure.workers.get(worker);
            now.is_some_and(|now| measure.is_cold(now))
        })
    }

    /// Whether a worker stays above the mean, by any measure, without a lease.
    pub(super) fn is_loaded_without(&self, worker: &WorkerId, lease: &Lease) -> bool {
        let kbps = self.kbps(lease);
        self.measures.iter().any(|measure| {
            let now = measure.workers.get(worker);
            now.is_some_and(|now| now.value - measure.weight(kbps) > measure.mean)
        })
    }

    pub(super) fn measures(&self) -> &[Measure] {
        &self.measures
    }
}

impl Measure {
    fn weight(&self, kbps: f64) -> f64 {
        if self.per_kbps > 0.0 {
            kbps * self.per_kbps
        } else {
            self.per_lease
        }
    }

    fn band(&self) -> f64 {
        (self.mean * TOLERANCE).max(self.noise)
    }

    fn is_hot(&self, worker: &WorkerId) -> bool {
        let now = self.workers.get(worker);
        now.is_some_and(|now| now.value > self.mean + self.band() || now.value > now.max)
    }

    fn is_cold(&self, now: &Worker) -> bool {
        now.value < self.mean - self.band()
    }

    /// The workers that are to give leases away: the hot ones; if none is hot but one is cold, the most loaded. Each with
    /// the part of its load that is above the mean.
    pub(super) fn donors(&self) -> Vec<(&WorkerId, f64)> {
        let excess = |now: &Worker| {
            if now.value > 0.0 {
                1.0 - self.mean / now.value
            } else {
                0.0
            }
        };
        let hot = self.workers.iter().filter(|(id, _)| self.is_hot(id));
        let mut donors: Vec<_> = hot.map(|(id, now)| (id, excess(now))).collect();
        if donors.is_empty() && self.workers.values().any(|now| self.is_cold(now)) {
            let most = self
                .workers
                .iter()
                .max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value));
            donors.extend(most.map(|(id, now)| (id, excess(now))));
        }
        donors.retain(|(_, excess)| *excess > 0.0);
        donors
    }
}

fn open(view: &FleetView) -> impl Iterator<Item = &LeaseView> {
    view.leases.iter().filter(|view| view.state != LeaseState::Ended)
}

/// Somebody lives who processes it.
pub(super) fn is_served(view: &LeaseView) -> bool {
    matches!(view.state, LeaseState::Live | LeaseState::HandOff { .. })
}

fn known_kbps(view: &FleetView) -> BTreeMap<LeaseKey, f64> {
    let known = open(view).filter_map(|view| Some((view.lease.key.clone(), view.kbps?)));
    known.collect()
}

fn average_kbps(view: &FleetView) -> f64 {
    let known: Vec<_> = open(view).filter_map(|view| view.kbps).collect();
    known.iter().sum::<f64>() / known.len().max(1) as f64
}

fn mean(workers: &BTreeMap<WorkerId, Worker>) -> f64 {
    workers.values().map(|worker| worker.value).sum::<f64>() / workers.len().max(1) as f64
}

fn ratio(leases: usize, workers: usize) -> f64 {
    leases as f64 / workers.max(1) as f64
}
