//! Whether the workers of an application agree on their fail-over time. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::view::FleetView;
use crate::ids::WorkerId;
use crate::store::{LeaderLock, TableSnapshot};

/// As many workers are named of each fail-over time.
const NAMED: usize = 3;

/// A sentence about living workers whose fail-over times differ; `None` if they agree. (Those of Java workers are not known.)
pub(crate) fn disagreement(snapshot: &TableSnapshot, view: &FleetView) -> Option<String> {
    let alive: BTreeSet<_> = view
        .workers
        .iter()
        .filter(|worker| worker.eligible)
        .map(|worker| &worker.id)
        .collect();
    let mut by_time: BTreeMap<Duration, Vec<&WorkerId>> = BTreeMap::new();
    for row in snapshot.workers.iter().filter(|row| alive.contains(&row.id)) {
        if let Some(time) = row.failover_time {
            by_time.entry(time).or_default().push(&row.id);
        }
    }
    if by_time.len() < 2 {
        return None;
    }
    let groups: Vec<_> = by_time.iter().map(|(time, ids)| describe(*time, ids)).collect();
    Some(sentence(&groups.join(", ")))
}

/// A sentence about a leader of our kind whose fail-over time is not this worker's, as its lock tells it: the lock's duration is
/// half of that. `None` if they agree.
pub(crate) fn disagreement_with_leader(
    lock: &LeaderLock,
    lock_duration: Duration,
    failover_time: Duration,
) -> Option<String> {
    let is_ours = lock.held_digest.is_some();
    (is_ours && !lock.released && lock.duration.as_millis() != lock_duration.as_millis()).then(|| {
        let theirs = describe(lock.duration * 2, &[&lock.owner]);
        sentence(&format!("{failover_time:?} of this worker, {theirs}"))
    })
}

fn describe(time: Duration, ids: &[&WorkerId]) -> String {
    let names: Vec<_> = ids.iter().take(NAMED).map(|id| id.as_str()).collect();
    let more = match ids.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{time:?} of {}{more}", names.join(", "))
}

fn sentence(times: &str) -> String {
    format!("fail-over times differ ({times}); give all workers of the application the same one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::WorkerView;
    use crate::store::WorkerRow;

    /// Workers with their fail-over times in seconds; those in brackets are dead, and 0 seconds are Java's.
    fn told(workers: &[(&str, u64)]) -> Option<String> {
        let name = |id: &str| WorkerId::from(id.trim_matches(['(', ')']));
        let row = |(id, seconds): &(&str, u64)| WorkerRow {
            failover_time: (*seconds > 0).then(|| Duration::from_secs(*seconds)),
            ..WorkerRow::new(name(id), 0)
        };
        let view = |(id, _): &(&str, u64)| WorkerView {
            id: name(id),
            eligible: !id.starts_with('('),
            overdue: false,
            is_unheard: false,
            metrics: BTreeMap::new(),
            is_unmeasured: false,
            trouble: Default::default(),
        };
        let snapshot = TableSnapshot {
            workers: workers.iter().map(row).collect(),
            ..TableSnapshot::default()
        };
        let view = FleetView {
            workers: workers.iter().map(view).collect(),
            ..FleetView::default()
        };
        disagreement(&snapshot, &view)
    }

    #[test]
    fn workers_that_agree_and_those_that_tell_nothing_are_no_problem() {
        assert_eq!(told(&[("a", 10), ("b", 10), ("java", 0), ("(dead)", 3)]), None);
    }

    #[test]
    fn different_times_are_told_with_some_of_the_workers() {
        assert_eq!(
            told(&[("a", 10), ("b", 30), ("c", 10), ("d", 10), ("e", 10)]).as_deref(),
            Some(
                "fail-over times differ (10s of a, c, d and 1 more, 30s of b); give all workers of the application \
                 the same one"
            )
        );
    }

    #[test]
    fn a_follower_tells_the_leader_s_by_its_lock() {
        let lock = |seconds| LeaderLock {
            owner: "a".into(),
            duration: Duration::from_secs(seconds),
            version: "1".into(),
            released: false,
            held_digest: Some(1),
            standstills: Vec::new(),
            heirs: Vec::new(),
        };
        let told = |lock: &LeaderLock| {
            disagreement_with_leader(lock, Duration::from_secs(5), Duration::from_secs(10))
        };
        assert_eq!(told(&lock(5)), None);
        assert!(told(&lock(15)).is_some_and(|text| text.contains("30s of a")));
        let java = LeaderLock {
            held_digest: None,
            ..lock(120)
        };
        assert_eq!(told(&java), None);
    }
}
