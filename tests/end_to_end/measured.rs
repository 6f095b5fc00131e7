//! What a worker does can be followed in its numbers.

use std::sync::Arc;
use std::time::Duration;

use kcl_core::testing::Remembering;
use kcl_local::faults::{Fault, Rule};
use kcl_tests::{Behaviour, Reaction, World};
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

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
    assert_eq!(seen.value("processor_calls.process_records.failed"), 2.0);
    assert_eq!(seen.value("processor_calls.process_records.ok"), calls - 2.0);
    assert!(seen.value("checkpoints.ok") >= 2.0);
    assert_eq!(seen.value("checkpoint_time"), seen.value("checkpoints"));
    assert_eq!(seen.value("leads"), 1.0);
    assert_eq!(seen.value("leader_pass_time"), seen.value("leader_passes.ok"));
    // A digit each.
    assert_eq!(seen.value("bytes_processed"), 100.0);
    assert_eq!(seen.value("leases_acquired"), 2.0);
    worker
        .until(10 * SECOND, |_| {
            seen.value("fleet_leases_waiting") == 0.0 && seen.value("fleet_leases") == 2.0
        })
        .await;
    assert_eq!(seen.value("fleet_workers"), 1.0);
    assert!(seen.value("read_time") >= 2.0);
    assert_eq!(seen.value("millis_behind_latest"), 0.0);
    assert!(seen.value("table_calls.writing a lease.ok") >= 2.0);
    assert!(seen.value("kinesis_calls.GetRecords.ok") >= 2.0);
    assert!(seen.value("kinesis_calls.GetShardIterator.ok") >= 2.0);
    assert!(seen.value("kinesis_call_time.ListShards") >= 1.0);
    assert!(seen.value("memory_bound") > 0.0);
    worker
        .until(20 * SECOND, |_| seen.value("renewal_delay") >= 2.0)
        .await;
    assert!(seen.value("renewals.ok") >= 1.0);
    assert_eq!(seen.value("renewal_time"), seen.value("renewals.ok"));
    assert_eq!(seen.value("forgotten"), 0.0);
    worker.stop().await;
    assert_eq!(seen.value("leases_lost.given-up"), 2.0);
    assert_eq!(seen.value("hand_off_time"), 2.0);
    assert_eq!(seen.value("forgotten"), 2.0);
    assert_eq!(seen.value("fleet_leases"), 0.0, "it leads no more");
    assert_eq!(seen.value("leads"), 0.0, "nor does it say so");
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_gets_no_further_shows_how_long_and_what_it_keeps() {
    let world = World::with_shards(1).await;
    world.put(10, 10).await;
    let seen = Arc::new(Remembering::default());
    let builder = world.builder("one", Behaviour::scripted(|_, _| Reaction::Fail));
    let worker = world.run("one", builder.recorder(seen.clone()));
    worker
        .until(20 * SECOND, |_| {
            seen.value("step_failures.processor-failing") > 0.0
        })
        .await;
    sleep(60 * SECOND).await;
    let age = seen.value("since_progress");
    assert!((54.0..=62.0).contains(&age), "{age}");
    assert!(seen.value("memory_used") > 0.0, "the batch at hand");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_problem_of_the_worker_is_1_until_it_is_over() {
    let world = World::with_shards(1).await;
    let seen = Arc::new(Remembering::default());
    let builder = world.builder("one", Behaviour::default());
    let worker = world.run("one", builder.recorder(seen.clone()));
    worker.until(20 * SECOND, |status| status.leases_held == 1).await;
    let throttled = world
        .servers
        .faults
        .add(Rule::on("UpdateItem").fault(Fault::throttled()));
    let is_told = || seen.value("problems.renewal-failing");
    worker.until(60 * SECOND, |_| is_told() == 1.0).await;
    world.servers.faults.remove(throttled);
    worker.until(60 * SECOND, |_| is_told() == 0.0).await;
    worker.stop().await;
}
