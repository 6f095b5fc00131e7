//! Finding the leases that are this worker's: the leader assigned them, or it created them itself.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::announce;
use super::shared::Shared;
use crate::health::Activity;
use crate::ids::LeaseKey;
use crate::keeper::{Acquisition, at_once};
use crate::store::StoreError;

const ACTIVITY: Activity = Activity {
    code: "discovery-failing",
    doing: "looking for assigned leases",
};

/// Looks through the owner index at each interval, and at once when woken. Ends when the worker leaves.
pub(super) async fn keep_discovering(shared: &Shared) {
    loop {
        let result = tokio::select! {
            biased;
            () = shared.leaving.cancelled() => return,
            result = discover(shared) => result,
        };
        match result {
            Ok(()) => shared.health.succeeded(ACTIVITY),
            Err(error) => shared.health.failed(ACTIVITY, &error),
        }
        tokio::select! {
            biased;
            () = shared.leaving.cancelled() => return,
            () = shared.discover.notified() => {}
            () = sleep(shared.env.jittered(shared.options.discovery_interval, 0.1)) => {}
        }
    }
}

async fn discover(shared: &Shared) -> Result<(), StoreError> {
    let assigned = shared.store.assigned_to(shared.me()).await?;
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
        // Nobody listens only when the fleet is being dropped.
        let _ = shared.acquired.send(held);
    }
    shared.created().remove(&key);
    Ok(())
}
