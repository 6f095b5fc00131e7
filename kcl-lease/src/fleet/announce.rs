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

fn row(shared: &Shared) -> WorkerRow {
    WorkerRow {
        id: shared.me().clone(),
        reported_at: shared.epoch_seconds(),
        process: Some(shared.process.clone()),
        failover_time: Some(shared.options.failover_time),
        report_number: shared.reports.fetch_add(1, Ordering::Relaxed) + 1,
        report_period: Some(shared.options.idle_report_period()),
        metrics: shared.meter.report(),
    }
}

/// The first report: from now on the worker's name is this process's.
pub(super) async fn announce(shared: &Shared) -> Result<(), StoreError> {
    shared.store.announce(&row(shared)).await
}

/// A report; false if another process has taken the worker's name meanwhile.
pub(super) async fn report(shared: &Shared) -> Result<bool, StoreError> {
    let is_ours = shared.store.report(&row(shared)).await?;
    if !is_ours {
        shared.give_way();
    }
    Ok(is_ours)
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
            Ok(_) => {
                reported_at = Instant::now();
                shared.health.succeeded(ACTIVITY);
            }
            Err(error) => shared.health.failed(ACTIVITY, &error),
        }
    }
    match shared.store.retire(shared.me(), &shared.process).await {
        Ok(true) => {}
        Ok(false) => shared.give_way(),
        Err(error) => {
            tracing::warn!(%error, "the row of this leaving worker could not be deleted; the leader may still assign to it");
        }
    }
}
