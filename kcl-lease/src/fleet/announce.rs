//! The worker's own row: written at start, kept fresh, deleted when the worker leaves.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep};

use super::shared::Shared;
use crate::health::Activity;
use crate::store::{StoreError, WorkerRow};

const ACTIVITY: Activity = Activity {
    code: "announcement-failing",
    doing: "announcing the worker",
};

pub(super) async fn report(shared: &Shared) -> Result<(), StoreError> {
    let row = WorkerRow {
        id: shared.me().clone(),
        reported_at: shared.epoch_seconds(),
        report_number: shared.reports.fetch_add(1, Ordering::Relaxed) + 1,
        report_period: Some(shared.options.idle_report_period()),
        metrics: shared.meter.report(),
    };
    shared.store.report(&row).await
}

/// Reports often while the worker holds nothing whose renewals would show that it lives, and every report interval otherwise.
/// Ends when the worker leaves, after deleting the row.
pub(super) async fn keep_announced(shared: &Shared) {
    let idle_period = shared.options.idle_report_period();
    let mut reported_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            () = shared.leaving.cancelled() => break,
            () = sleep(idle_period / 4) => {}
        }
        let is_idle = shared.keeper.held().is_empty();
        let busy_period = shared.options.report_interval;
        let period = if is_idle { idle_period } else { busy_period };
        if reported_at.elapsed() + idle_period / 4 < period {
            continue;
        }
        match report(shared).await {
            Ok(()) => {
                reported_at = Instant::now();
                shared.health.succeeded(ACTIVITY);
            }
            Err(error) => shared.health.failed(ACTIVITY, &error),
        }
    }
    if let Err(error) = shared.store.retire(shared.me()).await {
        tracing::warn!(%error, "the row of this leaving worker could not be deleted; the leader may still assign to it");
    }
}
