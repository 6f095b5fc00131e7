//! What the last leader said of leases, and what the next one makes of it.

use super::*;

#[test]
fn a_leader_that_said_what_it_held_is_timed_from_its_last_word() {
    let held = [lease("s", "old", 5), lease("t", "old", 9)];
    let rows = table(&[held[0].clone(), held[1].clone(), lease("u", "b", 1)], &[]);
    let (mut observer, start) = (observer(), Instant::now());
    let sighting = |digest| Sighting {
        leader: "old".into(),
        held_digest: Some(digest),
        standstills: Standstills::default(),
        heard_at: start,
    };
    let digest = counter_digest(held.iter().map(|lease| (&lease.key, lease.counter)));
    let (at_4, at_10) = (start + Duration::from_secs(4), start + Duration::from_secs(10));

    observer.observe(&rows, at_4, EPOCH, Some(&sighting(digest)));
    let view = observer.observe(&rows, at_10, EPOCH, None);
    assert_eq!(state_of(&view, "s"), LeaseState::Expired);
    assert_eq!(
        state_of(&view, "u"),
        LeaseState::Live,
        "the word was about the leader's leases only"
    );

    let mut other = super::observer();
    other.observe(&rows, at_4, EPOCH, Some(&sighting(digest + 1)));
    let view = other.observe(&rows, at_10, EPOCH, None);
    assert_eq!(
        state_of(&view, "s"),
        LeaseState::Live,
        "renewed since its last word"
    );
}

/// Leaders of one table after another, at the given seconds. Each tells its successor what it saw, in its lock.
struct Succession {
    start: Instant,
    observer: Observer,
    sighting: Option<Sighting>,
}

impl Succession {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            observer: observer(),
            sighting: None,
        }
    }

    fn observe(&mut self, second: u64, snapshot: &TableSnapshot) -> FleetView {
        let now = self.start + Duration::from_secs(second);
        self.observer
            .observe(snapshot, now, EPOCH + second, self.sighting.as_ref())
    }

    /// The leader writes its last word at one second, and the next one reads it at another.
    fn succeed(&mut self, last_scan: &TableSnapshot, written_at: u64, heard_at: u64) {
        let at = |second| self.start + Duration::from_secs(second);
        let standstills = self.observer.standstills(last_scan, at(written_at));
        let stored = standstills.lasting(Duration::ZERO, at(written_at));
        self.observer = observer();
        self.sighting = Some(Sighting {
            leader: "old".into(),
            held_digest: None,
            standstills: Standstills::heard(&stored, at(heard_at)),
            heard_at: at(heard_at),
        });
    }
}

#[test]
fn a_dead_worker_s_lease_expires_after_the_fail_over_time_whoever_leads_meanwhile() {
    let rows = table(&[lease("s", "dead", 5)], &[worker("dead", EPOCH - 20)]);
    let mut leaders = Succession::new();
    leaders.observe(0, &rows);
    leaders.succeed(&rows, 3, 3);
    let view = leaders.observe(4, &rows);
    assert_eq!(state_of(&view, "s"), LeaseState::Live);
    assert_eq!(view.next_expiry, Some(leaders.start + FAILOVER));
    leaders.succeed(&rows, 6, 6);
    assert_eq!(state_of(&leaders.observe(9, &rows), "s"), LeaseState::Live);
    assert_eq!(state_of(&leaders.observe(10, &rows), "s"), LeaseState::Expired);
}

#[test]
fn a_lease_that_expired_under_the_last_leader_is_expired_at_the_first_scan_of_the_next() {
    let rows = table(&[lease("s", "dead", 5)], &[]);
    let mut leaders = Succession::new();
    leaders.observe(0, &rows);
    leaders.succeed(&rows, 10, 10);
    assert_eq!(state_of(&leaders.observe(11, &rows), "s"), LeaseState::Expired);
}

#[test]
fn time_on_the_way_from_leader_to_leader_is_not_counted() {
    let rows = table(&[lease("s", "dead", 5)], &[]);
    let mut leaders = Succession::new();
    leaders.observe(0, &rows);
    leaders.succeed(&rows, 4, 7);
    assert_eq!(state_of(&leaders.observe(12, &rows), "s"), LeaseState::Live);
    assert_eq!(state_of(&leaders.observe(13, &rows), "s"), LeaseState::Expired);
}

#[test]
fn a_lease_that_was_renewed_or_moved_since_the_leader_s_word_has_the_fail_over_time_from_now() {
    let seen = table(&[lease("s", "a", 5), lease("t", "a", 5)], &[]);
    for changed in [lease("s", "a", 6), lease("s", "b", 6)] {
        let later = table(&[changed, lease("t", "a", 5)], &[]);
        let mut leaders = Succession::new();
        leaders.observe(0, &seen);
        leaders.succeed(&seen, 8, 8);
        leaders.observe(9, &later);
        let view = leaders.observe(18, &later);
        assert_eq!(state_of(&view, "s"), LeaseState::Live);
        assert_eq!(state_of(&view, "t"), LeaseState::Expired, "each lease by itself");
    }
}

#[test]
fn what_was_said_of_a_lease_counts_once() {
    let (before, renewed) = (
        table(&[lease("s", "a", 5)], &[]),
        table(&[lease("s", "a", 6)], &[]),
    );
    let mut leaders = Succession::new();
    leaders.observe(0, &before);
    leaders.succeed(&before, 8, 8);
    leaders.observe(9, &before);
    leaders.observe(9, &renewed);
    let view = leaders.observe(18, &renewed);
    assert_eq!(
        state_of(&view, "s"),
        LeaseState::Live,
        "it was late, and is alive"
    );
}

#[test]
fn a_worker_that_fell_silent_under_the_last_leader_is_given_nothing_by_the_next_although_it_reported_lately()
{
    let rows = |at| {
        table(
            &[lease("s", "dead", 5), lease("t", "old", at)],
            &[worker("dead", EPOCH + 1), worker("old", EPOCH + at)],
        )
    };
    let mut leaders = Succession::new();
    leaders.observe(0, &rows(0));
    leaders.observe(4, &rows(4));
    leaders.succeed(&rows(4), 5, 5);
    let view = leaders.observe(6, &rows(4));
    assert!(!view.workers[0].overdue && !view.workers[1].overdue);
    let view = leaders.observe(7, &rows(7));
    assert!(
        view.workers[0].overdue && !view.workers[1].overdue,
        "silent for 7 s"
    );
    assert!(is_eligible(&leaders.observe(9, &rows(9)), "dead"));
    assert!(!is_eligible(&leaders.observe(10, &rows(10)), "dead"));
}

#[test]
fn a_leader_without_leases_is_silent_since_its_last_word_whatever_its_clock_says() {
    let rows = table(&[], &[worker("old", EPOCH + 5)]);
    let mut leaders = Succession::new();
    leaders.observe(0, &rows);
    leaders.succeed(&rows, 1, 1);
    let is_overdue = |view: FleetView| view.workers[0].overdue;
    assert!(!is_overdue(leaders.observe(5, &rows)));
    assert!(!is_overdue(leaders.observe(7, &rows)));
    assert!(is_overdue(leaders.observe(8, &rows)));
}

#[test]
fn a_lease_that_was_given_to_a_worker_after_it_fell_silent_expires_with_its_others() {
    let rows = |owner: &str, counter| {
        let leases = [lease("s", "dead", 5), lease("t", owner, counter)];
        table(&leases, &[worker("b", EPOCH), worker("dead", EPOCH)])
    };
    for (counter, expected) in [(6, LeaseState::Expired), (7, LeaseState::Live)] {
        let mut leaders = Succession::new();
        leaders.observe(0, &rows("b", 5));
        leaders.observe(6, &rows("dead", counter));
        leaders.succeed(&rows("dead", counter), 7, 7);
        leaders.observe(8, &rows("dead", counter));
        leaders.succeed(&rows("dead", counter), 9, 9);
        let view = leaders.observe(10, &rows("dead", counter));
        assert_eq!(state_of(&view, "s"), LeaseState::Expired);
        assert_eq!(state_of(&view, "t"), expected, "at 7 it may have been begun");
    }
}

#[test]
fn a_java_worker_s_time_to_begin_with_a_lease_is_not_cut_short_by_what_the_last_leader_says() {
    let before = table(&[lease("s", "me", 5)], &[java_worker("j", EPOCH)]);
    let given = table(&[lease("s", "j", 6)], &[java_worker("j", EPOCH)]);
    let begun = table(&[lease("s", "j", 7)], &[java_worker("j", EPOCH)]);
    let mut leaders = Succession::new();
    leaders.observe(0, &before);
    leaders.observe(1, &given);
    leaders.succeed(&given, 6, 6);
    leaders.observe(6, &given);
    assert_eq!(state_of(&leaders.observe(15, &given), "s"), LeaseState::Live);

    let mut leaders = Succession::new();
    leaders.observe(0, &before);
    leaders.observe(1, &given);
    leaders.observe(2, &begun);
    leaders.succeed(&begun, 6, 6);
    leaders.observe(6, &begun);
    assert_eq!(state_of(&leaders.observe(12, &begun), "s"), LeaseState::Expired);
}

#[test]
fn of_leases_without_a_working_owner_nothing_is_passed_on() {
    let ended = Lease {
        checkpoint: Checkpoint::ShardEnd,
        ..lease("s", "a", 1)
    };
    let rows = table(&[ended, Lease::new("t", Checkpoint::TrimHorizon)], &[]);
    let (mut observer, now) = (observer(), Instant::now());
    observer.observe(&rows, now, EPOCH, None);
    let passed_on = observer.standstills(&rows, now).lasting(Duration::ZERO, now);
    assert_eq!(passed_on, []);
}
