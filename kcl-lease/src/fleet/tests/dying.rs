//! Workers that die or are cut off: others have their leases soon, and never too early.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::advance;

use super::*;
use crate::store::tests::flaky::FlakyStore;

#[tokio::test(start_paused = true)]
async fn a_dead_worker_s_leases_flow_again_soon_after_the_fail_over_time() {
    for victim_leads in [false, true] {
        let store = table_of(8).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[8], Duration::from_secs(1)).await;
        let b = TestWorker::join(&store, "b").await;
        let c = TestWorker::join(&store, "c").await;
        until_held(&[&a, &b, &c], &[2, 3, 3], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(33)).await;
        assert!(a.leads());
        let (victim, rest) = if victim_leads { (a, [b, c]) } else { (c, [a, b]) };
        victim.kill();
        let took = until_held(&[&rest[0], &rest[1]], &[4, 4], Duration::from_secs(13)).await;
        assert!(
            took > Duration::from_secs(6),
            "nobody may take a lease before it can be expired: {took:?}"
        );
    }
}

/// Waits until the workers hold all these leases between them.
async fn until_taken(leases: &BTreeSet<LeaseKey>, workers: &[TestWorker]) {
    let is_held = |key: &LeaseKey| {
        let held = workers.iter().flat_map(|worker| worker.fleet.held());
        held.filter(HeldLease::is_valid).any(|held| held.key() == key)
    };
    while !leases.iter().all(is_held) {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_worker_s_leases_do_not_wait_longer_when_the_leader_changes_meanwhile() {
    for (part, leader_is_killed) in [
        (0.1, false),
        (0.3, false),
        (0.6, false),
        (0.9, false),
        (0.8, true),
    ] {
        let store = table_of(10).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[10], Duration::from_secs(1)).await;
        let rest =
            futures_util::future::join_all(["b", "c", "d", "e"].map(|id| TestWorker::join(&store, id)));
        let mut rest = rest.await;
        let all: Vec<_> = std::iter::once(&a).chain(&rest).collect();
        until_held(&all, &[2, 2, 2, 2, 2], Duration::from_secs(10)).await;
        sleep(Duration::from_secs(33)).await;
        assert!(a.leads());

        let victim = rest.remove(0);
        let orphans: BTreeSet<_> = victim
            .fleet
            .held()
            .iter()
            .map(|held| held.key().clone())
            .collect();
        victim.kill();
        let killed_at = Instant::now();
        sleep(FAILOVER.mul_f64(part)).await;
        if leader_is_killed {
            a.kill();
            // The lock is free after half of the fail-over time.
            until_taken(&orphans, &rest).await;
        } else {
            tokio::spawn(a.stop());
            sleep(Duration::from_millis(1500)).await;
            let leading = rest.iter().position(TestWorker::leads).expect("somebody leads");
            tokio::spawn(rest.remove(leading).stop());
            until_taken(&orphans, &rest).await;
        }
        let took = killed_at.elapsed();
        let limit = if leader_is_killed {
            FAILOVER.mul_f64(part + 0.5)
        } else {
            FAILOVER
        };
        assert!(
            took > Duration::from_secs(6),
            "nobody may take a lease before it can be expired: {took:?}"
        );
        assert!(
            took < limit + Duration::from_millis(1500),
            "at {part} of the fail-over time: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_cut_off_from_the_table_gives_up_before_anybody_takes_over() {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = Arc::clone(&flaky) as _;
    fill(&store, 4).await;
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[4], Duration::from_secs(1)).await;
    flaky.set_cut_off(true);
    sleep(FAILOVER - Duration::from_secs(4)).await;
    assert_eq!(a.count(), 4, "a short outage changes nothing");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(a.count(), 0);
    flaky.set_cut_off(false);
    until_held(&[&a], &[4], Duration::from_secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn at_no_moment_do_two_workers_believe_that_they_own_a_lease() {
    let store = table_of(12).await;
    let mut workers: BTreeMap<usize, TestWorker> = BTreeMap::new();
    for step in 0..40_usize {
        let name = format!("w{step}");
        match step % 4 {
            0 | 1 => drop(workers.insert(step, TestWorker::join(&store, &name).await)),
            2 => workers.pop_first().expect("some run").1.kill(),
            _ => {
                if workers.len() > 2 {
                    let (_, leaver) = workers.pop_last().expect("some run");
                    tokio::spawn(leaver.stop());
                }
            }
        }
        for _ in 0..30 {
            advance(Duration::from_millis(100)).await;
            sleep(Duration::from_millis(20)).await;
            let mut owners: BTreeMap<String, usize> = BTreeMap::new();
            for held in workers
                .values()
                .flat_map(|worker| worker.fleet.held())
                .filter(HeldLease::is_valid)
            {
                *owners.entry(held.key().to_string()).or_default() += 1;
            }
            assert!(
                owners.values().all(|count| *count == 1),
                "step {step}: {owners:?}"
            );
        }
    }
    let all: Vec<_> = workers.values().collect();
    let total = || all.iter().map(|worker| worker.count()).sum::<usize>();
    let start = Instant::now();
    while total() != 12 {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "only {} leases are held",
            total()
        );
        sleep(Duration::from_millis(50)).await;
    }
}
