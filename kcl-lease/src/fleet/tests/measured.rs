//! What a worker does shows in its numbers.

use super::*;
use crate::testing::Remembering;

#[tokio::test(start_paused = true)]
async fn leases_and_calls_of_the_table_are_counted() {
    let store = table_of(2).await;
    let seen = Arc::new(Remembering::default());
    let to = Metrics::to(seen.clone());
    let a = TestWorker::join_with(&store, "a", |options| options.metrics = to).await;
    until_held(&[&a], &[2], Duration::from_secs(1)).await;
    sleep(FAILOVER).await;
    assert_eq!((seen.value("leases_held"), seen.value("leads")), (2.0, 1.0));
    assert_eq!(seen.value("leases_acquired.s00"), 1.0);
    let scans = seen.value("table_calls.scanning.ok");
    assert!(scans >= 8.0, "about one each second, {scans}");
    assert_eq!(seen.value("table_call_time.scanning"), scans);
    let b = TestWorker::join(&store, "b").await;
    until_held(&[&a, &b], &[1, 1], Duration::from_secs(5)).await;
    let given_up = ["s00", "s01"].map(|lease| seen.value(&format!("leases_lost.{lease}.given-up")));
    assert_eq!(given_up.iter().sum::<f64>(), 1.0);
    sleep(FAILOVER).await;
    assert_eq!(seen.value("leases_held"), 1.0);
}
