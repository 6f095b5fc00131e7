//! Java workers of older generations.

use std::fmt::Debug;

use aws_sdk_dynamodb::types::AttributeValue;
use tokio::time::timeout;

use super::joins::pass_around;
use crate::fleet::{CURRENT, MixedFleet, PATIENCE};

/// The last of the second generation.
pub(crate) const SECOND: &str = "2.7.2";

/// One with a table for leases, one for the coordinator's state and one for the workers.
pub(crate) const THREE_TABLES: &str = "3.1.3";

/// Joining workers of KCL 2.x is refused and leaves them in peace; once they are gone their leases can be taken over.
pub(crate) async fn workers_of_2x_are_not_joined_but_can_be_followed(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 2).await;
    let producer = fleet.produce();
    let java = fleet.java_with("java1", &fleet.java_options(SECOND));
    fleet.until_run_by(&["java1"]).await;
    let leases = fleet.keys("app", "leaseKey").await;
    let before = shape(&fleet).await;

    let ended = timeout(PATIENCE, fleet.rust("rust1").ended())
        .await
        .expect("at once");
    let refusal = ended.expect_err("refused").to_string();
    for word in [
        "KCL 2.x",
        "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
        "take over from 2.x",
    ] {
        assert!(refusal.contains(word), "{refusal}");
    }
    assert_eq!(fleet.keys("app", "leaseKey").await, leases);
    assert_eq!(shape(&fleet).await, before);
    fleet.until_run_by(&["java1"]).await;

    java.stop().await;
    let rust = fleet.rust_with("rust1", |builder| builder.takes_over_from_2x(true));
    fleet.until_run_by(&["rust1"]).await;
    fleet.settle(producer).await;
    rust.stop().await;
}

/// What a lease table is made of: its attributes' definitions, its key and its indexes.
async fn shape(fleet: &MixedFleet) -> impl PartialEq + Debug + use<> {
    let described = fleet.dynamodb().describe_table().table_name("app").send().await;
    let table = described.expect("described").table.expect("there is one");
    (
        table.attribute_definitions,
        table.key_schema,
        table.global_secondary_indexes,
    )
}

/// As with the current version, but the lease table must hold nothing but leases, and both kinds lead by the lock in the
/// table of the coordinator's state.
pub(crate) async fn three_tables_are_shared_with_java_3_1(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    pass_around(&fleet, THREE_TABLES).await;
    let rows = fleet.keys("app", "leaseKey").await;
    assert!(rows.iter().all(|key| key.starts_with("shardId-")), "{rows:?}");
    let state = fleet.keys("app-CoordinatorState", "key").await;
    assert!(state.contains(&"Migration3.0".to_owned()), "{state:?}");
    // Rows of workers that left in good order are deleted by ours, and kept by Java's.
    let workers = fleet.keys("app-WorkerMetricStats", "wid").await;
    assert_eq!(workers, ["java1", "java2"]);
}

/// Workers of 3.1 are replaced by workers of 3.5, which stay on the three tables until they are told otherwise; there is
/// always one of ours beside them. A Java leader begins the migration to the single table as soon as all workers are
/// known to understand it, for which ours vouches.
pub(crate) async fn java_3_1_is_replaced_by_3_5_beside_rust(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let old = fleet.java_with("java1", &fleet.java_options(THREE_TABLES));
    fleet.until_run_by(&["java1"]).await;
    let rust = fleet.rust("rust1");
    fleet.until_run_by(&["java1", "rust1"]).await;
    let new = fleet.java("java2");
    // A Java leader need not give every worker a lease.
    fleet.until_announced("java2").await;
    old.stop().await;
    fleet.until_run_by(&["java2", "rust1"]).await;
    rust.stop().await;
    fleet.until_led_by("java2").await;
    let rust = fleet.rust("rust2");
    fleet.until_run_by(&["java2", "rust2"]).await;
    fleet
        .until(PATIENCE, "the migration begins", async || {
            let state = fleet.keys("app-CoordinatorState", "key").await;
            state.contains(&"TableMigration3.5".to_owned()).then_some(())
        })
        .await;
    let rows = fleet.keys("app", "leaseKey").await;
    assert!(rows.iter().all(|key| key.starts_with("shardId-")), "{rows:?}");
    fleet.settle(producer).await;
    rust.stop().await;
    new.stop().await;
}

/// The move to the single table, step by step, made by Java leaders with workers of ours in the fleet. The hours that a
/// step must last are put into the rows.
pub(crate) async fn the_move_to_the_single_table_is_followed(scenario: &'static str) {
    let fleet = MixedFleet::new(scenario, 4).await;
    let producer = fleet.produce();
    let old = fleet.java_with("java1", &fleet.java_options(THREE_TABLES));
    fleet.until_run_by(&["java1"]).await;
    old.stop().await;
    let stays = fleet.java("java2");
    fleet.until_led_by("java2").await;
    let ours = fleet.rust("rust1");
    fleet.until_run_by(&["java2", "rust1"]).await;
    until_migration(&fleet, "INIT").await;
    age_migration(&fleet).await;
    until_migration(&fleet, "DEPLOYED").await;

    let mut moving = fleet.java_options(CURRENT);
    moving
        .settings
        .insert("migrateAllEntitiesToLeaseTable", "true".to_owned());
    let moves = fleet.java_with("java3", &moving);
    fleet.until_announced("java3").await;
    ours.stop().await;
    stays.stop().await;
    fleet.until_led_by("java3").await;
    let ours = fleet.rust_with("rust2", |builder| builder.moves_to_single_table(true));
    fleet.until_run_by(&["java3", "rust2"]).await;
    until_migration(&fleet, "PENDING").await;
    let rows = fleet.keys("app", "leaseKey").await;
    assert!(
        ["Migration3.0", "java3", "rust2"]
            .iter()
            .all(|row| rows.contains(&(*row).to_owned())),
        "{rows:?}"
    );
    age_migration(&fleet).await;
    until_migration(&fleet, "COMPLETE").await;
    fleet
        .until(PATIENCE, "the lock is in the lease table", async || {
            let rows = fleet.keys("app", "leaseKey").await;
            rows.contains(&"Leader".to_owned()).then_some(())
        })
        .await;
    fleet.until_run_by(&["java3", "rust2"]).await;

    moves.stop().await;
    fleet.until_led_by("rust2").await;
    fleet.until_run_by(&["rust2"]).await;
    let last = fleet.java("java4");
    fleet.until_run_by(&["java4", "rust2"]).await;
    fleet.settle(producer).await;
    ours.stop().await;
    last.stop().await;
}

async fn migration(fleet: &MixedFleet) -> Option<String> {
    let row = fleet.dynamodb().get_item().table_name("app-CoordinatorState");
    let row = row.key("key", AttributeValue::S("TableMigration3.5".to_owned()));
    let item = row.send().await.expect("read").item?;
    let status = item["tm"].as_s().expect("a string");
    Some(status.trim_start_matches("TABLE_MIGRATION_STATUS_").to_owned())
}

async fn until_migration(fleet: &MixedFleet, status: &str) {
    fleet
        .until(PATIENCE * 2, &format!("the migration is {status}"), async || {
            (migration(fleet).await.as_deref() == Some(status)).then_some(())
        })
        .await;
}

/// The last step was taken long ago.
async fn age_migration(fleet: &MixedFleet) {
    let row = fleet.dynamodb().update_item().table_name("app-CoordinatorState");
    let row = row.key("key", AttributeValue::S("TableMigration3.5".to_owned()));
    row.update_expression("SET mts = mts - :days")
        .expression_attribute_values(":days", AttributeValue::N((10 * 86_400_000_u64).to_string()))
        .send()
        .await
        .expect("aged");
}
