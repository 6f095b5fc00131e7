//! Tables that real Java workers wrote.

use super::world::World;

const RECORDED: &str = "kcl-3.5.1/";

fn of_35(stage: &str) -> String {
    format!("{RECORDED}{stage}")
}

#[tokio::test(start_paused = true)]
async fn every_recorded_table_is_listed_and_planned_for() {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kcl-lease/tests/java-kcl-tables");
    let mut looked_at = 0;
    for version in ["kcl-3.1.3", "kcl-3.5.1"] {
        for file in std::fs::read_dir(folder.join(version)).expect("there") {
            let name = file.expect("listed").file_name().into_string().expect("text");
            if name == "timeline.json" {
                continue;
            }
            let world = World::of_java(&format!("{version}/{name}")).await;
            let json = world.kcl(&["--json", "list"]).await.json();
            let shards = json["shards"].as_array().expect("shards").len();
            let told = world.kcl(&["list"]).await;
            assert!(!told.out.contains("cannot be read"), "{name}: {}", told.out);
            assert_eq!(shards, world.table().await.leases.len(), "{name}");
            let planned = world.kcl(&["plan"]).await;
            assert!([0, 3].contains(&planned.code), "{name}: {planned:?}");
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 45);
}

#[tokio::test(start_paused = true)]
async fn a_split_is_shown_as_a_tree_with_its_java_workers() {
    let world = World::of_java(&of_35("12-split-children-owned.json")).await;
    let told = world.kcl(&["list"]).await;
    // They are long gone by the backend's clock.
    told.says(
        3,
        &[
            "app: 2 workers, 5 shards, 1 ended; leader: workerA",
            "worker workerB owns shards and reported",
            "workerA  Java",
            "shardId-000000000000    ended",
            "└ shardId-000000000004  owned",
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn a_java_worker_that_is_gone_is_told_by_its_leases_and_gets_nothing() {
    let world = World::of_java(&of_35("07-graceful-handoff-in-progress.json")).await;
    let told = world.kcl(&["explain", "shardId-000000000003"]).await;
    told.says(
        3,
        &[
            "workerA, a Java worker, which leads the fleet",
            "workerA is asked to finish and to give it to workerB",
            "Java workers leave no trace of when they began",
        ],
    );
    let told = world
        .kcl(&["move", "shardId-000000000000", "workerB", "--yes"])
        .await;
    told.says(1, &["workerB gave no sign of life"]);
    let told = world.kcl(&["pause", "shardId-000000000000", "--yes"]).await;
    told.says(1, &["workers in Java do not heed pauses"]);
}

#[tokio::test(start_paused = true)]
async fn the_leases_of_java_workers_that_stopped_are_reset_and_stay_theirs() {
    for recording in [
        "kcl-3.5.1/20-all-shut-down.json",
        "kcl-3.1.3/20-all-shut-down.json",
    ] {
        let world = World::of_java(recording).await;
        let before = world.table().await;
        let told = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]).await;
        told.says(0, &["rows written."]);
        let after = world.table().await;
        assert_eq!(after.leases.len(), before.leases.len());
        for (lease, before) in after.leases.iter().zip(&before.leases) {
            assert_eq!(lease.checkpoint.as_str(), "TRIM_HORIZON", "{recording}");
            assert_eq!((&lease.owner, &lease.checkpoint_owner), (&None, &None));
            assert_eq!(
                (&lease.parents, &lease.hash_range),
                (&before.parents, &before.hash_range)
            );
        }
        let told = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]).await;
        told.says(0, &["Nothing is to be written."]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_of_both_migrations_is_told_with_what_is_next() {
    let single = World::of_java(&of_35("08-two-workers-balanced.json")).await;
    let told = single.kcl(&["migrate"]).await;
    told.says(
        0,
        &[
            "CLIENT_VERSION_3X",
            "all is in one table",
            "workers of this library  may join",
        ],
    );
    let separate = World::of_java("kcl-3.1.3/08-two-workers-balanced.json").await;
    let told = separate.kcl(&["migrate"]).await;
    told.says(
        3,
        &[
            "workers of 3.0 to 3.4 keep their state in three tables",
            "deploy KCL 3.5 to all Java workers",
            "may join",
        ],
    );
    let json = separate.kcl(&["--json", "migrate"]).await.json();
    assert_eq!(
        json["generation"]["coordinator_state_table"],
        "app-CoordinatorState"
    );

    use super::world::{number, text};
    let row = [
        ("key", text("TableMigration3.5")),
        ("tm", text("TABLE_MIGRATION_STATUS_DEPLOYED")),
        ("mb", text("workerA")),
        ("mts", number(1_795_221_177_570_u64)),
    ];
    separate.put_item("app-CoordinatorState", &row).await;
    let told = separate.kcl(&["migrate"]).await;
    told.says(
        3,
        &[
            "TABLE_MIGRATION_STATUS_DEPLOYED",
            "moves_to_single_table",
            "by workerA, in app-CoordinatorState",
        ],
    );
    let row = [
        ("key", text("Migration3.0")),
        ("cv", text("CLIENT_VERSION_UPGRADE_FROM_2X")),
    ];
    separate.put_item("app-CoordinatorState", &row).await;
    let told = separate.kcl(&["migrate"]).await;
    told.says(
        3,
        &[
            "CLIENT_VERSION_UPGRADE_FROM_2X",
            "workerA owns leases, and has not reported",
            "are refused",
        ],
    );
    let told = separate.kcl(&["reset", "--all", "--to", "latest", "--yes"]).await;
    told.says(1, &["CLIENT_VERSION_UPGRADE_FROM_2X"]);
}
