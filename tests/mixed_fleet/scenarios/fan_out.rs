//! The Java KCL as it reads unless told otherwise: by subscriptions over HTTP/2. Its SDK asks for these in JSON, and for all else in
//! CBOR.

use std::time::Duration;

use kcl_local::faults::{Fault, Rule};

use crate::fleet::{CURRENT, MixedFleet, PATIENCE};

/// Workers of Java subscribe to the bundled backend: across renewals, a split, a merge and a crash, and never by reads.
pub(crate) async fn java_subscribes_in_its_default_mode(scenario: &'static str) {
    let fleet = MixedFleet::with_subscriptions(scenario, 2, Duration::from_secs(10)).await;
    let faults = &fleet.world.servers.faults;
    let subscribed = faults.add(Rule::on("SubscribeToShard").fault(Fault::none()));
    let read = faults.add(Rule::on("GetRecords").fault(Fault::none()));
    let producer = fleet.produce();
    let mut options = fleet.java_options(CURRENT);
    options.settings.insert("fanOut", "true".to_owned());
    let java = fleet.java_with("java1", &options);
    fleet.until_run_by(&["java1"]).await;
    fleet
        .until(PATIENCE, "subscriptions were renewed", async || {
            (faults.hits(subscribed) >= 6).then_some(())
        })
        .await;

    let leases = fleet.open_leases().await;
    fleet.world.split(leases[0].key.as_str()).await;
    fleet.until_open(3).await;
    let mut leases = fleet.open_leases().await;
    leases.sort_by_key(|lease| lease.hash_range.map(|range| range.start));
    fleet
        .world
        .merge(leases[0].key.as_str(), leases[1].key.as_str())
        .await;
    fleet.until_open(2).await;

    let heir = fleet.java_with("java2", &options);
    java.kill();
    fleet.until_run_by(&["java2"]).await;
    fleet.settle(producer).await;
    assert_eq!(faults.hits(read), 0, "nothing was read");
    heir.stop().await;
}
