//! Writing what a leader planned, and what to do when that fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::options::FleetOptions;
use super::shared::Shared;
use crate::health::{Activity, Health};
use crate::ids::WorkerId;
use crate::keeper::at_once;
use crate::plan::Move;
use crate::store::{LeaseChange, StoreError, WriteOutcome};

pub(super) const MOVING: Activity = Activity {
    code: "moves-failing",
    doing: "writing the leader's assignments",
};

/// Writes the moves of a plan, as many at once as allowed.
pub(super) async fn write_moves(shared: &Shared, planned: Vec<Move>) -> Written {
    let moves = without_departed(shared, planned).await;
    let most = at_once(shared.options.write_concurrency, moves.len());
    let written = Written {
        planned: moves.len(),
        ..Written::default()
    };
    stream::iter(moves)
        .for_each_concurrent(most, |planned| carry_out(shared, planned, &written, most))
        .await;
    written
}

/// Takes hand-offs to workers that have left out of a plan: the scan may show what was true a moment ago. Nothing waits for
/// a hand-off, so it can be planned again.
async fn without_departed(shared: &Shared, mut moves: Vec<Move>) -> Vec<Move> {
    let receiver = |planned: &Move| match &planned.change {
        LeaseChange::BeginHandOff { to } if to != shared.me() => Some(to.clone()),
        _ => None,
    };
    let receivers: BTreeSet<WorkerId> = moves.iter().filter_map(receiver).collect();
    let departed: BTreeSet<WorkerId> = stream::iter(receivers)
        .map(|id| async move { (shared.store.is_announced(&id).await, id) })
        .buffer_unordered(shared.options.write_concurrency)
        .filter_map(|(is_announced, id)| async move { matches!(is_announced, Ok(false)).then_some(id) })
        .collect()
        .await;
    moves.retain(|planned| receiver(planned).is_none_or(|id| !departed.contains(&id)));
    moves
}

/// Writes a move, unless so many of the plan have failed that the others would fail too.
async fn carry_out(shared: &Shared, planned: Move, written: &Written, most: usize) {
    if written.failures() >= most {
        return;
    }
    let key = &planned.lease.key;
    match shared.store.write(&planned.lease, &planned.change).await {
        Ok(WriteOutcome::Applied(row)) => {
            tracing::info!(lease = %key, change = ?planned.change, "leader moves a lease");
            if planned.target() == Some(shared.me()) {
                shared.discover.notify_one();
            } else if let LeaseChange::Assign { to } = &planned.change
                && shared.leaving.is_cancelled()
            {
                // Who died a moment ago looks alive, and the next leader does not know for how long the lease has waited.
                shared.keeper.leave(key, to.clone(), row.counter);
            }
        }
        // The row changed since the scan, or the answer to a first sending was lost: the next scan tells.
        Ok(WriteOutcome::Refused(_)) => tracing::debug!(lease = %key, "a planned move was overtaken"),
        Err(error) => {
            tracing::debug!(lease = %key, %error, "a planned move failed; the next scan plans anew");
            written.fail(error);
        }
    }
}

/// What came of the writes of a plan.
#[derive(Debug, Default)]
pub(super) struct Written {
    planned: usize,
    failed: AtomicUsize,
    /// Why the first one failed that did.
    reason: Mutex<Option<StoreError>>,
}

impl Written {
    fn failures(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    fn fail(&self, error: StoreError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert(error);
    }

    /// One problem, however many writes failed.
    pub(super) fn tell(&self, health: &Health) {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        match &*reason {
            None => health.succeeded(MOVING),
            Some(error) => health.raise(
                MOVING.code,
                format!(
                    "{} fails: of {} at least {} were not written and are planned anew: {error}",
                    MOVING.doing,
                    self.planned,
                    self.failures()
                ),
            ),
        }
    }
}

/// How long a leader waits before it plans again what could not be written.
#[derive(Debug, Default)]
pub(super) struct WritePace {
    failures: u32,
}

impl WritePace {
    /// Longer each time, up to half of the fail-over time; no wait if everything was written.
    pub(super) fn pause_after(&mut self, written: &Written, options: &FleetOptions) -> Option<Duration> {
        if written.failures() == 0 {
            self.failures = 0;
            return None;
        }
        let pause = options.look() * 2_u32.pow(self.failures.min(16));
        self.failures += 1;
        Some(pause.min(options.timers().longest_write_pause().max(options.look())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    #[test]
    fn a_plan_that_cannot_be_written_is_repeated_ever_less_often() {
        let (options, mut pace) = (FleetOptions::default(), WritePace::default());
        let failed = Written::default();
        failed.fail(StoreError::new(
            StoreErrorKind::Throttled,
            "writing",
            "t",
            "slow down",
        ));
        let pauses: Vec<_> = (0..5)
            .filter_map(|_| pace.pause_after(&failed, &options))
            .map(|pause| pause.as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 5, 5], "half of the fail-over time at most");
        assert_eq!(pace.pause_after(&Written::default(), &options), None);
        assert_eq!(pace.pause_after(&failed, &options), Some(Duration::from_secs(1)));
    }
}
