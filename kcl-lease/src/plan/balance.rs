//! Every lease has a live owner, and the work is spread evenly: which rule does that when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::assignment::{Assignment, BalanceLimits};
use super::loads::Loads;
use super::moves::Move;
use super::view::{Claim, FleetView, LeaseState, LeaseView};
use super::{by_load, by_number, rescue};
use crate::lease::Lease;

/// By what a leader spreads the leases over the workers. All workers of an application should agree.
///
/// | | every eligible worker reports a load | otherwise |
/// |---|---|---|
/// | [`Utilization`](Self::Utilization) | by that load | by throughput |
/// | [`Throughput`](Self::Throughput) | by throughput | by throughput |
/// | [`Count`](Self::Count) | by count | by count |
///
/// As long as a fleet has little to do, it is balanced **by count** in any case: no worker has two leases more than
/// another, and of leases that could move the one moves first that has stayed longest. A fleet has much to do once its
/// busiest worker is at 30 % of a metric, or has leases of 1 MB/s together, until its busiest worker falls below half of that.
///
/// **By load** a lease goes to the worker that is farthest below the mean of the fleet. A worker that is more than 10 % above
/// the mean (of a reported load: and at least 5 percentage points), or above its
/// [`max_utilization`](crate::FleetOptions::max_utilization), gives leases of 60 % of its excess away, to workers that stay
/// below the mean with them. These are the Java KCL's defaults. What is different:
///
/// - It waits for reports that tell of the present leases: nothing is evened out within a minute after a lease changed its
///   owner, and what a lease is likely to need is added to its new owner's load until then.
/// - A lease that came from another worker rests for five minutes, and does not return within an hour to any from which the
///   leader took it because that had too much to do. These times go with the
///   [`report_interval`](crate::FleetOptions::report_interval): they are 2, 10 and 120 of it. A lease that was taken for such a
///   reason rests also when the fleet is balanced by count meanwhile.
/// - A worker that joins gets its share by count at once, unless its machine is busier than the others'. Java takes minutes, and
///   never does it for workers on one machine, whose loads are equal. One that gave its last
///   lease away waits until reports say that it has little to do.
/// - The last lease of a worker is taken only if its machine is busy without it, too.
/// - Workers above their operating range are the last that are given leases without owner, though they are given them if
///   there is nobody else.
///
/// ```
/// use kcl_lease::{Balancing, FleetOptions};
///
/// let mut options = FleetOptions::default();
/// options.balancing = Balancing::Count;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Balancing {
    /// By what the workers report, see [`Load`](crate::Load). Like `WORKER_UTILIZATION_AWARE` of the Java KCL.
    #[default]
    Utilization,
    /// By the leases' throughput. Like `disableWorkerMetrics` of the Java KCL.
    Throughput,
    /// By the number of leases. Like `LEASE_COUNT_BASED` of the Java KCL.
    Count,
}

/// Plans the writes that bring a fleet closer to balance.
#[derive(Debug)]
pub(crate) struct Balancer {
    balancing: Balancing,
    limits: BalanceLimits,
    /// Whether the fleet had much to do when it was last looked at.
    is_busy: bool,
    memory: by_load::Memory,
}

impl Balancer {
    /// A balancer that has seen nothing.
    pub(crate) fn new(balancing: Balancing, limits: BalanceLimits) -> Self {
        Self {
            balancing,
            limits,
            is_busy: false,
            memory: by_load::Memory::default(),
        }
    }

    /// First owners for leases without one, then the end of hand-offs that nobody finishes, then moves from workers that
    /// cannot process what they have, then from workers that have much to workers that have little.
    pub(crate) fn plan(&mut self, view: &FleetView) -> Vec<Move> {
        let loads = self.loads(view);
        let mut assignment = Assignment::of(view, self.limits, loads);
        let mut moves = Vec::new();
        for wanted in [LeaseState::Unowned, LeaseState::Expired] {
            for lease in leases_in(view, wanted) {
                moves.extend(assignment.rehome(lease));
            }
        }
        for view in &view.leases {
            if let LeaseState::HandOff { overdue } = view.state {
                moves.extend(assignment.resolve_hand_off(&view.lease, overdue));
            }
        }
        // Only a processor can finish a hand-off: where there may be none yet, the next scan tells.
        let is_movable = |view: &&LeaseView| view.state == LeaseState::Live && view.claim != Claim::Unknown;
        let mut movable: Vec<_> = view.leases.iter().filter(is_movable).collect();
        let rescues = rescue::rescue(&mut assignment, view, &movable);
        let rescued: BTreeSet<_> = rescues.iter().map(|rescue| &rescue.lease.key).collect();
        movable.retain(|view| !rescued.contains(&view.lease.key));
        moves.extend(rescues);
        self.memory.let_return(&moves);
        let times = by_load::Times::of(self.limits.report_interval);
        if self.is_busy {
            let memory = &mut self.memory;
            by_load::even_out(&mut assignment, view, &movable, times, memory, &mut moves);
        } else {
            self.memory.retain_rested(&mut movable, times);
            let by_count = by_number::even_out(&mut assignment, &movable);
            self.memory.forget_the_relieved();
            self.memory.let_return(&by_count);
            moves.extend(by_count);
        }
        moves
    }

    /// The loads to go by; none if the fleet is balanced by count.
    fn loads(&mut self, view: &FleetView) -> Option<Loads> {
        let loads = match self.balancing {
            Balancing::Utilization => {
                Loads::reported(view, self.limits.report_interval).or_else(|| Loads::throughput(view))
            }
            Balancing::Throughput => Loads::throughput(view),
            Balancing::Count => None,
        };
        let threshold = if self.is_busy { 0.5 } else { 1.0 };
        let loads = loads.filter(|loads| loads.busyness() >= threshold);
        self.is_busy = loads.is_some();
        loads
    }
}

fn leases_in(view: &FleetView, state: LeaseState) -> impl Iterator<Item = &Lease> {
    view.leases
        .iter()
        .filter(move |view| view.state == state)
        .map(|view| &view.lease)
}

#[cfg(test)]
mod tests;
