//! Other positions for shards, while nobody works.

use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{LeaseChange, LeaseStore as _};
use kcl_local::faults::{Fault, Rule};
use tokio::time::sleep;

use super::world::World;

const SHARD: &str = "shardId-000000000000";

/// A stream of one shard with three records, a minute between them, and a worker that has processed all and stopped.
async fn processed() -> World {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    for text in ["first", "second", "third"] {
        world.put(text, "k").await;
        sleep(Duration::from_secs(60)).await;
    }
    world
        .until("processed", async || world.processed().len() == 3)
        .await;
    w1.stop().await;
    world.processed.lock().unwrap().clear();
    world
}

/// What a worker processes that starts now.
async fn then_processed(world: &World, records: usize) -> Vec<String> {
    let worker = world.worker("w2");
    if records == 0 {
        sleep(Duration::from_secs(30)).await;
    }
    world
        .until("processed", async || world.processed().len() >= records)
        .await;
    sleep(Duration::from_secs(5)).await;
    worker.stop().await;
    world.processed()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reset_while_workers_run_or_were_killed_a_moment_ago() {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    let reset = ["reset", "--all", "--to", "latest", "--yes"];
    world.kcl(&reset).await.says(
        1,
        &[
            "nothing is reset while workers run: w1",
            "Stop the application first",
        ],
    );
    let before = world.lease(SHARD).await;
    w1.stop().await;
    world.kcl(&reset).await.says(0, &["1 row written."]);
    assert!(world.lease(SHARD).await.counter > before.counter);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_between_the_look_and_the_write_is_not_overwritten() {
    let world = processed().await;
    let lease = world.lease(SHARD).await;
    // The table is watched for 11 s; the write that follows is under way for 2 s.
    let late = Fault::none().after(Duration::from_secs(2));
    world.faults.add(Rule::on("UpdateItem").by("kcl").fault(late));
    let reset = world.kcl(&["reset", SHARD, "--to", "beginning", "--yes"]);
    let other = async {
        sleep(Duration::from_secs(12)).await;
        let assign = LeaseChange::Assign { to: "w9".into() };
        world.store().write(&lease, &assign).await.expect("written");
    };
    let (told, ()) = tokio::join!(reset, other);
    told.says(
        1,
        &["refused, because the row was changed since it was read: its owner is \"w9\""],
    );
    assert_eq!(world.lease(SHARD).await.owner, Some("w9".into()));
}

#[tokio::test(start_paused = true)]
async fn from_the_beginning_all_is_processed_again() {
    let world = processed().await;
    let told = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]).await;
    told.says(0, &["to TRIM_HORIZON, and without owner"]);
    assert_eq!(then_processed(&world, 3).await, ["first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn from_the_latest_record_on_nothing_old_is_processed() {
    let world = processed().await;
    world.put("skipped", "k").await;
    let told = world.kcl(&["reset", "--all", "--to", "latest", "--yes"]).await;
    told.says(
        0,
        &[
            "to LATEST",
            "Records that are put before the workers start are skipped",
        ],
    );
    assert!(then_processed(&world, 0).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn from_a_time_on_processing_begins_with_the_first_record_that_arrived_then() {
    let world = processed().await;
    // Each minute from a minute after the start on, a record was put. Between the first and the second:
    let records = world
        .kcl(&["tail", "clicks", "--from", "beginning", "--no-follow"])
        .await;
    let arrivals: Vec<String> = records
        .out
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["arrival"].as_str().expect("told").to_owned()
        })
        .collect();
    assert_eq!(arrivals.len(), 3);
    let second = arrivals[1].clone();
    let told = world.kcl(&["reset", "--all", "--to", &second, "--yes"]).await;
    told.says(
        0,
        &["Processing begins with the first records that Kinesis received at"],
    );
    assert_eq!(then_processed(&world, 2).await, ["second", "third"]);

    world.processed.lock().unwrap().clear();
    let told = world.kcl(&["reset", "--all", "--to", "1d", "--yes"]).await;
    told.says(0, &["to TRIM_HORIZON"]);
    let future = world.backend.clock().now() + Duration::from_secs(3_600);
    let future = format!("@{}", future.duration_since(UNIX_EPOCH).expect("later").as_secs());
    world
        .kcl(&["reset", "--all", "--to", &future, "--yes"])
        .await
        .says(2, &["has not come yet"]);
}

#[tokio::test(start_paused = true)]
async fn behind_a_position_processing_goes_on_and_one_of_another_shard_is_refused() {
    let world = processed().await;
    let records = world
        .kcl(&["tail", "clicks", "--from", "beginning", "--no-follow"])
        .await;
    let first: serde_json::Value =
        serde_json::from_str(records.out.lines().next().expect("a record")).expect("JSON");
    let position = first["sequence_number"].as_str().expect("told");
    let told = world
        .kcl(&["reset", "--all", "--to", position, "--dry-run"])
        .await;
    told.says(
        0,
        &[&format!("checkpoint = {position}"), "1 row would be written"],
    );
    world
        .kcl(&["reset", SHARD, "--to", "5", "--yes"])
        .await
        .says(1, &["5 cannot lie in shardId-000000000000"]);
    world
        .kcl(&["reset", SHARD, "--to", position, "--yes"])
        .await
        .says(0, &["1 row written."]);
    assert_eq!(then_processed(&world, 2).await, ["second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_is_told_and_the_others_are_made() {
    let (world, [w1]) = World::with_fleet(3, ["w1"]).await;
    w1.stop().await;
    let denied = Fault::respond(400, "AccessDeniedException");
    world
        .faults
        .add(Rule::on("UpdateItem").by("kcl").times(1).fault(denied));
    let told = world
        .kcl(&["--json", "reset", "--all", "--to", "latest", "--yes"])
        .await;
    told.says(1, &["1 of 3 were not written", "AccessDeniedException"]);
    let outcomes: Vec<_> = told.json()["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| change["outcome"] == "written")
        .collect();
    assert_eq!(outcomes.iter().filter(|is_written| **is_written).count(), 2);
}
