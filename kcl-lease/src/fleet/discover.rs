//! Finding the leases that are this worker's: the leader assigned them, or it created them itself.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::announce;
use super::scan_pace::ScanPace;
use super::shared::Shared;
use crate::health::Activity;
use crate::ids::{LeaseKey, WorkerId};
use crate::keeper::{Acquisition, at_once};
use crate::metrics::{Counter, Labels};
use crate::store::{StoreError, StoreErrorKind, TableSnapshot};

const ACTIVITY: Activity = Activity {
    code: "discovery-failing",
    doing: "looking for assigned leases",
};
/// Assignments are found all the same.
const BY_INDEX: Activity = Activity {
    code: "owner-index-failing",
    doing: "looking for assigned leases by the owner index (they are found by scans of the table meanwhile)",
};

/// The scan's way to the assignments, for as long as the index cannot be used.
#[derive(Debug)]
struct Detour {
    pace: ScanPace,
    due: Instant,
    /// What the last scan found that was not held then.
    assigned: Vec<LeaseKey>,
}

impl Default for Detour {
    fn default() -> Self {
        Self {
            pace: ScanPace::default(),
            due: Instant::now(),
            assigned: Vec::new(),
        }
    }
}

/// Looks through the owner index at each interval, and at once when woken. Ends when the worker leaves.
pub(super) async fn keep_discovering(shared: &Shared) {
    let mut detour = Detour::default();
    loop {
        let result = tokio::select! {
            biased;
            () = shared.leaving.cancelled() => return,
            result = discover(shared, &mut detour) => result,
        };
        match result {
            Ok(()) => shared.health.succeeded(ACTIVITY),
            Err(error) => shared.health.failed(ACTIVITY, &error),
        }
        tokio::select! {
            biased;
            () = shared.leaving.cancelled() => return,
            () = shared.discover.notified() => {}
            () = sleep(shared.env.jittered(shared.options.look(), 0.1)) => {}
        }
    }
}

async fn discover(shared: &Shared, detour: &mut Detour) -> Result<(), StoreError> {
    let assigned = match shared.store.assigned_to(shared.me()).await {
        Ok(assigned) => {
            shared.health.succeeded(BY_INDEX);
            *detour = Detour::default();
            assigned
        }
        Err(error) if says_no_index(error.kind()) => {
            let assigned = detour.assigned(shared).await?;
            shared.health.failed(BY_INDEX, &error);
            assigned
        }
        Err(error) => return Err(error),
    };
    let is_new = |key: &LeaseKey| !shared.keeper.holds(key);
    // The index need not show yet what was created a moment ago.
    let mut mine: BTreeSet<_> = shared.created().iter().cloned().collect();
    mine.extend(assigned);
    let new: Vec<_> = mine.into_iter().filter(is_new).collect();
    let most = at_once(shared.options.write_concurrency, new.len());
    let attempts = stream::iter(new)
        .map(|key| acquire(shared, key))
        .buffer_unordered(most);
    let mut first_error = None;
    let mut attempts = std::pin::pin!(attempts);
    while let Some(result) = attempts.next().await {
        if let Err(error) = result {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

/// Whether the index is missing, being built, or closed to this worker, while the table itself may be well. DynamoDB says of
/// the first that there is no such table or that the request is not valid, of the second that it is not.
fn says_no_index(kind: StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::TableMissing | StoreErrorKind::Invalid | StoreErrorKind::AccessDenied
    )
}

impl Detour {
    /// The leases of this worker by a scan, as often as the read budget allows if all workers do the same; between two scans
    /// what the last one found. A leader scans anyway.
    async fn assigned(&mut self, shared: &Shared) -> Result<Vec<LeaseKey>, StoreError> {
        let seen = shared.table.borrow().clone();
        if let Some(table) = seen {
            return Ok(assigned_in(&table, shared.me()));
        }
        if Instant::now() < self.due {
            return Ok(self.assigned.clone());
        }
        match shared.store.scan().await {
            Ok(table) => {
                let interval =
                    self.pace
                        .after_success(&shared.options, table.read_units, table.workers.len());
                self.due = Instant::now() + interval;
                self.assigned = assigned_in(&table, shared.me());
                self.assigned.retain(|key| !shared.keeper.holds(key));
                Ok(self.assigned.clone())
            }
            Err(error) => {
                self.due = Instant::now() + self.pace.after_failure(&shared.options, error.kind());
                Err(error)
            }
        }
    }
}

fn assigned_in(table: &TableSnapshot, me: &WorkerId) -> Vec<LeaseKey> {
    let mine = table
        .leases
        .iter()
        .filter(|lease| lease.owner.as_ref() == Some(me));
    mine.map(|lease| lease.key.clone()).collect()
}

/// The leases of this worker now, once.
pub(super) async fn assigned_now(shared: &Shared) -> Result<Vec<LeaseKey>, StoreError> {
    match shared.store.assigned_to(shared.me()).await {
        Err(error) if says_no_index(error.kind()) => {
            Ok(assigned_in(&shared.store.scan().await?, shared.me()))
        }
        assigned => assigned,
    }
}

async fn acquire(shared: &Shared, key: LeaseKey) -> Result<(), StoreError> {
    let mut acquisition = shared.keeper.acquire(&key, false).await?;
    if matches!(acquisition, Acquisition::OfANamesake) {
        // Its process before a restart, as a rule. But it may be that this one was replaced, and does not know yet.
        if !announce::report(shared).await? {
            return Ok(());
        }
        acquisition = shared.keeper.acquire(&key, true).await?;
    }
    if let Acquisition::Held(held) = acquisition {
        tracing::debug!(lease = %key, token = %held.fencing_token(), "lease acquired");
        let labels = Labels::of_shard(key.as_str());
        shared.options.metrics.add(Counter::LeasesAcquired, labels, 1);
        // Nobody listens only when the fleet is being dropped.
        let _ = shared.acquired.send(held);
    }
    shared.created().remove(&key);
    Ok(())
}
