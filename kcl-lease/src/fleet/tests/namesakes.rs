//! Two processes of one name.

use super::*;

fn problems(worker: &TestWorker) -> Vec<&'static str> {
    let problems = worker.fleet.status().problems;
    problems.into_iter().map(|problem| problem.code).collect()
}

async fn until_superseded(worker: &TestWorker, limit: Duration) {
    timeout(limit, worker.fleet.superseded())
        .await
        .expect("it is told that its name was taken");
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_living_processes_with_one_name_the_first_gives_up_and_says_so() {
    let store = table_of(4).await;
    let first = TestWorker::join(&store, "a").await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(5)).await;
    let second = TestWorker::join(&store, "a").await;
    until_held(&[&first, &second], &[0, 4], Duration::from_secs(4)).await;
    until_superseded(&first, FAILOVER).await;
    assert_eq!(problems(&first), ["worker-id-taken"]);
    assert_eq!(problems(&second), [""; 0]);
    sleep(6 * FAILOVER).await;
    assert_eq!((first.count(), second.count()), (0, 4), "it stays so");
}

#[tokio::test(start_paused = true)]
async fn the_first_takes_nothing_with_it_when_it_leaves() {
    let store = table_of(4).await;
    let first = TestWorker::join(&store, "a").await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(5)).await;
    let second = TestWorker::join(&store, "a").await;
    until_held(&[&first, &second], &[0, 4], Duration::from_secs(4)).await;
    first.stop().await;
    assert!(
        store.is_announced(&"a".into()).await.unwrap(),
        "the row is the second one's"
    );
    sleep(3 * FAILOVER).await;
    assert_eq!(second.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_whose_name_was_taken_learns_of_it_by_its_next_report() {
    let store = table_of(0).await;
    let first = TestWorker::join(&store, "a").await;
    sleep(Duration::from_secs(5)).await;
    let second = TestWorker::join(&store, "a").await;
    until_superseded(&first, FAILOVER).await;
    assert_eq!(problems(&second), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_from_a_long_standstill_does_not_take_the_leases_of_its_replacement() {
    let store = table_of(4).await;
    let first = TestWorker::join(&store, "a").await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(5)).await;
    let second = TestWorker::join(&store, "a").await;
    until_held(&[&second], &[4], Duration::from_secs(4)).await;
    // As its own clock tells it: it holds nothing, and the table names it.
    for held in first.fleet.held() {
        held.lose(LossReason::Expired);
    }
    until_superseded(&first, FAILOVER).await;
    assert_eq!((first.count(), second.count()), (0, 4));
}

/// The first process, which does not know yet that its name was taken, begins with a lease that is new.
#[tokio::test(start_paused = true)]
async fn the_second_process_stays_although_the_first_one_began_with_leases_of_its() {
    let store = table_of(4).await;
    let first = TestWorker::join(&store, "a").await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(5)).await;
    let second = TestWorker::join(&store, "a").await;
    until_held(&[&second], &[4], Duration::from_secs(4)).await;
    let key = LeaseKey::from("s00");
    first.fleet.held().iter().for_each(HeldLease::forsake);
    let begun = first.fleet.shared.keeper.acquire(&key, true).await.unwrap();
    assert!(begun.held().is_some());
    until_superseded(&first, FAILOVER).await;
    until_held(&[&first, &second], &[0, 4], FAILOVER).await;
    sleep(6 * FAILOVER).await;
    assert_eq!(problems(&second), [""; 0]);
    assert_eq!((first.count(), second.count()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_restarts_under_its_name_has_its_leases_at_once() {
    let store = table_of(4).await;
    let first = TestWorker::join(&store, "a").await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    sleep(Duration::from_secs(5)).await;
    first.kill();
    let again = TestWorker::join(&store, "a").await;
    let took = until_held(&[&again], &[4], Duration::from_secs(1)).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
}
