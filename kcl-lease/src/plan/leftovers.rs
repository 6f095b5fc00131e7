//! Rows of Java workers that are gone for good.

use std::collections::BTreeSet;

use super::view::FleetView;
use crate::store::{TableSnapshot, WorkerRow};

/// A row that was not written for so long is deleted by the leader, as by the Java KCL: one day, in seconds.
const LONG_AGO: u64 = 24 * 3600;

/// The rows of Java workers that reported more than a day ago and show no other sign of life. Every one leaves its row behind, so
/// that each start under a new name would leave one more to be read with each scan. Our own workers' rows are not judged by the
/// time of day: [`Observer::silent`](super::Observer::silent) tells which of them are gone.
pub(crate) fn leftovers<'a>(
    snapshot: &'a TableSnapshot,
    view: &FleetView,
    epoch_seconds: u64,
) -> Vec<&'a WorkerRow> {
    let alive: BTreeSet<_> = view
        .workers
        .iter()
        .filter(|worker| worker.eligible)
        .map(|worker| &worker.id)
        .collect();
    let is_java = |row: &&WorkerRow| row.report_period.is_none();
    let is_old = |row: &&WorkerRow| epoch_seconds.saturating_sub(row.reported_at) > LONG_AGO;
    snapshot
        .workers
        .iter()
        .filter(is_java)
        .filter(is_old)
        .filter(|row| !alive.contains(&row.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::plan::WorkerView;

    const NOW: u64 = 1_800_000_000;

    fn left_over(age: u64, eligible: bool) -> bool {
        left_over_of(WorkerRow::new("w", NOW - age), eligible)
    }

    fn left_over_of(row: WorkerRow, eligible: bool) -> bool {
        let snapshot = TableSnapshot {
            workers: vec![row],
            ..TableSnapshot::default()
        };
        let view = FleetView {
            workers: vec![WorkerView {
                id: "w".into(),
                eligible,
                overdue: false,
                is_unheard: false,
                metrics: BTreeMap::new(),
                is_unmeasured: false,
                trouble: Default::default(),
            }],
            ..FleetView::default()
        };
        !leftovers(&snapshot, &view, NOW).is_empty()
    }

    #[test]
    fn a_row_is_left_over_after_a_day_unless_its_worker_lives_with_a_wrong_clock() {
        assert!(!left_over(86_400, false));
        assert!(left_over(86_401, false));
        assert!(!left_over(86_401, true));
    }

    #[test]
    fn the_row_of_one_of_ours_is_not_judged_by_a_clock_that_may_differ_from_its_own() {
        let ours = WorkerRow {
            report_period: Some(Duration::from_secs(5)),
            ..WorkerRow::new("w", NOW - 90_000)
        };
        assert!(!left_over_of(ours, false));
    }
}
