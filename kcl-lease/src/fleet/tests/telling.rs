//! What goes wrong with the table is told, and costs no more than it must.

use super::*;
use crate::store::tests::flaky::FlakyStore;
use crate::store::{StoreErrorKind, UnreadableRow};

async fn flaky_table_of(leases: usize) -> (Arc<FlakyStore>, Arc<dyn LeaseStore>) {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = Arc::clone(&flaky) as _;
    fill(&store, leases).await;
    (flaky, store)
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_read_are_told_with_what_is_wrong_until_they_are_corrected() {
    let (flaky, store) = flaky_table_of(2).await;
    let row = |key: &str| UnreadableRow {
        key: key.into(),
        problem: "checkpoint is missing".into(),
    };
    flaky.set_unreadable(["s7", "s8", "s9", "s10"].map(row).into());
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[2], Duration::from_secs(2)).await;
    let problems = a.fleet.status().problems;
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert_eq!(problem.code, "rows-unreadable");
    assert!(
        problem.text.starts_with("4 rows") && problem.text.contains("s7: checkpoint is missing"),
        "{problem}"
    );
    flaky.set_unreadable(Vec::new());
    sleep(Duration::from_secs(2)).await;
    assert!(a.problems().is_empty());
}

#[tokio::test(start_paused = true)]
async fn assignments_are_found_without_the_owner_index() {
    for failure in [
        StoreErrorKind::TableMissing,
        StoreErrorKind::Invalid,
        StoreErrorKind::AccessDenied,
    ] {
        let (flaky, store) = flaky_table_of(6).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[6], Duration::from_secs(2)).await;
        flaky.set_index_failure(Some(failure));
        let b = TestWorker::join(&store, "b").await;
        until_held(&[&a, &b], &[3, 3], FAILOVER).await;
        assert_eq!(b.problems(), ["owner-index-failing"], "{failure:?}");
        let (start, scans) = (Instant::now(), flaky.scans());
        sleep(FAILOVER).await;
        let scans = flaky.scans() - scans;
        assert!(
            scans <= 22,
            "{scans} scans of two workers in {:?}",
            start.elapsed()
        );
        flaky.set_index_failure(None);
        sleep(Duration::from_secs(2)).await;
        assert!(b.problems().is_empty(), "{:?}", b.problems());
        let scans = flaky.scans();
        sleep(FAILOVER).await;
        assert!(flaky.scans() - scans <= 11, "only the leader scans");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_cannot_query_the_index_leaves_its_leases_to_others_when_it_stops() {
    let (flaky, store) = flaky_table_of(6).await;
    let a = TestWorker::join(&store, "a").await;
    flaky.set_index_failure(Some(StoreErrorKind::Invalid));
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&a, &b], &[3, 3], FAILOVER).await;
    b.stop().await;
    until_held(&[&a], &[6], Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn assignments_that_cannot_be_written_are_one_problem_and_no_storm() {
    let (flaky, store) = flaky_table_of(1_000).await;
    flaky.throttle(0, usize::MAX);
    let a = TestWorker::join(&store, "a").await;
    let writes = flaky.writes();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(a.problems(), ["moves-failing"]);
    let problem = &a.fleet.status().problems[0];
    assert!(
        problem.text.contains("of 1000 at least") && problem.since_ms > 55_000,
        "{problem}"
    );
    // Twelve attempts in a minute, each of which gives up once as many have failed as are tried at once.
    let writes = flaky.writes() - writes;
    assert!((100..=2_000).contains(&writes), "{writes} writes");
    flaky.throttle(0, 0);
    until_held(&[&a], &[1_000], FAILOVER).await;
    sleep(Duration::from_secs(2)).await;
    assert!(a.problems().is_empty(), "{:?}", a.problems());
}

#[tokio::test(start_paused = true)]
async fn scans_that_are_throttled_become_rare_and_then_recover() {
    let (flaky, store) = flaky_table_of(4).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[4], Duration::from_secs(2)).await;
    flaky.throttle(4, 0);
    let scans = flaky.scans();
    sleep(Duration::from_secs(9)).await;
    assert_eq!(a.problems(), ["scan-failing"]);
    assert!(flaky.scans() - scans <= 6, "{}", flaky.scans() - scans);
    assert!(a.leads());
    sleep(Duration::from_secs(90)).await;
    let scans = flaky.scans();
    sleep(FAILOVER).await;
    assert!(flaky.scans() - scans >= 9, "as often as ever");
    assert!(a.problems().is_empty());
}
