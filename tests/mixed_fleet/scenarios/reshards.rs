//! Splits and merges under mixed fleets.

use crate::fleet::MixedFleet;

/// Shards end, and children begin, on workers of either kind, under leaders of either kind.
pub(crate) async fn splits_and_merges_in_a_mixed_fleet(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let java = fleet.java("java1");
    fleet.until_run_by(&["java1"]).await;
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["java1", "rust1"]).await;
    fleet.until_led_by("java1").await;
    reshard(&fleet).await;

    java.stop().await;
    fleet.until_led_by("rust1").await;
    let java = fleet.java("java2");
    fleet.until_run_by(&["java2", "rust1"]).await;
    reshard(&fleet).await;

    fleet.settle(producer).await;
    rust.stop().await;
    java.stop().await;
}

/// Splits one shard of each worker; then merges a pair that two workers own, if there is one, else any.
async fn reshard(fleet: &MixedFleet) {
    let leases = fleet.open_leases().await;
    for worker in ["java", "rust"] {
        let owned_by = |lease: &&kcl_lease::Lease| {
            lease
                .owner
                .as_ref()
                .is_some_and(|owner| owner.as_str().starts_with(worker))
        };
        let lease = leases.iter().find(owned_by).expect("it owns some");
        fleet.world.split(lease.key.as_str()).await;
    }
    let ended = leases.len() + 2;
    fleet.until_open(ended).await;

    let mut leases = fleet.open_leases().await;
    leases.sort_by_key(|lease| lease.hash_range.map(|range| range.start));
    let pairs = || leases.windows(2);
    let pair = pairs()
        .find(|pair| pair[0].owner != pair[1].owner)
        .or_else(|| pairs().next())
        .expect("two shards");
    fleet
        .world
        .merge(pair[0].key.as_str(), pair[1].key.as_str())
        .await;
    fleet.until_open(leases.len() - 1).await;
}
