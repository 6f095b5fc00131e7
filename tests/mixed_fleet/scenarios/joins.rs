//! Workers of one kind join and leave a fleet of the other.

use crate::fleet::{CURRENT, MixedFleet};

/// With the current version.
pub(crate) async fn from_java_to_rust_and_back(scenario: &'static str) {
    pass_around(&MixedFleet::new(scenario, 4).await, CURRENT).await;
}

/// All Java, mixed under a Java leader, all of ours, mixed under our leader, all Java again: never stopped, and every
/// change of hands in good order, so nothing is delivered twice.
pub(super) async fn pass_around(fleet: &MixedFleet, version: &'static str) {
    let options = fleet.java_options(version);
    let producer = fleet.produce();

    let first = fleet.java_with("java1", &options);
    fleet.until_run_by(&["java1"]).await;
    fleet.until_led_by("java1").await;

    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["java1", "rust1"]).await;
    assert_eq!(fleet.leader().await.as_deref(), Some("java1"), "the leader stays");

    first.stop().await;
    fleet.until_run_by(&["rust1"]).await;
    fleet.until_led_by("rust1").await;

    let second = fleet.java_with("java2", &options);
    fleet.until_shared(&[("java2", 2), ("rust1", 2)]).await;
    fleet.until_run_by(&["java2", "rust1"]).await;
    assert_eq!(fleet.leader().await.as_deref(), Some("rust1"), "the leader stays");

    rust.stop().await;
    fleet.until_run_by(&["java2"]).await;
    fleet.until_led_by("java2").await;

    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();
    second.stop().await;
}
