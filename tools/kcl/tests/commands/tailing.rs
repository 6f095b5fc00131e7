//! Records without an application.

use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;

use super::world::{STREAM, Told, World};

fn records(told: &Told) -> Vec<Value> {
    let lines = told.out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

fn texts(told: &Told) -> Vec<String> {
    let text = |record: &Value| record["data"].as_str().unwrap_or_default().to_owned();
    records(told).iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn records_are_written_from_any_place_through_a_split() {
    let world = World::with_shards(1).await;
    world.put("1", "k").await;
    world.put("2\u{1b}", "k").await;
    let split = world.kinesis.split_shard().stream_name(STREAM);
    let split = split
        .shard_to_split("shardId-000000000000")
        .new_starting_hash_key((u128::MAX / 2).to_string());
    split.send().await.expect("split");
    sleep(Duration::from_secs(60)).await;
    world.put("3", "k").await;
    world.put("4", "another").await;

    let told = world
        .kcl(&["tail", STREAM, "--from", "beginning", "--no-follow"])
        .await;
    assert_eq!(told.code, 0, "{told:?}");
    let all = texts(&told);
    assert_eq!(all[..2], ["1", "2\u{1b}"], "parents come first");
    assert_eq!(all.len(), 4);
    assert!(!told.out.contains('\u{1b}'), "escaped");
    let first = &records(&told)[0];
    assert_eq!(first["shard"], "shardId-000000000000");
    assert_eq!(first["partition_key"], "k");

    let position = first["sequence_number"].as_str().expect("a number");
    let behind = [
        "tail",
        STREAM,
        "--shard",
        "shardId-000000000000",
        "--from",
        position,
        "--limit",
        "1",
    ];
    assert_eq!(texts(&world.kcl(&behind).await), ["2\u{1b}"]);
    let told = world
        .kcl(&["tail", STREAM, "--from", "30s", "--no-follow", "--base64"])
        .await;
    let mut encoded: Vec<_> = records(&told)
        .iter()
        .map(|record| record["data_base64"].as_str().expect("base64").to_owned())
        .collect();
    encoded.sort();
    assert_eq!(encoded, ["Mw==", "NA=="]);
}

#[tokio::test(start_paused = true)]
async fn what_is_put_later_is_waited_for() {
    let world = World::with_shards(2).await;
    world.put("old", "k").await;
    let tail = world.kcl(&["tail", STREAM, "--limit", "2"]);
    let put = async {
        sleep(Duration::from_secs(5)).await;
        world.put("new", "k").await;
        world.put("newer", "k").await;
    };
    let (told, ()) = tokio::join!(tail, put);
    assert_eq!(texts(&told), ["new", "newer"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_told() {
    let world = World::with_shards(1).await;
    let told = world.kcl(&["tail", "nowhere"]).await;
    told.says(1, &["check the name, region and account of the stream"]);
    let told = world.kcl(&["tail", STREAM, "--shard", "shardId-7"]).await;
    told.says(1, &["has no shard shardId-7; it has shardId-000000000000"]);
    let told = world
        .kcl(&["tail", STREAM, "--from", "123456789012345678901234"])
        .await;
    told.says(2, &["name it with --shard"]);
}
