use super::*;
use crate::checkpoint::Checkpoint;

const FAILOVER: Duration = Duration::from_secs(10);
const EPOCH: u64 = 1_800_000_000;

fn observer() -> Observer {
    Observer::new(ObserverOptions {
        me: "me".into(),
        failover_time: FAILOVER,
        hand_off_timeout: Duration::from_secs(30),
        report_interval: Duration::from_secs(30),
    })
}

fn lease(key: &str, owner: &str, counter: u64) -> Lease {
    Lease {
        owner: Some(owner.into()),
        counter,
        ..Lease::new(key, Checkpoint::TrimHorizon)
    }
}

fn worker(id: &str, reported_at: u64) -> WorkerRow {
    let report_period = Some(Duration::from_secs(3));
    WorkerRow {
        id: id.into(),
        reported_at,
        report_number: 0,
        report_period,
        metrics: BTreeMap::new(),
    }
}

fn java_worker(id: &str, reported_at: u64) -> WorkerRow {
    WorkerRow {
        report_period: None,
        ..worker(id, reported_at)
    }
}

fn table(leases: &[Lease], workers: &[WorkerRow]) -> TableSnapshot {
    TableSnapshot {
        leases: leases.to_vec(),
        workers: workers.to_vec(),
        ..TableSnapshot::default()
    }
}

/// Observes one table after another at the given seconds; the last view.
fn after(scans: &[(u64, TableSnapshot)]) -> FleetView {
    let (mut observer, start) = (observer(), Instant::now());
    let mut view = FleetView::default();
    for (second, snapshot) in scans {
        view = observer.observe(
            snapshot,
            start + Duration::from_secs(*second),
            EPOCH + second,
            None,
        );
    }
    view
}

fn state_of(view: &FleetView, key: &str) -> LeaseState {
    view.leases
        .iter()
        .find(|view| view.lease.key.as_str() == key)
        .unwrap()
        .state
}

fn is_eligible(view: &FleetView, id: &str) -> bool {
    view.workers
        .iter()
        .find(|worker| worker.id.as_str() == id)
        .unwrap()
        .eligible
}

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

    let mut other = super::tests::observer();
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
fn a_worker_that_misses_two_signs_of_life_is_overdue_until_it_is_heard_of() {
    let is_overdue = |view: &FleetView| view.workers[0].overdue;
    let idle = || table(&[], &[worker("a", EPOCH)]);
    assert!(!is_overdue(&after(&[(0, idle()), (6, idle())])));
    assert!(is_overdue(&after(&[(0, idle()), (7, idle())])));
    let heard = table(&[], &[worker("a", EPOCH + 7)]);
    assert!(!is_overdue(&after(&[(0, idle()), (7, idle()), (8, heard)])));
    let own = || table(&[], &[worker("me", EPOCH)]);
    assert!(!is_overdue(&after(&[(0, own()), (9, own())])));
    let java = || table(&[], &[java_worker("a", EPOCH)]);
    assert!(!is_overdue(&after(&[(0, java()), (29, java())])));
}

#[test]
fn a_worker_that_reports_or_renews_is_eligible_and_one_that_falls_silent_is_not() {
    let idle = |at| table(&[], &[worker("a", at)]);
    assert!(is_eligible(&after(&[(0, idle(EPOCH)), (9, idle(EPOCH))]), "a"));
    assert!(!is_eligible(&after(&[(0, idle(EPOCH)), (10, idle(EPOCH))]), "a"));
    assert!(is_eligible(
        &after(&[(0, idle(EPOCH)), (9, idle(EPOCH + 9)), (18, idle(EPOCH + 9))]),
        "a"
    ));
    let busy = |counter| table(&[lease("s", "a", counter)], &[worker("a", EPOCH)]);
    assert!(is_eligible(
        &after(&[(0, busy(1)), (9, busy(2)), (18, busy(3)), (27, busy(4))]),
        "a"
    ));
}

#[test]
fn reports_within_one_second_are_told_apart() {
    let report = |number| {
        table(
            &[],
            &[WorkerRow {
                report_number: number,
                ..worker("a", EPOCH)
            }],
        )
    };
    assert!(is_eligible(
        &after(&[(0, report(1)), (9, report(2)), (18, report(2))]),
        "a"
    ));
}

#[test]
fn an_old_row_seen_for_the_first_time_proves_nothing() {
    let stale = || table(&[], &[worker("a", EPOCH - 20)]);
    assert!(!is_eligible(&after(&[(0, stale())]), "a"));
    assert!(!is_eligible(&after(&[(0, stale()), (3, stale())]), "a"));
    assert!(is_eligible(
        &after(&[(0, stale()), (3, table(&[], &[worker("a", EPOCH + 3)]))]),
        "a"
    ));
    let joins = [(0, table(&[], &[])), (1, stale())];
    assert!(
        is_eligible(&after(&joins), "a"),
        "a row that appears was just written, whatever its clock says"
    );
}

#[test]
fn a_worker_seen_for_the_first_time_is_timed_from_its_report() {
    let idle = || table(&[], &[worker("a", EPOCH - 4)]);
    let is_overdue = |view: &FleetView| view.workers[0].overdue;
    let lately = after(&[(0, idle()), (2, idle())]);
    assert!(is_eligible(&lately, "a") && !is_overdue(&lately));
    let overdue = after(&[(0, idle()), (3, idle())]);
    assert!(is_eligible(&overdue, "a") && is_overdue(&overdue));
    assert!(!is_eligible(&after(&[(0, idle()), (6, idle())]), "a"));
    let ahead = || table(&[], &[worker("a", EPOCH + 4)]);
    assert!(!is_overdue(&after(&[(0, ahead()), (6, ahead())])));
}

#[test]
fn an_assignment_to_a_worker_is_no_sign_of_its_life() {
    let scans = [
        (
            0,
            table(&[lease("s", "b", 1)], &[worker("a", EPOCH), worker("b", EPOCH)]),
        ),
        (
            5,
            table(&[lease("s", "a", 2)], &[worker("a", EPOCH), worker("b", EPOCH)]),
        ),
        (
            12,
            table(&[lease("s", "a", 2)], &[worker("a", EPOCH), worker("b", EPOCH)]),
        ),
    ];
    let view = after(&scans);
    assert!(!is_eligible(&view, "a"));
    assert_eq!(
        state_of(&view, "s"),
        LeaseState::Expired,
        "a dead worker's lease need not wait for its own expiry"
    );
}

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
fn a_worker_that_lives_but_takes_nothing_up_is_given_nothing_for_a_minute() {
    let at = |second: u64, owner: &str, counter| {
        let rows = table(
            &[lease("s", owner, counter)],
            &[worker("a", EPOCH + second), worker("b", EPOCH + second)],
        );
        (second, rows)
    };
    let ignored = [at(0, "b", 1), at(5, "a", 2), at(10, "a", 2), at(15, "a", 2)];
    let view = after(&ignored);
    assert_eq!(state_of(&view, "s"), LeaseState::Expired);
    assert!(!is_eligible(&view, "a") && is_eligible(&view, "b"));
    let later: Vec<_> = ignored
        .iter()
        .cloned()
        .chain((17..80).step_by(3).map(|s| at(s, "b", s)))
        .collect();
    assert!(is_eligible(&after(&later), "a"), "it gets another chance");
    let claimed = [at(0, "b", 1), at(5, "a", 2), at(6, "a", 3), at(16, "a", 3)];
    assert!(
        is_eligible(&after(&claimed), "a"),
        "it took the lease up and lost it otherwise"
    );
}

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

#[test]
fn a_worker_with_a_failing_metric_gets_nothing_while_another_one_is_well() {
    let reporting = |id: &str, samples: &[f64]| {
        let metric = WorkerMetric {
            samples: samples.to_vec(),
            max_utilization: 100.0,
        };
        WorkerRow {
            metrics: BTreeMap::from([(WorkerMetric::CPU.to_owned(), metric)]),
            ..worker(id, EPOCH)
        }
    };
    let eligible = |a: &[f64], b: &[f64]| {
        let view = after(&[(0, table(&[], &[reporting("a", a), reporting("b", b)]))]);
        (is_eligible(&view, "a"), is_eligible(&view, "b"))
    };
    assert_eq!(eligible(&[50.0, -1.0], &[50.0]), (false, true));
    assert_eq!(eligible(&[-1.0, 50.0], &[50.0]), (true, true), "it is well again");
    assert_eq!(eligible(&[-1.0], &[50.0, -1.0]), (true, true), "nobody is left");

    let dead = WorkerRow {
        reported_at: EPOCH - 1000,
        ..reporting("b", &[50.0])
    };
    let view = after(&[(0, table(&[], &[reporting("a", &[-1.0]), dead]))]);
    assert!(is_eligible(&view, "a"), "a dead worker does not count");
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

fn is_unclaimed(view: &FleetView) -> bool {
    view.leases[0].claim == Claim::No
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

#[test]
fn the_last_change_of_owner_is_known_with_its_time_and_the_owner_before() {
    let at = |second, owner: &str, checkpoint_owner: Option<&str>, counter| {
        let lease = Lease {
            owner: Some(owner.into()).filter(|_| !owner.is_empty()),
            checkpoint_owner: checkpoint_owner.map(Into::into),
            ..lease("s", owner, counter)
        };
        (second, table(&[lease], &[]))
    };
    let moved = |scans: &[(u64, TableSnapshot)]| {
        let moved = after(scans).leases[0].moved.clone();
        moved.map(|moved| (moved.from.map(|id| id.to_string()), moved.ago.as_secs()))
    };
    let from = |id: &str, ago| Some((Some(id.to_owned()), ago));
    let first = at(0, "a", None, 1);
    assert_eq!(moved(std::slice::from_ref(&first)), None, "nothing was seen");
    assert_eq!(moved(&[first.clone(), at(1, "a", None, 2)]), None, "only renewed");
    assert_eq!(
        moved(&[first.clone(), at(1, "b", None, 2), at(5, "b", None, 3)]),
        from("a", 4)
    );
    let hand_off = [first.clone(), at(1, "b", Some("a"), 1)];
    assert_eq!(moved(&hand_off), from("a", 0));
    let handed_off = [hand_off.as_slice(), &[at(9, "b", None, 2), at(12, "b", None, 3)]].concat();
    assert_eq!(moved(&handed_off), from("a", 3), "from when it was finished");
    let released = [
        first,
        at(1, "", None, 2),
        at(3, "b", None, 3),
        at(4, "b", None, 4),
    ];
    assert_eq!(moved(&released), from("a", 1));
    assert_eq!(moved(&[at(0, "", None, 1), at(1, "b", None, 2)]), Some((None, 0)));
}

#[test]
fn a_leases_throughput_is_a_mean_of_all_that_was_seen_and_later_of_some_minutes() {
    let table_with = |kbps| {
        let lease = Lease {
            throughput_kbps: kbps,
            ..lease("1", "a", 1)
        };
        table(&[lease], &[])
    };
    let mean = |scans: &[(u64, Option<f64>)]| {
        let scans: Vec<_> = scans
            .iter()
            .map(|(second, kbps)| (*second, table_with(*kbps)))
            .collect();
        after(&scans).leases[0].kbps
    };
    assert_eq!(mean(&[(0, None)]), None);
    assert_eq!(mean(&[(0, Some(f64::NAN))]), None);
    assert_eq!(mean(&[(0, None), (1, Some(8.0))]), Some(8.0));
    assert_eq!(
        mean(&[(0, Some(8.0)), (1, Some(6.0)), (2, Some(0.0))]),
        Some(3.0),
        "the first stood for no time"
    );
    let mut scans: Vec<_> = (0..=300).map(|second| (second, Some(100.0))).collect();
    scans.push((303, Some(0.0)));
    let after_a_lull = mean(&scans).unwrap();
    assert!((after_a_lull - 99.0).abs() < 0.1, "{after_a_lull}");
    scans.extend((304..1300).map(|second| (second, Some(0.0))));
    assert!(mean(&scans).unwrap() < 5.0);
}

#[test]
fn all_owners_before_that_are_still_there_are_known_for_as_long_as_nothing_returns() {
    let scan = |second, owner, workers: &str| {
        let workers: Vec<_> = workers.split(' ').map(|id| worker(id, EPOCH + second)).collect();
        (second, table(&[lease("1", owner, second)], &workers))
    };
    let left = |scans: &[(u64, TableSnapshot)]| {
        let left = after(scans).leases.remove(0).left;
        left.into_iter()
            .map(|(id, ago)| format!("{id} {}", ago.as_secs()))
            .collect::<Vec<_>>()
    };
    let mut scans = vec![
        scan(0, "a", "a b c"),
        scan(10, "b", "a b c"),
        scan(30, "c", "a b c"),
    ];
    assert_eq!(left(&scans), ["a 20", "b 0"]);
    let mut handed = scan(40, "a", "a b c");
    handed.1.leases[0].checkpoint_owner = Some("c".into());
    scans.extend([handed, scan(41, "c", "a b c")]);
    assert_eq!(left(&scans), ["a 31", "b 11"], "a never had it again");
    scans.truncate(3);
    scans.push(scan(40, "c", "b c"));
    scans.push(scan(50, "c", "a b c"));
    assert_eq!(left(&scans), ["b 20"], "a was away");
    scans.push(scan(60, "c", "a c"));
    scans.push(scan(70, "c", "a b c"));
    assert_eq!(left(&scans), [""; 0], "b too");
    scans.truncate(3);
    scans.push(scan(3629, "c", "a b c"));
    assert_eq!(left(&scans), ["b 3599"]);
    scans.push(scan(3630, "c", "a b c"));
    assert_eq!(left(&scans), [""; 0]);
}
