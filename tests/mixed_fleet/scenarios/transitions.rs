//! How long a mixed fleet takes, with the timers that both kinds have when nothing is set, against what fleets of the Java
//! KCL 3.5.1 alone were measured to take.

use std::time::Duration;

use tokio::time::sleep;

use crate::fleet::MixedFleet;

const FAILOVER: Duration = Duration::from_secs(10);

/// A worker joins, until it has its first leases. (A Java leader may leave it with fewer than its share.)
const JOIN: Duration = Duration::from_secs(200);
/// A worker is killed, until its last shard is processed. Measured were 30 to 80 s; a Java leader takes the row of a dead worker
/// for alive for up to 60 s, and may give it a lease at the end of them, which it finds expired 20 s later, and the next owner
/// up to 10 s after that.
const KILL: Duration = Duration::from_secs(100);
/// A worker is told to stop, until its last shard is processed.
const STOP: Duration = Duration::from_secs(64);
/// The leader is killed, until its last shard is processed.
const LEADER_KILL: Duration = Duration::from_secs(185);

/// Workers of ours join, are killed and are stopped.
pub(crate) async fn no_slower_than_java_alone_under_a_java_leader(scenario: &'static str) {
    let fleet = MixedFleet::with_failover_time(scenario, 4, FAILOVER).await;
    let producer = fleet.produce();
    let java = fleet.java_with("java1", &fleet.default_java_options());
    fleet.until_run_within(JOIN, &["java1"]).await;
    fleet.until_led_by("java1").await;

    let killed = fleet.rust("rust1");
    fleet.until_run_within(JOIN, &["java1", "rust1"]).await;
    // Workers that just joined have just reported.
    sleep(Duration::from_secs(30)).await;
    killed.kill().await;
    fleet.until_run_within(KILL, &["java1"]).await;

    let stopped = fleet.rust("rust2");
    fleet.until_run_within(JOIN, &["java1", "rust2"]).await;
    let stopping = tokio::spawn(stopped.stop());
    fleet.until_run_within(STOP, &["java1"]).await;
    stopping.await.expect("no panic");

    fleet.until_led_by("java1").await;
    fleet.settle(producer).await;
    java.stop().await;
}

/// A leader of each kind is killed, and a worker of the other kind takes its place.
pub(crate) async fn no_slower_than_java_alone_when_leaders_die(scenario: &'static str) {
    let fleet = MixedFleet::with_failover_time(scenario, 4, FAILOVER).await;
    let producer = fleet.produce();
    let rust = fleet.rust("rust1");
    fleet.until_led_by("rust1").await;
    let java = fleet.java_with("java1", &fleet.default_java_options());
    fleet.until_run_within(JOIN, &["java1", "rust1"]).await;
    rust.kill().await;
    fleet.until_run_within(LEADER_KILL, &["java1"]).await;

    fleet.until_led_by("java1").await;
    let rust = fleet.rust("rust2");
    fleet.until_run_within(JOIN, &["java1", "rust2"]).await;
    java.kill();
    fleet.until_run_within(LEADER_KILL, &["rust2"]).await;

    fleet.settle(producer).await;
    rust.stop().await;
}
