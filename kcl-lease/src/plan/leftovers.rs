//! Rows of workers that are gone for good.

use std::collections::BTreeSet;

use super::view::FleetView;
use crate::store::{TableSnapshot, WorkerRow};

/// A row that was not written for so long is deleted by the leader, as by the Java KCL: one day, in seconds.
const LONG_AGO: u64 = 24 * 3600;

/// The rows of workers that reported more than a day ago and show no other sign of life. A worker that crashes leaves its
/// row behind, and so does every Java worker; each start under a new name would leave one more to be read with each scan.
pub fn leftovers<'a>(
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
    let is_old = |row: &&WorkerRow| epoch_seconds.saturating_sub(row.reported_at) > LONG_AGO;
    snapshot
        .workers
        .iter()
        .filter(is_old)
        .filter(|row| !alive.contains(&row.id))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plan::WorkerView;

    const NOW: u64 = 1_800_000_000;

    fn left_over(age: u64, eligible: bool) -> bool {
        let row = WorkerRow::new("w", NOW - age);
        let snapshot = TableSnapshot {
            workers: vec![row],
            ..TableSnapshot::default()
        };
        let view = FleetView {
            workers: vec![WorkerView {
                id: "w".into(),
                eligible,
                overdue: false,
                metrics: BTreeMap::new(),
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
}
