//! Workers whose fail-over times differ: each lease is judged by that of its owner.

use super::*;

fn worker_with(id: &str, failover_seconds: u64) -> WorkerRow {
    WorkerRow {
        failover_time: Some(Duration::from_secs(failover_seconds)),
        report_period: Some(Duration::from_secs(failover_seconds) / 3),
        ..worker(id, EPOCH)
    }
}

/// The state of a lease of worker `a`, untouched for so many seconds.
fn untouched_for(seconds: u64, rows: &[WorkerRow], later: &[WorkerRow]) -> LeaseState {
    let leases = [lease("s", "a", 5)];
    let scans = [(0, table(&leases, rows)), (seconds, table(&leases, later))];
    state_of(&after(&scans), "s")
}

#[test]
fn an_owner_with_a_longer_fail_over_time_keeps_its_lease_for_that_long() {
    let rows = [worker_with("a", 30)];
    assert_eq!(untouched_for(29, &rows, &rows), LeaseState::Live);
    assert_eq!(untouched_for(30, &rows, &rows), LeaseState::Expired);
}

#[test]
fn an_owner_with_a_shorter_fail_over_time_has_given_up_by_then() {
    let rows = [worker_with("a", 3)];
    assert_eq!(untouched_for(2, &rows, &rows), LeaseState::Live);
    assert_eq!(untouched_for(3, &rows, &rows), LeaseState::Expired);
}

#[test]
fn what_a_worker_said_counts_also_when_its_row_is_gone() {
    let rows = [worker_with("a", 30)];
    assert_eq!(untouched_for(29, &rows, &[]), LeaseState::Live);
    assert_eq!(untouched_for(30, &rows, &[]), LeaseState::Expired);
}

#[test]
fn an_owner_that_said_nothing_is_judged_by_the_observer_s_own() {
    let rows = [worker("a", EPOCH)];
    assert_eq!(untouched_for(9, &rows, &rows), LeaseState::Live);
    assert_eq!(untouched_for(10, &rows, &rows), LeaseState::Expired);
}

#[test]
fn an_owner_that_has_no_row_any_more_is_judged_by_the_longest_that_anybody_has() {
    let rows = [worker_with("b", 30), worker_with("c", 3)];
    assert_eq!(untouched_for(29, &rows, &rows), LeaseState::Live);
    assert_eq!(untouched_for(30, &rows, &rows), LeaseState::Expired);
    let rows = [worker_with("b", 3)];
    assert_eq!(
        untouched_for(9, &rows, &rows),
        LeaseState::Live,
        "or the observer's own"
    );
}

#[test]
fn a_worker_is_dead_after_a_silence_of_its_own_fail_over_time() {
    let eligible_after = |seconds, failover_seconds| {
        let rows = [worker_with("a", failover_seconds)];
        let scans = [(0, table(&[], &rows)), (seconds, table(&[], &rows))];
        is_eligible(&after(&scans), "a")
    };
    assert!(eligible_after(29, 30) && !eligible_after(30, 30));
    assert!(eligible_after(2, 3) && !eligible_after(3, 3));
}

#[test]
fn a_hand_off_from_an_owner_with_a_longer_fail_over_time_is_overdue_later() {
    let state_after = |seconds: u64| {
        let in_hand_off = |counter| {
            let lease = Lease {
                checkpoint_owner: Some("a".into()),
                ..lease("s", "b", counter)
            };
            table(&[lease], &[worker_with("a", 30)])
        };
        let scans: Vec<_> = (0..=seconds / 5).map(|i| (i * 5, in_hand_off(i))).collect();
        state_of(&after(&scans), "s")
    };
    assert_eq!(state_after(55), LeaseState::HandOff { overdue: false });
    assert_eq!(state_after(60), LeaseState::HandOff { overdue: true });
}
