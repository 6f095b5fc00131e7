//! Java workers have more time, to show themselves and to begin with a lease.

use super::*;

#[test]
fn a_java_worker_without_leases_has_a_minute_but_one_whose_leases_expired_has_not() {
    let idle = || table(&[], &[java_worker("j", EPOCH)]);
    assert!(is_eligible(&after(&[(0, idle()), (59, idle())]), "j"));
    assert!(!is_eligible(&after(&[(0, idle()), (60, idle())]), "j"));
    let busy = || table(&[lease("s", "j", 1)], &[java_worker("j", EPOCH)]);
    let view = after(&[(0, busy()), (11, busy())]);
    assert!(!is_eligible(&view, "j"));
}

#[test]
fn a_java_worker_whose_leases_expired_and_were_taken_is_given_none_until_it_shows_itself() {
    let busy = || table(&[lease("s", "j", 1)], &[java_worker("j", EPOCH)]);
    let renewed = || table(&[lease("s", "j", 2)], &[java_worker("j", EPOCH)]);
    let taken = |reported_at| table(&[lease("s", "me", 3)], &[java_worker("j", reported_at)]);
    let until_taken = [(0, busy()), (1, renewed()), (11, renewed()), (12, taken(EPOCH))];
    assert!(
        !is_eligible(&after(&until_taken), "j"),
        "its row is younger than a minute"
    );
    let reports = [until_taken.as_slice(), &[(13, taken(EPOCH + 13))]].concat();
    assert!(is_eligible(&after(&reports), "j"), "it was only late");
}

/// A Java KCL with default timers looks for its leases every 10 s and renews them every 3.3 s.
#[test]
fn a_java_worker_has_two_fail_over_times_to_begin_with_a_lease() {
    for moved_by in [1, 3] {
        let before = || table(&[lease("s", "me", 5)], &[java_worker("j", EPOCH)]);
        let given = || table(&[lease("s", "j", 5 + moved_by)], &[java_worker("j", EPOCH)]);
        let begun = || table(&[lease("s", "j", 6 + moved_by)], &[java_worker("j", EPOCH + 10)]);
        let reported = [
            (0, before()),
            (1, table(&[lease("s", "me", 5)], &[java_worker("j", EPOCH + 1)])),
        ];
        let waits = [reported.as_slice(), &[(2, given()), (15, given())]].concat();
        let view = after(&waits);
        assert_eq!(state_of(&view, "s"), LeaseState::Live);
        assert!(is_eligible(&view, "j"));
        let too_late = [waits.as_slice(), &[(22, given())]].concat();
        assert_eq!(state_of(&after(&too_late), "s"), LeaseState::Expired);
        let dies = [waits.as_slice(), &[(16, begun()), (26, begun())]].concat();
        assert_eq!(state_of(&after(&dies), "s"), LeaseState::Expired, "it had begun");
    }
    let ours = |second, owner: &str, counter| {
        (
            second,
            table(&[lease("s", owner, counter)], &[worker("a", EPOCH)]),
        )
    };
    let dies = [ours(0, "me", 5), ours(1, "a", 6), ours(11, "a", 6)];
    assert_eq!(
        state_of(&after(&dies), "s"),
        LeaseState::Expired,
        "ours begins at once"
    );
}

#[test]
fn a_java_worker_that_does_not_begin_with_a_lease_gets_no_more() {
    let scan = |second, owner: &str, counter, renewals| {
        let leases = [lease("s", owner, counter), lease("t", "j", renewals)];
        (second, table(&leases, &[java_worker("j", EPOCH)]))
    };
    let given = [scan(0, "me", 5, 1), scan(1, "j", 8, 2), scan(20, "j", 8, 3)];
    assert!(is_eligible(&after(&given), "j"));
    let idle = [given.as_slice(), &[scan(21, "j", 8, 3)]].concat();
    let view = after(&idle);
    assert_eq!(
        (state_of(&view, "s"), state_of(&view, "t")),
        (LeaseState::Expired, LeaseState::Live)
    );
    assert!(!is_eligible(&view, "j"));
}
