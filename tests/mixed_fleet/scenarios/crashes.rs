//! Workers that end without warning, or stand still.

use crate::fleet::{FAILOVER, MixedFleet};
use tokio::time::sleep;

/// A Java worker joins a fleet of ours and is killed.
pub(crate) async fn java_joins_rust_and_is_killed(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["rust1"]).await;

    let java = fleet.java("java1");
    fleet.until_shared(&[("java1", 2), ("rust1", 2)]).await;
    fleet.until_run_by(&["java1", "rust1"]).await;

    java.kill();
    fleet.until_run_by(&["rust1"]).await;
    fleet.stays_run_by("rust1", FAILOVER * 4).await;

    fleet.settle(producer).await;
    rust.stop().await;
}

/// The leader, a worker of ours, dies; the Java worker takes its place and its leases.
pub(crate) async fn java_survives_the_crash_of_a_rust_leader(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["rust1"]).await;
    let java = fleet.java("java1");
    fleet.until_run_by(&["java1", "rust1"]).await;

    rust.kill().await;
    fleet.until_led_by("java1").await;
    fleet.until_run_by(&["java1"]).await;

    fleet.settle(producer).await;
    java.stop().await;
}

/// A Java leader is killed; a worker of ours takes its place and its leases.
pub(crate) async fn rust_survives_the_crash_of_a_java_leader(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let java = fleet.java("java1");
    fleet.until_run_by(&["java1"]).await;
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["java1", "rust1"]).await;
    fleet.until_led_by("java1").await;

    java.kill();
    fleet.until_led_by("rust1").await;
    fleet.until_run_by(&["rust1"]).await;

    fleet.settle(producer).await;
    rust.stop().await;
}

/// A Java worker is stopped in its tracks for longer than the fail-over time, twice: as a member and as the leader.
/// When it goes on, it has lost everything, and takes part again.
pub(crate) async fn a_java_worker_that_was_frozen_comes_back(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let java = fleet.java("java1");
    fleet.until_run_by(&["java1"]).await;
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["java1", "rust1"]).await;

    for _ in 0..2 {
        java.freeze();
        fleet.until_led_by("rust1").await;
        fleet.until_run_by(&["rust1"]).await;
        sleep(FAILOVER).await;
        java.thaw();
        fleet.until_shared(&[("java1", 2), ("rust1", 2)]).await;
        fleet.until_run_by(&["java1", "rust1"]).await;
    }

    fleet.settle(producer).await;
    rust.stop().await;
    java.stop().await;
}
