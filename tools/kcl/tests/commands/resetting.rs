//! Other positions for shards, while nobody works, and of a fleet that runs.

use std::time::{Duration, UNIX_EPOCH};

use kcl_lease::{LeaseChange, LeaseStore as _};
use kcl_local::faults::{Fault, Rule};
use tokio::time::sleep;

use super::world::{World, number, text};

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

/// What is processed from now on, sorted, once it is so many records.
async fn sorted_once(world: &World, records: usize) -> Vec<String> {
    world
        .until("processed", async || world.processed().len() >= records)
        .await;
    sleep(Duration::from_secs(5)).await;
    let mut processed = std::mem::take(&mut *world.processed.lock().unwrap());
    processed.sort();
    processed
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_runs_processes_its_shards_anew_and_goes_on() {
    let (world, [w1, w2]) = World::with_fleet(4, ["w1", "w2"]).await;
    let records: Vec<_> = (0..20).map(|number| format!("record {number:02}")).collect();
    for record in &records {
        world.put(record, record).await;
    }
    assert_eq!(sorted_once(&world, 20).await, records);
    let told = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]).await;
    told.says(
        0,
        &[
            "to TRIM_HORIZON, for whoever begins with it next; w1 is asked to give it up",
            "rewindTo = TRIM_HORIZON, rewindToSubSequenceNumber = 0",
            "4 rows written.",
            "has begun anew with shardId-000000000003",
        ],
    );
    assert_eq!(sorted_once(&world, 20).await, records);
    world.put("new", "k").await;
    assert_eq!(sorted_once(&world, 1).await, ["new"], "and nothing twice");
    for lease in world.table().await.leases {
        assert_eq!(lease.rewind_to, None);
    }
    w1.stop().await;
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_split_is_processed_anew_after_its_parent() {
    let (world, [w1, w2]) = World::with_fleet(2, ["w1", "w2"]).await;
    let shards = world
        .kinesis
        .list_shards()
        .stream_name("clicks")
        .send()
        .await
        .unwrap();
    let range = shards.shards()[0].hash_key_range().unwrap();
    let (start, end): (u128, u128) = (
        range.starting_hash_key().parse().unwrap(),
        range.ending_hash_key().parse().unwrap(),
    );
    let put = async |text: &str, hash_key: u128| {
        let put = world
            .kinesis
            .put_record()
            .stream_name("clicks")
            .partition_key("k");
        let put = put.explicit_hash_key(hash_key.to_string());
        put.data(text.as_bytes().to_vec().into()).send().await.unwrap();
    };
    put("before", start).await;
    let middle = start + (end - start) / 2;
    let split = world
        .kinesis
        .split_shard()
        .stream_name("clicks")
        .shard_to_split(SHARD);
    split
        .new_starting_hash_key(middle.to_string())
        .send()
        .await
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    // Of the other child nothing is processed, so that the parent's lease stays.
    put("after", start).await;
    assert_eq!(sorted_once(&world, 2).await, ["after", "before"]);
    assert!(world.lease(SHARD).await.has_ended());
    let told = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]).await;
    told.says(
        0,
        &[
            "shardId-000000000000: from SHARD_END to TRIM_HORIZON",
            "4 rows written.",
        ],
    );
    world
        .until("processed", async || world.processed().len() >= 2)
        .await;
    assert_eq!(world.processed(), ["before", "after"]);
    w1.stop().await;
    w2.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reset_while_workers_run_that_do_not_heed_it() {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    let now = world.environment().now().duration_since(UNIX_EPOCH).unwrap();
    let row = [
        ("leaseKey", text("j1")),
        ("entityType", text("WORKER_METRIC_STATS")),
        ("lut", number(now.as_secs())),
    ];
    world.put_item("app", &row).await;
    let reset = ["reset", "--all", "--to", "latest", "--yes"];
    let told = world.kcl(&reset).await;
    let expected = "nothing is reset while workers run that do not heed it: j1 (it is a Java worker, and reported 11 s ago)";
    told.says(1, &[expected]);
    assert_eq!(world.lease(SHARD).await.rewind_to, None);
    sleep(Duration::from_secs(60)).await;
    world
        .kcl(&reset)
        .await
        .says(0, &["1 row written.", "w1 has begun anew"]);
    w1.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_to_workers_that_were_killed_is_carried_out_by_those_that_follow() {
    let (world, [w1]) = World::with_fleet(1, ["w1"]).await;
    world.put("first", "k").await;
    assert_eq!(sorted_once(&world, 1).await, ["first"]);
    let reset = world.kcl(&["reset", "--all", "--to", "beginning", "--yes"]);
    // It renews once more while the table is watched.
    let kill = async {
        sleep(Duration::from_secs(5)).await;
        w1.kill().await;
    };
    let (told, ()) = tokio::join!(reset, kill);
    told.says(3, &["1 row written.", "nobody has begun anew", "The notes stand"]);
    assert_eq!(then_processed(&world, 1).await, ["first"]);
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
            "Records that are put before a worker begins are skipped",
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
