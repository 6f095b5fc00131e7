//! What a worker does becomes metrics of CloudWatch, as lines of a log.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::Environment;
use kcl_metrics::{CloudWatch, Level};
use kcl_tests::{Behaviour, Reaction, World};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, duplex};
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(60);

/// The metrics of some lines, each with its operation.
fn told(lines: &str) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let metrics = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(metrics["Namespace"], "orders");
        let operation = line["Operation"].as_str().expect("an operation");
        for metric in metrics["Metrics"].as_array().expect("a list") {
            let name = metric["Name"].as_str().expect("a name");
            assert!(line[name]["Count"].as_u64() > Some(0), "{name} in {line}");
            told.insert(format!("{operation} {name}"));
        }
    }
    told
}

#[tokio::test(start_paused = true)]
async fn the_metrics_of_the_java_kcl_come_of_a_worker_s_life() {
    let started = Instant::now();
    let clock = move || UNIX_EPOCH + Duration::from_secs(1_800_000_000) + started.elapsed();
    let (log, mut reader) = duplex(1 << 20);
    let numbers = CloudWatch::new("orders")
        .worker_id("one")
        .level(Level::Detailed)
        .environment(Environment::seeded(7, clock));
    let numbers = numbers.write_to(log).expect("started");
    let world = World::with_shards(2).await;
    world.put(20, 100).await;
    let behaviour = Behaviour::at_first(1, Reaction::Fail);
    let builder = world.builder("one", behaviour).recorder(numbers.recorder());
    let worker = world.run("one", builder);
    world.until_checkpointed(LIMIT).await;
    // Long enough for reports, looks for assignments and renewals.
    sleep(Duration::from_secs(150)).await;
    worker.stop().await;
    assert_eq!(numbers.finish().await, 0);
    let mut lines = String::new();
    reader.read_to_string(&mut lines).await.expect("text");
    let told = told(&lines);
    for expected in [
        "ApplicationTracker MillisBehindLatest",
        "InitializeTask RecordProcessor.initialize.Time",
        "LeaseAssignmentManager ExpiredLeases",
        "LeaseAssignmentManager NumWorkers",
        "LeaseAssignmentManager Success",
        "LeaseAssignmentManager Time",
        "LeaseAssignmentManager TotalLeases",
        "LeaderDecider LeaderDecider:IsLeader",
        "LeaseDiscovery NewLeasesDiscovered",
        "LeaseDiscovery Success",
        "LeaseDiscovery Time",
        "ProcessTask DataBytesProcessed",
        "ProcessTask KinesisDataFetcher.getRecords.Success",
        "ProcessTask KinesisDataFetcher.getRecords.Time",
        "ProcessTask KinesisDataFetcher.getShardIterator.Success",
        "ProcessTask KinesisDataFetcher.getShardIterator.Time",
        "ProcessTask MillisBehindLatest",
        "ProcessTask RecordProcessor.processRecords.Time",
        "ProcessTask RecordsProcessed",
        "ProcessTask StepFailures",
        "ProcessTask Success",
        "ProcessTask Time",
        "ProcessTask UpdateLease.Success",
        "ProcessTask UpdateLease.Time",
        "RenewAllLeases CurrentLeases",
        "RenewAllLeases LostLeases",
        "RenewAllLeases RenewLease.Success",
        "RenewAllLeases RenewLease.Time",
        "RenewAllLeases RenewalDelay",
        "RenewAllLeases Success",
        "ShutdownTask HandOff.Time",
        "ShutdownTask RecordProcessor.shutdown.Time",
        "Worker MemoryUsed",
        "WorkerMetricStatsReporter Success",
        "WorkerMetricStatsReporter Time",
    ] {
        assert!(told.contains(expected), "{expected} is not in {told:?}");
    }
    let processed: f64 = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter_map(|line| line["RecordsProcessed"]["Sum"].as_f64())
        .sum();
    assert_eq!(processed, 100.0);
}
