//! What a worker shows of itself.

use super::Shared;
use crate::status::WorkerStatus;

/// A snapshot of a worker.
pub(super) fn snapshot(shared: &Shared) -> WorkerStatus {
    let fleet = shared.fleet().as_ref().map(kcl_lease::Membership::status);
    let shards = shared.shards();
    WorkerStatus {
        application: shared.application.clone(),
        stream: shared.stream(),
        worker_id: shared.worker_id.to_string(),
        phase: *shared.phase.borrow(),
        is_paused: shared.pauses.borrow().has_all(),
        is_leader: fleet.as_ref().is_some_and(|fleet| fleet.is_leader),
        leader: fleet
            .as_ref()
            .and_then(|fleet| fleet.leader.as_ref().map(ToString::to_string)),
        workers: fleet.as_ref().and_then(|fleet| fleet.workers),
        leases_held: fleet.as_ref().map_or(0, |fleet| fleet.leases_held),
        problems: shared.problems(),
        shards: shards
            .values()
            .map(|(held, monitor)| {
                let checkpoint = held.lease().checkpoint.to_string();
                monitor.status(checkpoint, shared.stalled_after)
            })
            .collect(),
    }
}
