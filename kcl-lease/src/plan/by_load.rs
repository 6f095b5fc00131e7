//! Balance by load: no worker is far above the mean.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use super::assignment::Assignment;
use super::lease_history::NO_RETURN;
use super::loads::{Loads, is_served};
use super::moves::Move;
use super::view::{FleetView, LeaseState, LeaseView};
use crate::ids::{LeaseKey, WorkerId};

/// The part of its excess that a worker gives away at once; the Java KCL's default `dampeningPercentage`.
const DAMPENING: f64 = 0.6;

/// How long what happened counts, in report intervals; the figures in the docs are for one of 30 s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// After a change of owner the reports tell of the past.
    quiet: Duration,
    /// How long a lease stays with the worker that got it from another one.
    rest: Duration,
    /// How long a lease does not return to a worker that it was taken from.
    no_return: Duration,
}

impl Times {
    pub(super) fn of(report_interval: Duration) -> Self {
        Self {
            quiet: report_interval * 2,
            rest: report_interval * 10,
            no_return: report_interval * NO_RETURN,
        }
    }

    fn is_quiet(self, view: &FleetView) -> bool {
        let mut served = view.leases.iter().filter(|view| is_served(view));
        served.all(|view| view.state == LeaseState::Live && !self.is_new(view))
    }

    /// Its owner's reports do not tell of it yet.
    fn is_new(self, view: &LeaseView) -> bool {
        view.moved.as_ref().is_some_and(|moved| moved.ago < self.quiet)
    }

    fn is_rested(self, view: &LeaseView) -> bool {
        let taken = view.moved.as_ref().filter(|moved| moved.from.is_some());
        taken.is_none_or(|moved| moved.ago >= self.rest)
    }

    fn may_go(self, view: &LeaseView, to: &WorkerId) -> bool {
        view.left.get(to).is_none_or(|ago| *ago >= self.no_return)
    }
}

/// What is remembered from one plan to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Workers that had too much to do and so have nothing any more: they are not new.
    relieved: BTreeSet<WorkerId>,
    /// Leases that were taken from workers because they had too much to do. What moved for another reason, for the sake of
    /// numbers or because it was lost, may return: whether the loads agree is seen later.
    taken: BTreeSet<(LeaseKey, WorkerId)>,
}

impl Memory {
    /// Moves that were planned without a look at what the lease's owner can do: these leases may return to it.
    pub(super) fn let_return(&mut self, moves: &[Move]) {
        for planned in moves {
            if let Some(from) = planned.lease.actual_owner() {
                self.taken.remove(&(planned.lease.key.clone(), from.clone()));
            }
        }
    }

    /// Leaves out what was taken from a worker that had too much to do, and rests: the loads that told of it may be about to
    /// return.
    pub(super) fn retain_rested(&self, movable: &mut Vec<&LeaseView>, times: Times) {
        let taken: BTreeSet<_> = self.taken.iter().map(|(key, _)| key).collect();
        movable.retain(|view| times.is_rested(view) || !taken.contains(&view.lease.key));
    }

    /// When there is little to do nobody is relieved.
    pub(super) fn forget_the_relieved(&mut self) {
        self.relieved.clear();
    }

    fn forget_the_gone(&mut self, view: &FleetView, assignment: &Assignment) {
        self.relieved.retain(|id| assignment.counts.get(id) == Some(&0));
        let keys: BTreeSet<_> = view.leases.iter().map(|view| &view.lease.key).collect();
        let workers: BTreeSet<_> = view.workers.iter().map(|worker| &worker.id).collect();
        self.taken
            .retain(|(key, worker)| keys.contains(key) && workers.contains(worker));
    }
}

/// Moves leases to workers without any, and, when the reports tell of the present, from workers above the mean to workers
/// below it.
pub(super) fn even_out(
    assignment: &mut Assignment,
    view: &FleetView,
    movable: &[&LeaseView],
    times: Times,
    memory: &mut Memory,
    moves: &mut Vec<Move>,
) {
    memory.forget_the_gone(view, assignment);
    let mut plan = Plan {
        assignment,
        movable: movable.to_vec(),
        times,
        memory,
        moves,
    };
    let before = plan.moves.len();
    plan.welcome(view);
    plan.memory.let_return(&plan.moves[before..]);
    if plan.moves.is_empty() && times.is_quiet(view) {
        plan.relieve(view);
    }
}

struct Plan<'a> {
    assignment: &'a mut Assignment,
    /// Leases that are not moved yet.
    movable: Vec<&'a LeaseView>,
    times: Times,
    memory: &'a mut Memory,
    moves: &'a mut Vec<Move>,
}

impl Plan<'_> {
    /// Workers that had nothing a minute ago get their share by count at once, unless their machine is busy anyway. Whether
    /// that is the right part of the load is seen when they report.
    fn welcome(&mut self, view: &FleetView) {
        let total: usize = self.assignment.counts.values().sum();
        let share = (total / self.assignment.counts.len().max(1)).max(1);
        let settled: BTreeSet<_> = view
            .leases
            .iter()
            .filter(|view| is_served(view) && !self.times.is_new(view))
            .filter_map(|view| view.lease.owner.as_ref())
            .collect();
        for newcomer in self.assignment.receivers() {
            let is_idle = self.count(&newcomer) == 0;
            let is_hot = self.loads().is_some_and(|loads| loads.is_hot(&newcomer));
            let is_cold = self.loads().is_some_and(|loads| loads.is_cold(&newcomer));
            let is_relieved =
                self.memory.relieved.contains(&newcomer) && !(is_cold && self.times.is_quiet(view));
            if settled.contains(&newcomer) || is_relieved || (is_idle && is_hot) {
                continue;
            }
            while self.count(&newcomer) < share
                && self.assignment.welcomes(&newcomer)
                && self.welcome_one(&newcomer)
            {}
        }
    }

    /// From the most loaded worker that has more leases, of equally loaded ones from that with most: the largest that fits
    /// below the mean, else the smallest.
    fn welcome_one(&mut self, newcomer: &WorkerId) -> bool {
        let enough = self.count(newcomer) + 1;
        let donors = self
            .assignment
            .counts
            .iter()
            .filter(|(_, count)| **count > enough);
        let mut donors: Vec<_> = donors.collect();
        donors.sort_by(|(a, few), (b, many)| {
            let by_load = self.loads().map_or(Ordering::Equal, |loads| {
                loads.fullness(b).compare(&loads.fullness(a))
            });
            by_load.then(many.cmp(few))
        });
        let donors: Vec<_> = donors.into_iter().map(|(id, _)| id.clone()).collect();
        for donor in donors {
            let leases = self.leases_of(&donor, |view| self.may_go(view, newcomer));
            let fits = |view: &&LeaseView| {
                self.loads()
                    .is_some_and(|loads| loads.fits(newcomer, &view.lease))
            };
            let smallest = leases.last().copied();
            if let Some(view) = leases.iter().copied().find(fits).or(smallest) {
                self.pass(view, &donor, newcomer);
                return true;
            }
        }
        false
    }

    /// Takes from each worker that has too much, and most from those that have most.
    fn relieve(&mut self, view: &FleetView) {
        let Some(loads) = self.loads() else { return };
        let owned_kbps = |worker: &WorkerId| -> f64 {
            let owned = view
                .leases
                .iter()
                .filter(|view| is_served(view) && view.lease.owner.as_ref() == Some(worker));
            owned.map(|view| loads.kbps(&view.lease)).sum()
        };
        let by_measure = loads.measures().iter().map(|measure| {
            let donors = measure.donors().into_iter();
            let donors = donors.map(|(id, excess)| (id.clone(), owned_kbps(id), excess * DAMPENING));
            donors.collect::<Vec<_>>()
        });
        // The measure by which most is to be taken; without any throughput that by which the excess is largest.
        let weight = |donors: &Vec<(WorkerId, f64, f64)>| {
            let taken: f64 = donors.iter().map(|(_, kbps, part)| kbps * part).sum();
            (taken, donors.iter().map(|(_, _, part)| part).sum::<f64>())
        };
        let heaviest = by_measure.max_by(|a, b| {
            let (a, b) = (weight(a), weight(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let mut donors = heaviest.unwrap_or_default();
        donors.sort_by(|a, b| (b.1 * b.2).total_cmp(&(a.1 * a.2)));
        for (donor, kbps, part) in donors {
            self.relieve_one(&donor, kbps, part);
            if self.count(&donor) == 0 {
                self.memory.relieved.insert(donor);
            }
        }
    }

    /// The largest leases that are within what is to be taken; if there are none, the smallest that has any throughput.
    /// Exactly one if the worker has no throughput at all: then nobody knows what a lease is worth.
    fn relieve_one(&mut self, donor: &WorkerId, kbps: f64, part: f64) {
        let mut leases = self.leases_of(donor, |view| self.times.is_rested(view));
        if kbps <= 0.0 {
            leases.iter().any(|view| self.pass_on(view, donor));
            return;
        }
        leases.retain(|view| self.kbps(view) > 0.0);
        let (mut budget, mut is_relieved) = (kbps * part, false);
        for view in &leases {
            let kbps = self.kbps(view);
            if kbps < budget && self.pass_on(view, donor) {
                budget -= kbps;
                is_relieved = true;
            }
        }
        if !is_relieved && let Some(smallest) = leases.last() {
            self.pass_on(smallest, donor);
        }
    }

    /// Gives a lease to the least loaded worker that stays below the mean with it.
    fn pass_on(&mut self, view: &LeaseView, donor: &WorkerId) -> bool {
        // It may be its machine that is busy; a lease that is too much by itself is too much for anybody.
        let is_last = self.count(donor) == 1;
        let keeps = |loads: &Loads| is_last && !loads.is_loaded_without(donor, &view.lease);
        if self.loads().is_some_and(keeps) {
            return false;
        }
        let may_receive = |id: &WorkerId| {
            id != donor
                && self.may_go(view, id)
                && self.loads().is_some_and(|loads| loads.fits(id, &view.lease))
        };
        let Some(to) = self.assignment.receivers().into_iter().find(may_receive) else {
            return false;
        };
        let taken = &mut self.memory.taken;
        taken.insert((view.lease.key.clone(), donor.clone()));
        taken.remove(&(view.lease.key.clone(), to.clone()));
        self.pass(view, donor, &to);
        true
    }

    /// Whether it was not too much for this worker lately, as far as is known, nor anything that it failed with.
    fn may_go(&self, view: &LeaseView, to: &WorkerId) -> bool {
        let taken = (view.lease.key.clone(), to.clone());
        let may_return = !self.memory.taken.contains(&taken) || self.times.may_go(view, to);
        may_return && self.assignment.can_process(to, &view.lease.key)
    }

    fn pass(&mut self, view: &LeaseView, from: &WorkerId, to: &WorkerId) {
        self.assignment.pass(&view.lease, from, to);
        self.movable.retain(|other| other.lease.key != view.lease.key);
        self.moves.push(Move::over(view, to.clone()));
    }

    fn count(&self, worker: &WorkerId) -> usize {
        self.assignment.counts.get(worker).copied().unwrap_or(0)
    }

    fn loads(&self) -> Option<&Loads> {
        self.assignment.loads.as_ref()
    }

    fn kbps(&self, view: &LeaseView) -> f64 {
        self.loads().map_or(0.0, |loads| loads.kbps(&view.lease))
    }
}

impl<'a> Plan<'a> {
    /// A worker's leases, the largest first.
    fn leases_of(&self, worker: &WorkerId, wanted: impl Fn(&LeaseView) -> bool) -> Vec<&'a LeaseView> {
        let owned = self.movable.iter().copied();
        let mut owned: Vec<_> = owned
            .filter(|view| view.lease.owner.as_ref() == Some(worker) && wanted(view))
            .collect();
        owned.sort_by(|a, b| self.kbps(b).total_cmp(&self.kbps(a)));
        owned
    }
}

#[cfg(test)]
mod tests;
