//! The worker's own row: written at start, kept fresh, deleted when the worker leaves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::declared::LOOKS_PER_REPORT;
use super::shared::Shared;
use crate::health::Activity;
use crate::metrics::{Gauge, Labels};
use crate::store::{StoreError, WorkerRow};

const ACTIVITY: Activity = Activity {
    code: "announcement-failing",
    doing: "announcing the worker",
};

/// The code of the problem that the processors keep their runtime from everything else.
const BLOCKED: &str = "runtime-blocked";

/// How often a leaving worker tries to delete its row, and how long it waits between.
const MAX_ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(250);

fn row(shared: &Shared) -> WorkerRow {
    WorkerRow {
        id: shared.me().clone(),
        reported_at: shared.epoch_seconds(),
        process: Some(shared.process.clone()),
        failover_time: Some(shared.options.failover_time),
        report_number: shared.reports.fetch_add(1, Ordering::Relaxed) + 1,
        report_period: Some(shared.options.timers().idle_report()),
        metrics: shared.meter.report(),
        is_measuring: shared.meter.has_just_begun(),
        trouble: shared.declared.trouble(),
        drained_since: None,
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

/// Reports often while the worker holds nothing whose renewals would show that it lives, and every report interval otherwise;
/// at once when it is first known how busy it is, when its trouble changes, and when it is in doubt whether its name is still its.
/// Ends when the worker leaves, after deleting the row.
pub(super) async fn keep_announced(shared: &Shared) {
    let idle_period = shared.options.timers().idle_report();
    let (mut reported_at, mut told) = (Instant::now(), shared.declared.trouble());
    let mut is_doubted = false;
    loop {
        tokio::select! {
            biased;
            () = shared.leaving.cancelled() => break,
            () = shared.keeper.doubted() => is_doubted = true,
            () = sleep(idle_period / LOOKS_PER_REPORT) => {}
        }
        let (trouble, is_blocked) = shared.declared.look();
        if is_blocked {
            let text = "this worker's processors block the threads of its runtime, so that nothing else gets on: its leases go \
                        to other workers; do blocking work in tokio::task::spawn_blocking";
            shared.health.raise(BLOCKED, text.to_owned());
        } else {
            shared.health.settle(BLOCKED);
        }
        let is_news = is_doubted || trouble != told || shared.meter.is_due();
        let held = shared.keeper.held().len();
        let (metrics, leads) = (&shared.options.metrics, *shared.is_leader.borrow());
        metrics.set(Gauge::LeasesHeld, Labels::NONE, held as f64);
        metrics.set(Gauge::Leads, Labels::NONE, f64::from(u8::from(leads)));
        let is_idle = held == 0;
        let busy_period = shared.options.report_interval;
        let period = if is_idle { idle_period } else { busy_period };
        if !is_news && reported_at.elapsed() + idle_period / LOOKS_PER_REPORT < period {
            continue;
        }
        match report(shared).await {
            Ok(_) => {
                (reported_at, told, is_doubted) = (Instant::now(), trouble, false);
                shared.health.succeeded(ACTIVITY);
            }
            Err(error) => shared.health.failed(ACTIVITY, &error),
        }
    }
    for _ in 0..MAX_ATTEMPTS {
        match shared.store.retire(shared.me(), &shared.process).await {
            Ok(true) => return shared.has_retired.store(true, Ordering::Relaxed),
            Ok(false) => return shared.give_way(),
            Err(error) => {
                tracing::warn!(%error, "the row of this leaving worker could not be deleted; the leader may still assign to it");
            }
        }
        sleep(PAUSE).await;
    }
}
