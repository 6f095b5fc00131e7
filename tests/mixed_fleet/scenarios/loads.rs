//! Workers that tell how busy they are, each kind under a leader of the other kind.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kcl_core::{Load, LoadError, LoadSource, ShardState, WorkerHandle, async_trait};
use kcl_tests::Running;
use tokio::time::sleep;

use crate::fleet::{CURRENT, MixedFleet, PATIENCE};
use crate::java::JavaWorker;

/// Percent of its CPU that each shard takes of a worker.
const PER_SHARD: u32 = 8;
/// What one machine does besides: four shards are as much.
const BASE: u32 = 4 * PER_SHARD;
/// How often workers report.
const REPORTS: Duration = Duration::from_secs(2);
const SHARDS: usize = 8;

/// A machine that is busy with the shards of its worker, and with something else.
#[derive(Debug)]
struct Machine {
    base: u32,
    worker: Arc<OnceLock<WorkerHandle>>,
}

#[async_trait]
impl LoadSource for Machine {
    async fn sample(&self) -> Result<f64, LoadError> {
        let status = self.worker.get().ok_or("it has not started")?.status();
        let shards = status.shards.iter();
        let processed = shards
            .filter(|shard| shard.state == ShardState::Processing)
            .count();
        let percent = self.base + PER_SHARD * u32::try_from(processed)?;
        Ok(f64::from(percent.min(100)))
    }
}

fn rust(fleet: &MixedFleet, name: &str, base: u32) -> Running {
    let worker = Arc::new(OnceLock::new());
    let machine = Machine {
        base,
        worker: Arc::clone(&worker),
    };
    let running = fleet.rust_with(name, |builder| {
        builder.load(Load::from_source(machine)).report_interval(REPORTS)
    });
    worker.set(running.handle.clone()).expect("once");
    running
}

fn java(fleet: &MixedFleet, name: &str, base: u32) -> JavaWorker {
    let mut options = fleet.java_options(CURRENT);
    let settings = [
        ("disableWorkerMetrics", "false".to_owned()),
        (
            "workerMetricsReporterFreqInMillis",
            REPORTS.as_millis().to_string(),
        ),
        ("inMemoryWorkerMetricsCaptureFrequencyMillis", "200".to_owned()),
        ("cpuBase", base.to_string()),
        ("cpuPerShard", PER_SHARD.to_string()),
    ];
    options.settings.extend(settings);
    fleet.java_with(name, &options)
}

/// Waits until the worker whose machine does something else has at most three of eight shards, and the other one the rest;
/// then that must stay so.
async fn until_even(fleet: &MixedFleet, busy: &str, idle: &str) {
    let is_even = async || {
        let shares = fleet.shares().await?;
        let of = |name| shares.get(name).copied().unwrap_or(0);
        ((1..=3).contains(&of(busy)) && of(busy) + of(idle) == SHARDS).then_some(())
    };
    fleet
        .until(PATIENCE, &format!("{busy} has less than {idle}"), is_even)
        .await;
    sleep(REPORTS * 8).await;
    let what = format!("{busy} still has less than {idle}");
    fleet.until(PATIENCE, &what, is_even).await;
}

/// By count each would have four shards.
pub(crate) async fn a_rust_leader_goes_by_the_load_of_java(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 8).await;
    let producer = fleet.produce();
    let leader = rust(&fleet, "rust1", 0);
    fleet.until_run_by(&["rust1"]).await;
    fleet.until_led_by("rust1").await;
    let java = java(&fleet, "java1", BASE);
    until_even(&fleet, "java1", "rust1").await;
    fleet.until_led_by("rust1").await;
    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();
    java.stop().await;
    leader.stop().await;
}

/// A leader that could not read our reports would leave our worker with four shards, or with none.
pub(crate) async fn a_java_leader_goes_by_the_load_of_rust(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 8).await;
    let producer = fleet.produce();
    let leader = java(&fleet, "java1", 0);
    fleet.until_run_by(&["java1"]).await;
    fleet.until_led_by("java1").await;
    let rust = rust(&fleet, "rust1", BASE);
    until_even(&fleet, "rust1", "java1").await;
    fleet.until_led_by("java1").await;
    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();
    rust.stop().await;
    leader.stop().await;
}
