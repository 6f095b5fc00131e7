//! What a worker does can be followed in its numbers.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::testing::Remembering;
use kcl_tests::{Behaviour, Reaction, World};

#[tokio::test(start_paused = true)]
async fn records_calls_and_failures_are_counted() {
    let world = World::with_shards(2).await;
    world.put(100, 100).await;
    let seen = Arc::new(Remembering::default());
    let builder = world.builder("one", Behaviour::at_first(2, Reaction::Fail));
    let worker = world.run("one", builder.recorder(seen.clone()));
    worker
        .until(Duration::from_secs(60), |_| {
            seen.value("records_processed") >= 100.0
        })
        .await;
    assert_eq!(seen.value("step_failures.processor-failing"), 2.0);
    assert_eq!(seen.value("processor_call_time.initialize"), 2.0);
    let calls = seen.value("processor_call_time.process_records");
    assert!(calls >= 4.0, "{calls}");
    // Keys and payloads: `user-0` to `user-99`, and a digit each. (What a record costs beside them is counted, too.)
    assert!(seen.value("bytes_processed") >= 790.0);
    assert_eq!(seen.value("leases_acquired"), 2.0);
    assert!(seen.value("read_time") >= 2.0);
    assert_eq!(seen.value("millis_behind_latest"), 0.0);
    assert!(seen.value("table_calls.writing a lease.ok") >= 2.0);
    worker.stop().await;
    assert_eq!(seen.value("leases_lost.given-up"), 2.0);
}
