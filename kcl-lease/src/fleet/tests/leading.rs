//! Who leads next, and what the leader does for the fleet.

use super::*;
use crate::store::WorkerRow;
use crate::store::tests::flaky::FlakyStore;

#[tokio::test(start_paused = true)]
async fn the_leader_forgets_workers_that_have_been_silent_for_a_day() {
    let store = table_of(2).await;
    for (id, age) in [("old", 86_500), ("recent", 3600)] {
        let row = WorkerRow::new(id, 1_800_000_000 - age);
        store.report(&row).await.unwrap();
    }
    let a = TestWorker::join(&store, "a").await;
    until_held(&[&a], &[2], Duration::from_secs(1)).await;
    sleep(FAILOVER).await;
    let workers = store.scan().await.unwrap().workers;
    let ids: Vec<_> = workers.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["a", "recent"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_large_fleet_three_get_ready_to_lead_and_one_of_them_does() {
    let flaky = FlakyStore::new();
    let store: Arc<dyn LeaseStore> = Arc::clone(&flaky) as _;
    fill(&store, 20).await;
    let mut workers = Vec::new();
    for i in 0..20 {
        workers.push(TestWorker::join(&store, &format!("w{i:02}")).await);
    }
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[1; 20], FAILOVER).await;
    sleep(FAILOVER).await;
    let leader = workers
        .iter()
        .position(TestWorker::leads)
        .expect("somebody leads");
    let leader = workers.remove(leader);
    let heirs = store.read_leader().await.unwrap().expect("a lock").heirs;
    assert_eq!(heirs.len(), 3);
    leader.kill();
    let (killed_at, scans) = (Instant::now(), flaky.scans());
    let successor = loop {
        if let Some(successor) = workers.iter().find(|worker| worker.leads()) {
            break successor.fleet.worker_id().clone();
        }
        assert!(killed_at.elapsed() < FAILOVER * 7 / 10, "nobody leads");
        sleep(Duration::from_millis(100)).await;
    };
    assert!(heirs.contains(&successor));
    // They look every second, in the last 3.5 s of the lock.
    let most = 3 * 5;
    let scans = flaky.scans() - scans;
    assert!((3..=most).contains(&scans), "{scans} scans");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_whose_heirs_die_with_the_leader_is_led_by_another() {
    let store = table_of(12).await;
    let mut workers = Vec::new();
    for i in 0..6 {
        workers.push(TestWorker::join(&store, &format!("w{i:02}")).await);
    }
    let all: Vec<_> = workers.iter().collect();
    until_held(&all, &[2; 6], FAILOVER).await;
    sleep(FAILOVER).await;
    let lock = store.read_leader().await.unwrap().expect("a lock");
    let (rest, gone): (Vec<_>, Vec<_>) = workers.into_iter().partition(|worker| {
        let id = worker.fleet.worker_id();
        *id != lock.owner && !lock.heirs.contains(id)
    });
    assert_eq!((rest.len(), gone.len()), (2, 4));
    for worker in gone {
        worker.kill();
    }
    let rest: Vec<_> = rest.iter().collect();
    // Nobody was there to see how long the leases of the dead stood still.
    until_held(&rest, &[6, 6], FAILOVER * 2).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_seen_an_emptied_table_finds_the_protocol_in_it() {
    let memory = Arc::new(MemoryLeaseStore::new());
    let store: Arc<dyn LeaseStore> = Arc::clone(&memory) as _;
    fill(&store, 2).await;
    let leader = TestWorker::join(&store, "a").await;
    until_held(&[&leader], &[2], FAILOVER).await;
    memory.delete_leases_and_version();
    let mut table = leader.fleet.table();
    let emptied = table.wait_for(|seen| seen.as_ref().is_some_and(|seen| seen.leases.is_empty()));
    timeout(FAILOVER, emptied).await.expect("seen").expect("leads");
    let other = ClientVersion {
        version: "another".to_owned(),
        modified_by: "nobody".to_owned(),
        modified_at: 0,
    };
    assert!(store.agree_on_version(&other).await.unwrap().is_current());
}
