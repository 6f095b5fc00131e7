//! Whether the new owner of a lease may have begun with it.

use super::*;

fn is_unclaimed(view: &FleetView) -> bool {
    view.leases[0].claim == Claim::No
}

#[test]
fn a_lease_that_was_given_to_a_worker_after_it_left_is_expired_at_once_unless_it_was_begun() {
    let there = table(&[lease("1", "b", 5)], &[worker("a", EPOCH), worker("b", EPOCH)]);
    let given = |counter| table(&[lease("1", "a", counter)], &[worker("b", EPOCH)]);
    let state = |last| state_of(&after(&[(0, there.clone()), (1, last)]), "1");
    assert_eq!(state(given(6)), LeaseState::Expired);
    assert_eq!(state(given(7)), LeaseState::Live, "it may have been begun");
    let returned = table(
        &[lease("1", "a", 6)],
        &[worker("a", EPOCH + 1), worker("b", EPOCH)],
    );
    let back = after(&[(0, there.clone()), (1, given(6)), (2, returned)]);
    assert_eq!(state_of(&back, "1"), LeaseState::Live);
    let java = table(
        &[lease("1", "b", 5)],
        &[java_worker("a", EPOCH), worker("b", EPOCH)],
    );
    assert_eq!(
        state_of(&after(&[(0, java), (1, given(6))]), "1"),
        LeaseState::Live,
        "a row of a Java worker may go away while it lives"
    );
}

#[test]
fn a_lease_is_unclaimed_until_its_new_owner_may_have_written() {
    let at = |second: u64, owner: &str, counter| {
        (
            second,
            table(
                &[lease("s", owner, counter)],
                &[worker("a", EPOCH), worker("b", EPOCH)],
            ),
        )
    };
    assert!(is_unclaimed(&after(&[at(0, "b", 1), at(1, "a", 2)])));
    assert!(!is_unclaimed(&after(&[
        at(0, "b", 1),
        at(1, "a", 2),
        at(2, "a", 3)
    ])));
    assert!(
        !is_unclaimed(&after(&[at(0, "b", 1), at(1, "a", 3)])),
        "it may have begun between the scans"
    );
    assert!(
        !is_unclaimed(&after(&[at(0, "a", 2)])),
        "nothing is known of what came before"
    );
    let java = |second, owner: &str, counter| {
        (
            second,
            table(&[lease("s", owner, counter)], &[java_worker("a", EPOCH)]),
        )
    };
    assert!(
        !is_unclaimed(&after(&[java(0, "b", 1), java(1, "a", 2)])),
        "Java begins before it writes"
    );
}

#[test]
fn a_hand_off_that_returns_to_its_processor_was_never_unclaimed() {
    let in_hand_off = Lease {
        checkpoint_owner: Some("a".into()),
        ..lease("s", "b", 7)
    };
    let workers = [worker("a", EPOCH), worker("b", EPOCH)];
    let scans = [
        (0, table(&[lease("s", "a", 6)], &workers)),
        (1, table(&[in_hand_off], &workers)),
        (2, table(&[lease("s", "a", 8)], &workers)),
    ];
    assert!(!is_unclaimed(&after(&scans)), "a may still be processing");
}

#[test]
fn a_lease_that_a_silent_worker_may_have_begun_with_waits_for_its_own_expiry() {
    let workers = [worker("a", EPOCH), worker("b", EPOCH)];
    let scans = [
        (0, table(&[lease("s", "b", 1)], &workers)),
        (9, table(&[lease("s", "a", 3)], &workers)),
        (12, table(&[lease("s", "a", 3)], &workers)),
    ];
    let view = after(&scans);
    assert!(
        !is_eligible(&view, "a"),
        "it has not reported for the fail-over time"
    );
    assert_eq!(
        state_of(&view, "s"),
        LeaseState::Live,
        "but it may have taken the lease up 3 s ago"
    );
}
