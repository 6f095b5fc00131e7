//! What a worker does can be followed in its numbers.

use std::sync::{Arc, Mutex};

use kcl_core::testing::Remembering;

use crate::world::{Reaction, World};

#[tokio::test(start_paused = true)]
async fn records_calls_and_failures_are_counted() {
    let world = World::with_shards(2).await;
    world.put(100).await;
    let failures = Arc::new(Mutex::new(2));
    let left = failures.clone();
    world.react(move |_, _| {
        let mut left = left.lock().expect("unpoisoned");
        match *left {
            0 => Reaction::Process,
            _ => {
                *left -= 1;
                Reaction::Fail
            }
        }
    });
    let seen = Arc::new(Remembering::default());
    let worker = world.worker("one").recorder(seen.clone()).build().expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("all records are processed", 60, || {
            seen.value("records_processed") >= 100.0
        })
        .await;
    assert_eq!(seen.value("step_failures.processor-failing"), 2.0);
    assert_eq!(seen.value("processor_call_time.initialize"), 2.0);
    let calls = seen.value("processor_call_time.process_records");
    assert!(calls >= 4.0, "{calls}");
    assert!(seen.value("bytes_processed") > 100.0 * 8.0);
    assert_eq!(seen.value("leases_acquired"), 2.0);
    assert!(seen.value("read_time") >= 2.0);
    assert_eq!(seen.value("millis_behind_latest"), 0.0);
    assert!(seen.value("table_calls.writing a lease.ok") >= 2.0);
    handle.shutdown().await;
    running.await.expect("no panic").expect("stopped");
    assert_eq!(seen.value("leases_lost.given-up"), 2.0);
}
