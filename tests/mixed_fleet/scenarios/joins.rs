//! Workers of one kind join and leave a fleet of the other.

use std::time::Duration;

use kcl_lease::Lease;
use tokio::time::sleep;

use crate::fleet::{CURRENT, MixedFleet, PATIENCE};

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

/// A Java leader that counts leases and moves them without asking: their processors learn of it from a refused write.
pub(crate) async fn java_takes_leases_without_asking(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 6).await;
    let producer = fleet.produce();
    let work = Duration::from_millis(300);
    let mut options = fleet.java_options(CURRENT);
    options.settings.extend([
        ("isGracefulLeaseHandoffEnabled", "false".to_owned()),
        ("leaseAssignmentStrategy", "LEASE_COUNT_BASED".to_owned()),
        ("workMillis", work.as_millis().to_string()),
    ]);
    let first = fleet.java_with("java1", &options);
    fleet.until_run_by(&["java1"]).await;
    let rust = fleet.rust_at_work("rust1", work);
    fleet.until_shared(&[("java1", 3), ("rust1", 3)]).await;
    fleet.until_run_by(&["java1", "rust1"]).await;
    let second = fleet.java_with("java2", &options);
    fleet
        .until_shared(&[("java1", 2), ("java2", 2), ("rust1", 2)])
        .await;
    fleet.until_run_by(&["java1", "java2", "rust1"]).await;
    assert_eq!(fleet.leader().await.as_deref(), Some("java1"));
    assert!(
        fleet
            .world
            .ledger
            .called("lease_lost")
            .iter()
            .any(|(worker, _)| worker == "rust1"),
        "ours was not asked"
    );
    fleet.settle(producer).await;
    rust.stop().await;
    second.stop().await;
    first.stop().await;
}

/// Both kinds with the timers that they have when nothing is set. A Java worker looks for its leases every 10 s and
/// first writes to one up to 3.3 s later, which is more than the fail-over time after it was given the lease.
pub(crate) async fn java_with_its_own_timers_is_given_time(scenario: &'static str) {
    let fleet = MixedFleet::with_failover_time(scenario, 9, Duration::from_secs(10)).await;
    let producer = fleet.produce();
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["rust1"]).await;
    let first = fleet.java_with("java1", &fleet.default_java_options());
    let second = fleet.java_with("java2", &fleet.default_java_options());
    fleet
        .until_shared(&[("java1", 3), ("java2", 3), ("rust1", 3)])
        .await;
    fleet.until_run_by(&["java1", "java2", "rust1"]).await;
    sleep(Duration::from_secs(30)).await;
    fleet
        .until_shared(&[("java1", 3), ("java2", 3), ("rust1", 3)])
        .await;
    let begun = fleet.world.ledger.called("initialize");
    let begun = |name: &str| begun.iter().filter(|(worker, _)| worker == name).count();
    assert_eq!(begun("rust1"), 9, "nothing came back");
    assert!(
        begun("java1") + begun("java2") <= 8,
        "nothing went round in circles"
    );
    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();
    first.stop().await;
    second.stop().await;
    rust.stop().await;
}

/// Workers of ours join and stop again while a slow Java worker is about to hand leases over to them: the hand-overs are
/// called off, and the Java worker takes its leases up again.
pub(crate) async fn hand_overs_from_java_are_called_off(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let mut options = fleet.java_options(CURRENT);
    options.settings.insert("workMillis", "1500".to_owned());
    let java = fleet.java_with("java1", &options);
    fleet.until_run_by(&["java1"]).await;
    for round in 0..3 {
        let name = format!("rust{round}");
        let rust = fleet.rust(&name);
        fleet
            .until(
                PATIENCE,
                &format!("a lease is on its way to {name}"),
                async || {
                    let leases = fleet.open_leases().await;
                    let to_ours =
                        |lease: &Lease| lease.is_in_hand_off() && lease.owner == Some(name.as_str().into());
                    leases.iter().any(to_ours).then_some(())
                },
            )
            .await;
        rust.stop().await;
        fleet.until_run_by(&["java1"]).await;
    }
    fleet.settle(producer).await;
    java.stop().await;
}

/// A Java worker that is about to get leases from a slow worker of ours stops, or is killed: it never takes them up.
pub(crate) async fn java_stops_while_leases_are_on_their_way_to_it(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let rust = fleet.rust_at_work("rust1", Duration::from_millis(1500));
    fleet.until_run_by(&["rust1"]).await;
    for (name, is_killed) in [("java1", false), ("java2", true)] {
        let java = fleet.java(name);
        fleet
            .until(
                PATIENCE,
                &format!("a lease is on its way to {name}"),
                async || {
                    let leases = fleet.open_leases().await;
                    let to_java = |lease: &Lease| lease.is_in_hand_off() && lease.owner == Some(name.into());
                    leases.iter().any(to_java).then_some(())
                },
            )
            .await;
        if is_killed {
            java.kill();
        } else {
            java.stop().await;
        }
        fleet.until_run_by(&["rust1"]).await;
    }
    fleet.settle(producer).await;
    rust.stop().await;
}
