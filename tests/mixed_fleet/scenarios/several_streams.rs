//! Fleets of both kinds that read several streams.

use std::collections::BTreeSet;

use kcl_core::{StreamId, Streams};

use crate::fleet::{CURRENT, MixedFleet, PATIENCE};

/// Under a Java leader, then under ours, then under Java's again: each reads the leases that the other made.
pub(crate) async fn several_streams_are_read_together(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let orders = fleet.world.on_stream("orders");
    orders.create_stream(1).await;
    let mut ids = Vec::new();
    for stream in ["clicks", "orders"] {
        let summary = fleet.world.kinesis.describe_stream_summary().stream_name(stream);
        let described = summary.send().await.expect("described");
        let described = described.stream_description_summary.expect("told");
        let account = described.stream_arn.split(':').nth(4).expect("an ARN").to_owned();
        let created_at = described.stream_creation_timestamp.secs();
        ids.push(format!("{account}:{stream}:{created_at}"));
    }
    let mut options = fleet.java_options(CURRENT);
    options.settings.insert("streams", ids.join(","));
    let rust = |name: &str| {
        fleet.rust_with(name, |builder| {
            builder.streams(Streams::fixed(["clicks", "orders"]))
        })
    };
    let producer = fleet.produce();

    let first = fleet.java_with("java1", &options);
    fleet.until_owned_by(&["java1"]).await;
    let ours = rust("rust1");
    fleet.until_owned_by(&["java1", "rust1"]).await;
    assert_eq!(fleet.leader().await.as_deref(), Some("java1"), "the leader stays");

    first.stop().await;
    fleet.until_owned_by(&["rust1"]).await;
    fleet.until_led_by("rust1").await;
    let second = fleet.java_with("java2", &options);
    fleet.until_owned_by(&["java2", "rust1"]).await;

    ours.stop().await;
    fleet.until_owned_by(&["java2"]).await;
    fleet.settle(producer).await;
    fleet.world.assert_exactly_once();

    orders.put(20, 50).await;
    orders.until_drained(PATIENCE).await;
    let leases = fleet.table().await.leases;
    let of = |key: &str| {
        key.rsplit_once(':')
            .map(|(stream, _)| stream.to_owned())
            .unwrap_or_default()
    };
    let streams: BTreeSet<_> = leases.iter().map(|lease| of(lease.key.as_str())).collect();
    assert_eq!(streams, ids.iter().cloned().collect());
    for lease in &leases {
        let named = lease
            .stream_shard
            .as_ref()
            .expect("it says of which stream it is");
        assert!(named.stream.parse::<StreamId>().is_ok(), "{named:?}");
    }
    second.stop().await;
}
