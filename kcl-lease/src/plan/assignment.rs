//! Who has how much, while a plan is made.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::loads::{Fullness, Loads};
use super::moves::Move;
use super::view::{FleetView, LeaseState};
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::Lease;
use crate::store::LeaseChange;
use crate::trouble::{Condition, Trouble};

/// Bounds of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BalanceLimits {
    /// No worker is given more leases than this.
    pub(crate) max_leases: usize,
    /// How often workers tell how busy they are.
    pub(crate) report_interval: Duration,
}

/// Leases per eligible worker, those on their way to it included.
pub(super) struct Assignment {
    pub(super) counts: BTreeMap<WorkerId, usize>,
    /// Workers that are given nothing at present.
    overdue: BTreeSet<WorkerId>,
    /// There may be workers that have had no time yet to show that they live.
    awaits_others: bool,
    /// What workers say of their work, if it is not well.
    troubles: BTreeMap<WorkerId, Trouble>,
    max_leases: usize,
    /// What decides; the counts, if absent.
    pub(super) loads: Option<Loads>,
}

impl Assignment {
    pub(super) fn of(view: &FleetView, limits: BalanceLimits, loads: Option<Loads>) -> Self {
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
        let troubled = view.workers.iter().filter(|worker| !worker.trouble.is_none());
        Self {
            counts,
            overdue: overdue.map(|worker| worker.id.clone()).collect(),
            awaits_others: view.workers.iter().any(|worker| worker.is_unheard),
            troubles: troubled
                .map(|worker| (worker.id.clone(), worker.trouble.clone()))
                .collect(),
            max_leases: limits.max_leases,
            loads,
        }
    }

    /// A new owner for a lease that nobody processes.
    ///
    /// A scan may show what was true a moment ago, so the row must still be as it was judged.
    pub(super) fn rehome(&mut self, lease: &Lease) -> Option<Move> {
        // Its processor is dead; whoever was to follow it should, if it can.
        let next = lease
            .owner
            .clone()
            .filter(|owner| lease.is_in_hand_off() && self.receives(owner));
        let to = next
            .or_else(|| self.least_loaded(lease.actual_owner()))
            // Its processor has lost it, and may live all the same: it does not take back by itself what is to go to another.
            .or_else(|| self.least_loaded(None).filter(|_| lease.is_in_hand_off()))?;
        self.add(&to, lease);
        Some(Move {
            lease: lease.clone(),
            change: LeaseChange::Assign { to },
        })
    }

    /// A hand-off that nobody will finish is finished here; one whose next owner is gone goes back to its processor,
    /// for only that one knows when it has stopped. If that one is silent too, its lease is about to expire: a write would
    /// only delay it.
    pub(super) fn resolve_hand_off(&mut self, lease: &Lease, overdue: bool) -> Option<Move> {
        let next = lease.owner.as_ref()?;
        let next_is_eligible = self.counts.contains_key(next);
        let processor = lease.checkpoint_owner.as_ref();
        let change = match (next_is_eligible, overdue) {
            (true, false) => return None,
            (true, true) => LeaseChange::Assign { to: next.clone() },
            (false, false) => {
                let processor = processor.filter(|processor| !self.overdue.contains(*processor))?;
                self.add(processor, lease);
                LeaseChange::CancelHandOff
            }
            (false, true) => match self.least_loaded(processor) {
                Some(to) => {
                    self.add(&to, lease);
                    LeaseChange::Assign { to }
                }
                // There is nobody else.
                None => {
                    let processor = processor.filter(|processor| !self.overdue.contains(*processor))?;
                    self.add(processor, lease);
                    LeaseChange::CancelHandOff
                }
            },
        };
        Some(Move {
            lease: lease.clone(),
            change,
        })
    }

    /// Notes that a living owner gives a lease to another worker.
    pub(super) fn pass(&mut self, lease: &Lease, from: &WorkerId, to: &WorkerId) {
        if let Some(count) = self.counts.get_mut(from) {
            *count -= 1;
        }
        if let Some(loads) = &mut self.loads {
            loads.remove(from, lease);
        }
        self.add(to, lease);
    }

    fn add(&mut self, to: &WorkerId, lease: &Lease) {
        if let Some(count) = self.counts.get_mut(to) {
            *count += 1;
        }
        if let Some(loads) = &mut self.loads {
            loads.add(to, lease);
        }
    }

    /// Workers that may be given one more lease for the sake of balance, the least loaded first; of equally loaded ones that
    /// with fewer leases.
    pub(super) fn receivers(&self) -> Vec<WorkerId> {
        let mut receivers: Vec<_> = self.open().filter(|(id, _)| self.welcomes(id)).collect();
        receivers.sort_by(|(_, a), (_, b)| a.compare(b));
        receivers.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Who is to process a lease that its owner cannot process.
    pub(super) fn rescuer(&self, owner: &WorkerId, key: &LeaseKey) -> Option<WorkerId> {
        let receivers = self.receivers().into_iter();
        let mut able = receivers.filter(|id| id != owner && self.can_process(id, key));
        able.next()
    }

    /// Whoever is best off; a worker in trouble only if there is nobody else, which a new leader does not know at first.
    fn least_loaded(&self, except: Option<&WorkerId>) -> Option<WorkerId> {
        let candidates = self.open().filter(|(id, _)| Some(*id) != except);
        let (least, burden) = candidates.min_by(|(_, a), (_, b)| a.compare(b))?;
        (burden.reluctance == 0 || !self.awaits_others).then(|| least.clone())
    }

    fn open(&self) -> impl Iterator<Item = (&WorkerId, Burden)> {
        let open = self
            .counts
            .iter()
            .filter(|(id, count)| !self.overdue.contains(*id) && self.has_room(**count));
        open.map(|(id, count)| {
            let fullness = self.loads.as_ref().map(|loads| loads.fullness(id));
            let burden = Burden {
                reluctance: self.reluctance(id, *count),
                fullness,
                count: *count,
            };
            (id, burden)
        })
    }

    /// Alive and heard of lately, and not in trouble.
    fn receives(&self, worker: &WorkerId) -> bool {
        let is_able = matches!(self.condition(worker), Condition::Well | Condition::OnTrial);
        self.counts.contains_key(worker) && !self.overdue.contains(worker) && is_able
    }

    /// Whether a worker may be given one more lease although somebody else has it.
    pub(super) fn welcomes(&self, worker: &WorkerId) -> bool {
        let count = self.counts.get(worker).copied();
        count.is_some_and(|count| {
            !self.overdue.contains(worker) && self.has_room(count) && self.reluctance(worker, count) == 0
        })
    }

    /// Whether a worker has not failed with a lease lately.
    pub(super) fn can_process(&self, worker: &WorkerId, key: &LeaseKey) -> bool {
        let trouble = self.troubles.get(worker);
        trouble.is_none_or(|trouble| !trouble.failing.contains(key))
    }

    fn condition(&self, worker: &WorkerId) -> Condition {
        let trouble = self.troubles.get(worker);
        trouble.map_or(Condition::Well, |trouble| trouble.condition)
    }

    /// 0 for a worker to which leases may be given, and more the less it should get one. It is tried with one.
    fn reluctance(&self, worker: &WorkerId, count: usize) -> u8 {
        match self.condition(worker) {
            Condition::Well => 0,
            Condition::OnTrial => u8::from(count > 0),
            Condition::Ailing => 1,
            Condition::Unfit => 2,
        }
    }

    /// Whether a worker may be given one more lease, as far as its number of leases goes.
    fn has_room(&self, count: usize) -> bool {
        count < self.max_leases
    }
}

/// What makes a worker a better or a worse receiver.
struct Burden {
    reluctance: u8,
    fullness: Option<Fullness>,
    count: usize,
}

impl Burden {
    fn compare(&self, other: &Self) -> Ordering {
        let by_load = self.fullness.as_ref().zip(other.fullness.as_ref());
        let by_load = by_load.map_or(Ordering::Equal, |(a, b)| a.compare(b));
        let by_trouble = self.reluctance.cmp(&other.reluctance);
        by_trouble.then(by_load).then(self.count.cmp(&other.count))
    }
}
