//! When a lease expires.

use super::*;

#[test]
fn a_lease_expires_when_its_counter_stood_still_for_the_fail_over_time() {
    let still = table(&[lease("s", "a", 5)], &[]);
    assert_eq!(
        state_of(&after(&[(0, still.clone()), (9, still.clone())]), "s"),
        LeaseState::Live
    );
    assert_eq!(
        state_of(&after(&[(0, still.clone()), (10, still.clone())]), "s"),
        LeaseState::Expired
    );
    let renewed = table(&[lease("s", "a", 6)], &[]);
    assert_eq!(
        state_of(&after(&[(0, still), (9, renewed.clone()), (18, renewed)]), "s"),
        LeaseState::Live
    );
}

#[test]
fn an_owned_lease_is_never_expired_at_first_sight() {
    assert_eq!(
        state_of(&after(&[(0, table(&[lease("s", "a", 5)], &[]))]), "s"),
        LeaseState::Live
    );
    let unowned = table(&[Lease::new("s", Checkpoint::TrimHorizon)], &[]);
    assert_eq!(state_of(&after(&[(0, unowned)]), "s"), LeaseState::Unowned);
}

#[test]
fn the_next_expiry_is_that_of_the_lease_longest_silent() {
    let (mut observer, start) = (observer(), Instant::now());
    observer.observe(
        &table(&[lease("s", "a", 1), lease("t", "a", 1)], &[]),
        start,
        EPOCH,
        None,
    );
    let later = start + Duration::from_secs(4);
    let view = observer.observe(
        &table(&[lease("s", "a", 2), lease("t", "a", 1)], &[]),
        later,
        EPOCH,
        None,
    );
    assert_eq!(view.next_expiry, Some(start + FAILOVER));
}

#[test]
fn an_ended_lease_is_nobody_s_business() {
    let ended = Lease {
        checkpoint: Checkpoint::ShardEnd,
        ..lease("s", "a", 1)
    };
    assert_eq!(
        state_of(&after(&[(0, table(&[ended], &[]))]), "s"),
        LeaseState::Ended
    );
}
