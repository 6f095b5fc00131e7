//! What a worker does can be followed in its numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kcl_core::{Counter, Gauge, Histogram, Labels, Recorder};

use crate::world::{Reaction, World};

/// The last or the summed value under each name and, behind dots, its operation and its code.
#[derive(Debug, Default)]
struct Counting(Mutex<BTreeMap<String, f64>>);

impl Counting {
    fn of(&self, name: &str) -> f64 {
        let seen = self.0.lock().expect("unpoisoned");
        seen.get(name).copied().unwrap_or(0.0)
    }

    fn note(&self, name: &str, labels: Labels<'_>, change: impl FnOnce(&mut f64)) {
        let parts = [Some(name), labels.operation, labels.code];
        let key = parts.into_iter().flatten().collect::<Vec<_>>().join(".");
        change(self.0.lock().expect("unpoisoned").entry(key).or_default());
    }
}

impl Recorder for Counting {
    fn add(&self, counter: Counter, labels: Labels<'_>, amount: u64) {
        self.note(counter.name(), labels, |value| *value += amount as f64);
    }

    fn set(&self, gauge: Gauge, labels: Labels<'_>, new: f64) {
        self.note(gauge.name(), labels, |value| *value = new);
    }

    fn observe(&self, histogram: Histogram, labels: Labels<'_>, _value: f64) {
        self.note(histogram.name(), labels, |value| *value += 1.0);
    }
}

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
    let seen = Arc::new(Counting::default());
    let worker = world.worker("one").recorder(seen.clone()).build().expect("valid");
    let handle = worker.handle();
    let running = tokio::spawn(worker.run());
    world
        .eventually("all records are processed", 60, || {
            seen.of("records_processed") >= 100.0
        })
        .await;
    assert_eq!(seen.of("step_failures.processor-failing"), 2.0);
    assert_eq!(seen.of("processor_call_time.initialize"), 2.0);
    let calls = seen.of("processor_call_time.process_records");
    assert!(calls >= 4.0, "{calls}");
    assert!(seen.of("bytes_processed") > 100.0 * 8.0);
    assert_eq!(seen.of("leases_acquired"), 2.0);
    assert!(seen.of("read_time") >= 2.0);
    assert_eq!(seen.of("millis_behind_latest"), 0.0);
    assert!(seen.of("table_calls.writing a lease.ok") >= 2.0);
    handle.shutdown().await;
    running.await.expect("no panic").expect("stopped");
    assert_eq!(seen.of("leases_lost.given-up"), 2.0);
}
