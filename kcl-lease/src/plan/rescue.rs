//! Leases leave workers that cannot process them.

use std::collections::BTreeMap;

use super::assignment::Assignment;
use super::moves::Move;
use super::view::{FleetView, LeaseView};
use crate::ids::{LeaseKey, WorkerId};
use crate::trouble::Condition;

/// What fails at so many workers is the fault of none of them, and stays where it is.
const PROOF: usize = 2;

/// Hands leases that their owners say they fail with, and all of an unfit worker, to workers that are well and have not
/// failed with them. If there is none, everybody keeps what they have.
pub(super) fn rescue(assignment: &mut Assignment, view: &FleetView, movable: &[&LeaseView]) -> Vec<Move> {
    let conditions: BTreeMap<&WorkerId, Condition> = view
        .workers
        .iter()
        .map(|worker| (&worker.id, worker.trouble.condition))
        .collect();
    let mut failed_at: BTreeMap<&LeaseKey, usize> = BTreeMap::new();
    for key in view.workers.iter().flat_map(|worker| &worker.trouble.failing) {
        *failed_at.entry(key).or_default() += 1;
    }
    let mut moves = Vec::new();
    for view in movable {
        let (key, Some(owner)) = (&view.lease.key, &view.lease.owner) else {
            continue;
        };
        let is_to_go = match conditions.get(owner) {
            Some(Condition::Unfit) => true,
            // It may be that all of them fail.
            Some(Condition::Ailing) => continue,
            Some(Condition::OnTrial) => assignment.counts.get(owner).is_some_and(|count| *count > 1),
            _ => false,
        };
        let is_proved = failed_at.get(key).is_some_and(|workers| *workers >= PROOF);
        if is_proved || !is_to_go && assignment.can_process(owner, key) {
            continue;
        }
        if let Some(to) = assignment.rescuer(owner, key) {
            assignment.pass(&view.lease, owner, &to);
            moves.push(Move::over(view, to));
        }
    }
    moves
}
