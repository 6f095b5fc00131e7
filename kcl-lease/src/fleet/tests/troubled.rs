//! Workers that cannot do their work.

use super::*;
use crate::trouble::{Condition, Trouble};

fn unfit() -> Trouble {
    Trouble {
        condition: Condition::Unfit,
        ..Trouble::default()
    }
}

/// Says the same every second.
fn keep_declaring(worker: &TestWorker, trouble: &Trouble) -> tokio_util::task::AbortOnDropHandle<()> {
    let (fleet, trouble) = (worker.fleet.clone(), trouble.clone());
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            fleet.declare(trouble.clone());
            sleep(Duration::from_secs(1)).await;
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn an_unfit_worker_s_leases_go_to_another_and_come_back_when_it_is_well() {
    for leader_is_unfit in [false, true] {
        let store = table_of(4).await;
        let a = TestWorker::join(&store, "a").await;
        until_held(&[&a], &[4], Duration::from_secs(2)).await;
        let b = TestWorker::join(&store, "b").await;
        until_held(&[&a, &b], &[2, 2], Duration::from_secs(10)).await;
        let (sick, healthy) = if leader_is_unfit { (&a, &b) } else { (&b, &a) };
        let declaring = keep_declaring(sick, &unfit());
        until_held(&[healthy], &[4], Duration::from_secs(8)).await;
        sleep(FAILOVER * 10).await;
        assert_eq!((sick.count(), healthy.count()), (0, 4));
        drop(declaring);
        let _declaring = keep_declaring(sick, &Trouble::default());
        until_held(&[&a, &b], &[2, 2], Duration::from_secs(8)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_are_unfit_everybody_keeps_what_they_have() {
    let store = table_of(4).await;
    let a = TestWorker::join(&store, "a").await;
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&a, &b], &[2, 2], Duration::from_secs(10)).await;
    let _declaring = [&a, &b].map(|worker| keep_declaring(worker, &unfit()));
    for _ in 0..100 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!((a.count(), b.count()), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_says_nothing_more_is_taken_for_blocked() {
    let store = table_of(4).await;
    let a = TestWorker::join(&store, "a").await;
    let b = TestWorker::join(&store, "b").await;
    let _declaring = keep_declaring(&a, &Trouble::default());
    let declaring = keep_declaring(&b, &Trouble::default());
    until_held(&[&a, &b], &[2, 2], Duration::from_secs(10)).await;
    drop(declaring);
    sleep(FAILOVER * 2 - Duration::from_secs(1)).await;
    assert_eq!(b.count(), 2);
    until_held(&[&a], &[4], Duration::from_secs(9)).await;
    assert_eq!(b.problems(), ["runtime-blocked"]);
    assert!(b.fleet.declare(Trouble::default()), "it hears of it");
    until_held(&[&a, &b], &[2, 2], Duration::from_secs(8)).await;
    assert!(b.problems().is_empty());
}
