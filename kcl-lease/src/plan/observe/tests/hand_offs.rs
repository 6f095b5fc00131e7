//! Leases that are on their way from one worker to another.

use super::*;

#[test]
fn a_lease_that_is_returned_from_a_hand_off_is_no_sign_of_its_processor_s_life() {
    let in_hand_off = Lease {
        checkpoint_owner: Some("a".into()),
        ..lease("s", "b", 1)
    };
    let rows = |lease: Lease| table(&[lease], &[worker("a", EPOCH)]);
    let returned = |counter| {
        after(&[
            (0, rows(in_hand_off.clone())),
            (5, rows(lease("s", "a", counter))),
            (10, rows(lease("s", "a", counter))),
        ])
    };
    assert!(!is_eligible(&returned(2), "a"));
    assert!(is_eligible(&returned(3), "a"), "it has written too");
}

#[test]
fn a_hand_off_that_is_cancelled_does_not_prolong_the_lease() {
    let to_b = |counter| Lease {
        checkpoint_owner: Some("a".into()),
        ..lease("s", "b", counter)
    };
    let rows = |lease: Lease| table(&[lease], &[worker("a", EPOCH)]);
    let state = |last: Lease| {
        let scans = [
            (0, rows(lease("s", "a", 1))),
            (1, rows(to_b(2))),
            (8, rows(last.clone())),
            (11, rows(last)),
        ];
        state_of(&after(&scans), "s")
    };
    assert_eq!(
        state(lease("s", "a", 2)),
        LeaseState::Expired,
        "a has not written for 10 s"
    );
    assert_eq!(state(lease("s", "a", 3)), LeaseState::Live, "it has");
    assert_eq!(
        state(lease("s", "b", 3)),
        LeaseState::Live,
        "b was given it 3 s ago"
    );
}

#[test]
fn a_renewal_just_before_a_hand_off_begins_is_a_sign_of_life() {
    let to_b = Lease {
        checkpoint_owner: Some("a".into()),
        ..lease("s", "b", 2)
    };
    let workers = [worker("a", EPOCH), worker("b", EPOCH)];
    let scans = [
        (0, table(&[lease("s", "a", 1)], &workers)),
        (9, table(&[to_b], &workers)),
    ];
    let mut later = scans.to_vec();
    later.push((11, scans[1].1.clone()));
    assert!(is_eligible(&after(&later), "a"));
    assert!(!is_eligible(&after(&later), "b"));
}

#[test]
fn a_hand_off_is_overdue_after_its_time_out_and_the_fail_over_time() {
    let in_hand_off = |counter| {
        let lease = Lease {
            checkpoint_owner: Some("a".into()),
            ..lease("s", "b", counter)
        };
        table(&[lease], &[])
    };
    let renewing = |until: u64| {
        (0..=until / 5)
            .map(|i| (i * 5, in_hand_off(i)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        state_of(&after(&renewing(35)), "s"),
        LeaseState::HandOff { overdue: false }
    );
    assert_eq!(
        state_of(&after(&renewing(40)), "s"),
        LeaseState::HandOff { overdue: true }
    );
    let dead = [(0, in_hand_off(1)), (10, in_hand_off(1))];
    assert_eq!(
        state_of(&after(&dead), "s"),
        LeaseState::Expired,
        "its processor died"
    );
}
