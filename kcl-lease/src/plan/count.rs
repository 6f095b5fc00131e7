//! Balance by the number of leases: no worker has two more than another.

use std::collections::BTreeMap;
use std::time::Duration;

use super::assignment::Assignment;
use super::balance::Move;
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
    while let Some((from, to)) = uneven_pair(assignment) {
        let may_go = |view: &&LeaseView| assignment.can_process(&to, &view.lease.key);
        let leases = held.get_mut(&from);
        let next = leases.and_then(|leases| Some(leases.remove(leases.iter().rposition(may_go)?)));
        let Some(view) = next else {
            break;
        };
        assignment.pass(&view.lease, &from, &to);
        moves.push(Move::over(view, to));
    }
    moves
}

/// The most and the least loaded worker, if moving a lease between them helps.
fn uneven_pair(assignment: &Assignment) -> Option<(WorkerId, WorkerId)> {
    let receivers = assignment.counts.iter().filter(|(id, _)| assignment.welcomes(id));
    let (to, &least) = receivers.min_by_key(|(_, count)| **count)?;
    // Of equally loaded workers the first gives, as the first receives.
    let (from, &most) = assignment.counts.iter().rev().max_by_key(|(_, count)| **count)?;
    (most > least + 1).then(|| (from.clone(), to.clone()))
}
