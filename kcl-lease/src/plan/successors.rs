//! To whom a leaving worker leaves its leases.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::{LeaseKey, WorkerId};
use crate::store::{TableSnapshot, WorkerRow};
use crate::trouble::Condition;

/// Workers with leases, and Java workers, report every 30 s; one that missed two reports is not named.
const FRESH: Duration = Duration::from_secs(60);

/// Names the next owner of each lease that `leaver` processes, spreading them over the workers that reported lately
/// and are not `known_dead`. Leases without successor are not in the answer.
///
/// A worker without leases may be one that is gone: whoever is killed leaves its row behind, and a Java worker that stops
/// does too. So it is named only if it reports as often as ours do while they are idle, and has not missed two reports.
/// Better nobody than one who is not known to live: if the whole fleet stops, nobody is left to take the lease back. A worker
/// in trouble is named only if there is nobody else.
///
/// A wrong guess costs time but no safety: the leaver sees to it that its successors begin.
pub(crate) fn name_successors(
    snapshot: &TableSnapshot,
    leaver: &WorkerId,
    known_dead: &[WorkerId],
    epoch_seconds: u64,
    max_leases: usize,
) -> BTreeMap<LeaseKey, WorkerId> {
    let candidates = snapshot.workers.iter().filter(|row| {
        row.id != *leaver
            && !row.has_failing_metric()
            && !known_dead.contains(&row.id)
            && epoch_seconds.abs_diff(row.reported_at) <= FRESH.as_secs()
    });
    let is_sick = |row: &&WorkerRow| {
        matches!(
            row.trouble_to_leaders().condition,
            Condition::Ailing | Condition::Unfit
        )
    };
    let (sick, well): (Vec<_>, Vec<_>) = candidates.partition(is_sick);
    let candidates = if well.is_empty() { sick } else { well }.into_iter();
    let mut counts: BTreeMap<&WorkerId, usize> = candidates.map(|row| (&row.id, 0)).collect();
    let open = || snapshot.leases.iter().filter(|lease| !lease.has_ended());
    for count in open().filter_map(|lease| lease.owner.as_ref()) {
        if let Some(count) = counts.get_mut(count) {
            *count += 1;
        }
    }
    let reports_often: BTreeSet<_> = snapshot
        .workers
        .iter()
        .filter(|row| {
            row.report_period
                .is_some_and(|period| epoch_seconds.abs_diff(row.reported_at) <= 2 * period.as_secs() + 1)
        })
        .map(|row| &row.id)
        .collect();
    let is_trusted = |id: &WorkerId, count: usize| count > 0 || reports_often.contains(id);
    counts.retain(|id, count| is_trusted(id, *count));
    let mut successors = BTreeMap::new();
    for lease in open().filter(|lease| lease.actual_owner() == Some(leaver) && !lease.is_in_hand_off()) {
        let room = counts.iter_mut().filter(|(_, count)| **count < max_leases);
        if let Some((next, count)) = room.min_by_key(|(_, count)| **count) {
            *count += 1;
            successors.insert(lease.key.clone(), (*next).clone());
        }
    }
    successors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::lease::Lease;
    use crate::trouble::Trouble;

    const NOW: u64 = 1_800_000_000;

    fn lease(key: &str, owner: &str) -> Lease {
        Lease {
            owner: Some(owner.into()),
            ..Lease::new(key, Checkpoint::TrimHorizon)
        }
    }

    fn worker(id: &str, age: u64) -> WorkerRow {
        WorkerRow {
            report_period: Some(Duration::from_secs(3)),
            ..WorkerRow::new(id, NOW - age)
        }
    }

    fn java_worker(id: &str, age: u64) -> WorkerRow {
        WorkerRow {
            report_period: None,
            ..worker(id, age)
        }
    }

    fn named(leases: Vec<Lease>, workers: Vec<WorkerRow>, dead: &[WorkerId]) -> Vec<String> {
        let snapshot = TableSnapshot {
            leases,
            workers,
            ..TableSnapshot::default()
        };
        let successors = name_successors(&snapshot, &"me".into(), dead, NOW, 100);
        successors
            .iter()
            .map(|(key, next)| format!("{key}={next}"))
            .collect()
    }

    #[test]
    fn leases_go_to_the_peers_that_hold_least() {
        let leases = vec![
            lease("1", "me"),
            lease("2", "me"),
            lease("3", "me"),
            lease("4", "b"),
        ];
        let peers = vec![worker("a", 0), worker("b", 30), worker("me", 0)];
        assert_eq!(named(leases, peers, &[]), ["1=a", "2=a", "3=b"]);
    }

    #[test]
    fn stale_and_dead_peers_are_not_named() {
        let leases = || vec![lease("1", "me")];
        assert!(named(leases(), vec![worker("a", 61)], &[]).is_empty());
        assert!(named(leases(), vec![worker("a", 1)], &["a".into()]).is_empty());
        assert!(named(leases(), vec![worker("me", 1)], &[]).is_empty());
    }

    #[test]
    fn a_peer_without_leases_that_missed_two_reports_is_not_named() {
        let leases = || vec![lease("1", "me"), lease("2", "b")];
        let peers = |silent_for| vec![worker("killed", silent_for), worker("b", 29)];
        assert_eq!(named(leases(), peers(7), &[]), ["1=killed"], "it may be idle");
        assert_eq!(named(leases(), peers(8), &[]), ["1=b"]);
        let last = named(vec![lease("1", "me")], vec![worker("killed", 8)], &[]);
        assert!(last.is_empty(), "nobody is better than the dead");
    }

    #[test]
    fn a_java_worker_without_leases_is_not_named() {
        let leases = || vec![lease("1", "me"), lease("2", "java2")];
        let peers = || vec![java_worker("java1", 20), java_worker("java2", 20)];
        assert_eq!(
            named(leases(), peers(), &[]),
            ["1=java2"],
            "java1 may have stopped"
        );
        let last = named(vec![lease("1", "me")], vec![java_worker("java1", 20)], &[]);
        assert!(last.is_empty());
        let ours = vec![java_worker("java1", 0), worker("idle", 0)];
        assert_eq!(named(vec![lease("1", "me")], ours, &[]), ["1=idle"]);
    }

    #[test]
    fn a_peer_in_trouble_is_the_last_resort() {
        let leases = || vec![lease("1", "me"), lease("2", "b")];
        let sick = || WorkerRow {
            trouble: Trouble {
                condition: Condition::Unfit,
                ..Trouble::default()
            },
            ..worker("a", 0)
        };
        assert_eq!(named(leases(), vec![sick(), worker("b", 0)], &[]), ["1=b"]);
        assert_eq!(named(leases(), vec![sick()], &[]), ["1=a"]);
    }

    #[test]
    fn ended_leases_and_running_hand_offs_need_no_successor() {
        let ended = Lease {
            checkpoint: Checkpoint::ShardEnd,
            ..lease("1", "me")
        };
        let in_hand_off = Lease {
            checkpoint_owner: Some("me".into()),
            ..lease("2", "b")
        };
        assert!(named(vec![ended, in_hand_off], vec![worker("a", 0)], &[]).is_empty());
    }
}
