//! Balance by the number of leases: no worker has two more than another.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::Assignment;
use super::moves::Move;
use super::view::{Claim, LeaseView};
use crate::ids::WorkerId;

/// Moves leases, one at a time, from the worker that has most to the one that has least.
pub(super) fn even_out(assignment: &mut Assignment, movable: &[&LeaseView]) -> Vec<Move> {
    let mut moves = Vec::new();
    let mut held: BTreeMap<&WorkerId, Vec<&LeaseView>> = BTreeMap::new();
    for view in movable {
        if let Some(owner) = &view.lease.owner {
            held.entry(owner).or_default().push(view);
        }
    }
    for leases in held.values_mut() {
        // The last is moved first: what nobody has begun with moves at no cost, and what has just moved is left alone.
        let stays_for = |view: &LeaseView| view.moved.as_ref().map_or(Duration::MAX, |moved| moved.ago);
        leases.sort_by_key(|view| (view.claim == Claim::No, stays_for(view)));
    }
    while let Some((from, at, to)) = next_move(assignment, &held) {
        let Some(leases) = held.get_mut(&from) else { break };
        let view = leases.remove(at);
        assignment.pass(&view.lease, &from, &to);
        moves.push(Move::over(view, to));
    }
    moves
}

/// From whom, which of its leases, and to whom: from the most loaded worker to the least loaded one, or between others whose
/// numbers differ as much as makes it worth it where those two have nothing to pass on.
fn next_move(
    assignment: &Assignment,
    held: &BTreeMap<&WorkerId, Vec<&LeaseView>>,
) -> Option<(WorkerId, usize, WorkerId)> {
    let counts = || assignment.counts.iter();
    let mut receivers: Vec<_> = counts().filter(|(id, _)| assignment.welcomes(id)).collect();
    let mut donors: Vec<_> = counts().collect();
    // Of equally loaded workers the first gives, as the first receives.
    receivers.sort_by_key(|(_, count)| **count);
    donors.sort_by_key(|(_, count)| Reverse(**count));
    receivers.into_iter().find_map(|(to, few)| {
        let donors = donors.iter().take_while(|(_, many)| **many > few + 1);
        donors.into_iter().find_map(|(from, _)| {
            let may_go = |view: &&LeaseView| assignment.can_process(to, &view.lease.key);
            let at = held.get(from)?.iter().rposition(may_go)?;
            Some(((*from).clone(), at, to.clone()))
        })
    })
}
