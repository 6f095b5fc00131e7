//! Assignment by lease count: every lease has a live owner, and no worker has two more than another.

use std::collections::{BTreeMap, BTreeSet};

use super::observe::{Claim, FleetView, LeaseState, LeaseView};
use crate::ids::WorkerId;
use crate::lease::Lease;
use crate::store::LeaseChange;

/// Bounds of a plan.
#[derive(Debug, Clone, Copy)]
pub struct BalanceLimits {
    /// No worker is given more leases than this.
    pub max_leases: usize,
}

/// One conditional write of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// The row as it was judged.
    pub lease: Lease,
    /// The write.
    pub change: LeaseChange,
}

impl Move {
    /// Who gets the lease.
    pub fn target(&self) -> Option<&WorkerId> {
        match &self.change {
            LeaseChange::Assign { to, .. } | LeaseChange::BeginHandOff { to } => Some(to),
            _ => None,
        }
    }
}

/// The writes that bring the fleet closer to balance: first owners for leases without one, then hand-offs from the
/// workers that hold most to those that hold least.
pub fn plan_moves(view: &FleetView, limits: BalanceLimits) -> Vec<Move> {
    let mut load = Load::of(view, limits);
    let mut moves = Vec::new();
    for wanted in [LeaseState::Unowned, LeaseState::Expired] {
        for lease in leases_in(view, wanted) {
            moves.extend(load.rehome(lease));
        }
    }
    for view in &view.leases {
        if let LeaseState::HandOff { overdue } = view.state {
            moves.extend(load.resolve_hand_off(&view.lease, overdue));
        }
    }
    // Only a processor can finish a hand-off: where there may be none yet, the next scan tells.
    let is_movable = |view: &&LeaseView| view.state == LeaseState::Live && view.claim != Claim::Unknown;
    let live = view.leases.iter().filter(is_movable);
    load.even_out(live, &mut moves);
    moves
}

fn leases_in(view: &FleetView, state: LeaseState) -> impl Iterator<Item = &Lease> {
    view.leases
        .iter()
        .filter(move |view| view.state == state)
        .map(|view| &view.lease)
}

/// Leases per eligible worker, those on their way to it included.
struct Load {
    counts: BTreeMap<WorkerId, usize>,
    /// Workers that are given nothing at present.
    overdue: BTreeSet<WorkerId>,
    max_leases: usize,
}

impl Load {
    fn of(view: &FleetView, limits: BalanceLimits) -> Self {
        let eligible = view.workers.iter().filter(|worker| worker.eligible);
        let mut counts: BTreeMap<_, _> = eligible.map(|worker| (worker.id.clone(), 0)).collect();
        for view in &view.leases {
            if matches!(view.state, LeaseState::Live | LeaseState::HandOff { .. })
                && let Some(count) = view.lease.owner.as_ref().and_then(|owner| counts.get_mut(owner))
            {
                *count += 1;
            }
        }
        let overdue = view.workers.iter().filter(|worker| worker.overdue);
        Self {
            counts,
            overdue: overdue.map(|worker| worker.id.clone()).collect(),
            max_leases: limits.max_leases,
        }
    }

    /// A new owner for a lease that nobody processes.
    ///
    /// A scan may show what was true a moment ago, so the row must still be as it was judged.
    fn rehome(&mut self, lease: &Lease) -> Option<Move> {
        // Its processor is dead; whoever was to follow it should, if it can.
        let next = lease
            .owner
            .clone()
            .filter(|owner| lease.is_in_hand_off() && self.receives(owner));
        let to = next.or_else(|| self.least_loaded(lease.actual_owner()))?;
        self.add(&to);
        Some(Move {
            lease: lease.clone(),
            change: LeaseChange::Assign {
                to,
                unless_renewed: true,
            },
        })
    }

    /// A hand-off that nobody will finish is finished here; one whose next owner is gone goes back to its processor,
    /// for only that one knows when it has stopped.
    fn resolve_hand_off(&mut self, lease: &Lease, overdue: bool) -> Option<Move> {
        let next = lease.owner.as_ref()?;
        let next_is_eligible = self.counts.contains_key(next);
        let to = match (next_is_eligible, overdue) {
            (true, false) => return None,
            (true, true) => next.clone(),
            (false, false) => lease.checkpoint_owner.clone()?,
            (false, true) => self.least_loaded(lease.checkpoint_owner.as_ref())?,
        };
        if !next_is_eligible {
            self.add(&to);
        }
        Some(Move {
            lease: lease.clone(),
            change: LeaseChange::Assign {
                to,
                unless_renewed: false,
            },
        })
    }

    fn even_out<'a>(&mut self, live: impl Iterator<Item = &'a LeaseView>, moves: &mut Vec<Move>) {
        let mut held: BTreeMap<&WorkerId, Vec<&LeaseView>> = BTreeMap::new();
        for view in live {
            if let Some(owner) = &view.lease.owner {
                held.entry(owner).or_default().push(view);
            }
        }
        for leases in held.values_mut() {
            // The last is moved first, and what nobody has begun with moves at no cost.
            leases.sort_by_key(|view| view.claim == Claim::No);
        }
        while let Some((from, to)) = self.uneven_pair() {
            let Some(view) = held.get_mut(&from).and_then(Vec::pop) else {
                break;
            };
            if let Some(count) = self.counts.get_mut(&from) {
                *count -= 1;
            }
            self.add(&to);
            let change = match view.claim {
                Claim::No => LeaseChange::Assign {
                    to,
                    unless_renewed: true,
                },
                _ => LeaseChange::BeginHandOff { to },
            };
            moves.push(Move {
                lease: view.lease.clone(),
                change,
            });
        }
    }

    /// The most and the least loaded worker, if moving a lease between them helps.
    fn uneven_pair(&self) -> Option<(WorkerId, WorkerId)> {
        let receivers = self.counts.iter().filter(|(id, _)| self.receives(id));
        let (to, &least) = receivers.min_by_key(|(_, count)| **count)?;
        // Of equally loaded workers the first gives, as the first receives.
        let (from, &most) = self.counts.iter().rev().max_by_key(|(_, count)| **count)?;
        (most > least + 1 && least < self.max_leases).then(|| (from.clone(), to.clone()))
    }

    fn least_loaded(&self, except: Option<&WorkerId>) -> Option<WorkerId> {
        let candidates = self
            .counts
            .iter()
            .filter(|(id, count)| Some(*id) != except && self.receives(id) && **count < self.max_leases);
        candidates
            .min_by_key(|(_, count)| **count)
            .map(|(id, _)| id.clone())
    }

    fn receives(&self, worker: &WorkerId) -> bool {
        self.counts.contains_key(worker) && !self.overdue.contains(worker)
    }

    fn add(&mut self, to: &WorkerId) {
        if let Some(count) = self.counts.get_mut(to) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests;
