//! Which workers are alive, and may be given leases.

use super::*;

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
fn a_worker_is_unheard_until_it_shows_life_or_would_have_done_so() {
    let is_unheard = |view: &FleetView| view.workers[0].is_unheard;
    let busy = |counter| table(&[lease("s", "a", counter)], &[worker("a", EPOCH - 20)]);
    assert!(is_unheard(&after(&[(0, busy(1))])));
    assert!(is_unheard(&after(&[(0, busy(1)), (6, busy(1))])));
    assert!(!is_unheard(&after(&[(0, busy(1)), (7, busy(1))])), "dead");
    assert!(!is_unheard(&after(&[(0, busy(1)), (3, busy(2))])));
    let fell_silent = [(0, busy(1)), (3, busy(2)), (12, busy(2))];
    assert!(!is_unheard(&after(&fell_silent)), "it is overdue");
    let idle = || table(&[], &[worker("a", EPOCH)]);
    assert!(!is_unheard(&after(&[(0, idle())])), "it reported just now");
    let own = || table(&[], &[worker("me", EPOCH - 20)]);
    assert!(!is_unheard(&after(&[(0, own())])));
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
fn a_worker_is_unmeasured_until_it_tells_its_load_or_if_it_has_told_it_once() {
    let is_unmeasured = |is_measuring, samples: &[f64]| {
        let metric = (!samples.is_empty()).then(|| WorkerMetric {
            samples: samples.to_vec(),
            max_utilization: 100.0,
        });
        let metrics = metric
            .into_iter()
            .map(|metric| (WorkerMetric::CPU.to_owned(), metric));
        let row = WorkerRow {
            // It may have more to tell than how busy it is.
            report_number: 2,
            is_measuring,
            metrics: metrics.collect(),
            ..worker("a", EPOCH)
        };
        after(&[(0, table(&[], &[row]))]).workers[0].is_unmeasured
    };
    assert!(is_unmeasured(true, &[]));
    assert!(!is_unmeasured(false, &[]), "it measures nothing");
    assert!(is_unmeasured(false, &[50.0]));
    assert!(!is_unmeasured(false, &[50.0, 60.0]));
    assert!(!is_unmeasured(false, &[-1.0]));
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
fn the_row_of_a_worker_that_shows_no_life_for_three_fail_over_times_goes_unless_a_lease_names_it() {
    let gone_after = |seconds, scan: &TableSnapshot| {
        let (mut observer, start) = (observer(), Instant::now());
        observer.observe(scan, start, EPOCH, None);
        let now = start + Duration::from_secs(seconds);
        observer.observe(scan, now, EPOCH + seconds, None);
        let gone = observer.silent(scan, now);
        gone.iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    let rows = [
        worker("fresh", EPOCH),
        worker("long-ago", EPOCH - 1_000),
        java_worker("java", EPOCH - 1_000),
        worker("me", EPOCH),
        worker("named", EPOCH),
    ];
    let scan = table(&[lease("s", "named", 5)], &rows);
    assert_eq!(gone_after(29, &scan), [""; 0]);
    assert_eq!(gone_after(30, &scan), ["fresh", "long-ago"]);
}
