//! Workers that tell how busy they are.

use std::sync::atomic::Ordering;

use super::*;
use crate::load::{Load, LoadError, LoadSource};
use crate::plan::Balancing;

/// As busy as it is told to be; at 101 % its source fails.
#[derive(Debug, Clone, Default)]
struct Dial(Arc<std::sync::atomic::AtomicU8>);

impl Dial {
    fn turn_to(&self, percent: u8) {
        self.0.store(percent, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl LoadSource for Dial {
    async fn sample(&self) -> Result<f64, LoadError> {
        Ok(f64::from(self.0.load(Ordering::Relaxed)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_load_cannot_be_measured_is_given_nothing_until_it_can() {
    let store = table_of(4).await;
    let (a, b) = (Dial::default(), Dial::default());
    let reporting = |dial: &Dial| {
        let load = Load::from_source(dial.clone());
        move |options: &mut FleetOptions| options.load = load
    };
    let first = TestWorker::join_with(&store, "a", reporting(&a)).await;
    until_held(&[&first], &[4], Duration::from_secs(1)).await;
    b.turn_to(101);
    let second = TestWorker::join_with(&store, "b", reporting(&b)).await;
    sleep(FAILOVER).await;
    assert_eq!(second.count(), 0);
    assert_eq!(
        store.scan().await.unwrap().workers[1].metrics["C"].samples,
        [-1.0]
    );
    b.turn_to(0);
    until_held(&[&first, &second], &[2, 2], Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_busier_than_the_others_gives_leases_away_unless_only_their_number_counts() {
    for (balancing, expected) in [(Balancing::Utilization, [1, 3]), (Balancing::Count, [2, 2])] {
        let store = table_of(4).await;
        let (a, b) = (Dial::default(), Dial::default());
        let reporting = |dial: &Dial| {
            let load = Load::from_source(dial.clone());
            move |options: &mut FleetOptions| (options.load, options.balancing) = (load, balancing)
        };
        let first = TestWorker::join_with(&store, "a", reporting(&a)).await;
        let second = TestWorker::join_with(&store, "b", reporting(&b)).await;
        until_held(&[&first, &second], &[2, 2], Duration::from_secs(5)).await;
        a.turn_to(90);
        b.turn_to(10);
        sleep(Duration::from_secs(110)).await;
        assert_eq!([first.count(), second.count()], expected, "{balancing:?}");
    }
}

/// Nothing at the first look, as a counter says, and then as busy as it is told to be.
#[derive(Debug, Default)]
struct Counter {
    dial: Dial,
    looks: std::sync::atomic::AtomicUsize,
}

#[async_trait::async_trait]
impl LoadSource for Counter {
    async fn sample(&self) -> Result<f64, LoadError> {
        match self.looks.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(0.0),
            _ => self.dial.sample().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_on_a_busy_machine_does_not_get_all_that_a_leader_leaves() {
    // The newcomer comes when a dead worker's leases are free, and so has some before it has measured anything.
    for (seconds, is_killed) in [(1, false), (1, true), (4, true), (15, true), (15, false)] {
        let store = table_of(6).await;
        let busy = |options: &mut FleetOptions| {
            let counter = Counter::default();
            counter.dial.turn_to(95);
            options.load = Load::from_source(counter);
        };
        let a = TestWorker::join_with(&store, "a", busy).await;
        until_held(&[&a], &[6], Duration::from_secs(2)).await;
        let b = TestWorker::join_with(&store, "b", busy).await;
        until_held(&[&a, &b], &[3, 3], FAILOVER).await;
        let d = TestWorker::join_with(&store, "d", busy).await;
        until_held(&[&a, &b, &d], &[2, 2, 2], FAILOVER).await;
        sleep(Duration::from_secs(120)).await;
        assert!(a.leads());
        d.kill();
        sleep(Duration::from_secs(7)).await;
        let c = TestWorker::join_with(&store, "c", busy).await;
        until_held(&[&a, &b, &c], &[2, 2, 2], FAILOVER).await;
        sleep(Duration::from_secs(seconds)).await;
        if is_killed {
            a.kill();
        } else {
            a.stop().await;
        }
        until_held(&[&b, &c], &[3, 3], FAILOVER * 2).await;
        sleep(Duration::from_secs(60)).await;
        let held = (b.count(), c.count());
        assert_eq!(held, (3, 3), "a minute later, after {seconds} s");
    }
}
