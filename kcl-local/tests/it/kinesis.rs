//! Kinesis through the SDK: a stream is created, written, read, resharded and deleted, in virtual time.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Record, ScalingType, ShardIteratorType, StreamStatus};
use kcl_local::Backend;
use kcl_local::clock::Clock;
use kcl_local::kinesis::KinesisOptions;

const STREAM: &str = "orders";

async fn stream(backend: &Backend, shards: i32) -> Client {
    let client = Client::new(&backend.sdk_config());
    client
        .create_stream()
        .stream_name(STREAM)
        .shard_count(shards)
        .send()
        .await
        .unwrap();
    client
}

async fn put(client: &Client, data: &str) -> String {
    let request = client.put_record().stream_name(STREAM).partition_key(data);
    request
        .data(Blob::new(data))
        .send()
        .await
        .unwrap()
        .sequence_number
}

/// Everything in a shard from its trim horizon, until a read comes back empty or the shard has ended.
async fn drain(client: &Client, shard: &str) -> (Vec<Record>, bool) {
    let request = client.get_shard_iterator().stream_name(STREAM).shard_id(shard);
    let answer = request
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .unwrap();
    let mut iterator = answer.shard_iterator;
    let mut records = Vec::new();
    while let Some(current) = iterator {
        let page = client
            .get_records()
            .shard_iterator(current)
            .limit(2)
            .send()
            .await
            .unwrap();
        let empty = page.records.is_empty();
        records.extend(page.records);
        iterator = page.next_shard_iterator;
        if empty && iterator.is_some() {
            return (records, false);
        }
    }
    (records, true)
}

fn texts(records: &[Record]) -> Vec<&str> {
    records
        .iter()
        .map(|record| std::str::from_utf8(record.data.as_ref()).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn records_come_back_in_order() {
    let client = stream(&Backend::start(), 1).await;
    let first = put(&client, "a").await;
    let entry = |data: &str| {
        let entry = PutRecordsRequestEntry::builder().partition_key(data);
        entry.data(Blob::new(data)).build().unwrap()
    };
    let batch = client
        .put_records()
        .stream_name(STREAM)
        .records(entry("b"))
        .records(entry("c"));
    assert_eq!(batch.send().await.unwrap().failed_record_count, Some(0));

    let (records, ended) = drain(&client, "shardId-000000000000").await;
    assert_eq!(texts(&records), ["a", "b", "c"]);
    assert_eq!(records[0].sequence_number, first);
    assert!(!ended);
}

#[tokio::test(start_paused = true)]
async fn a_split_and_a_merge_end_their_parents() {
    let client = stream(&Backend::start(), 1).await;
    put(&client, "a").await;
    let split = client
        .split_shard()
        .stream_name(STREAM)
        .shard_to_split("shardId-000000000000");
    split
        .new_starting_hash_key((1_u128 << 127).to_string())
        .send()
        .await
        .unwrap();
    let (records, ended) = drain(&client, "shardId-000000000000").await;
    assert_eq!(texts(&records), ["a"]);
    assert!(ended);

    let merge = client
        .merge_shards()
        .stream_name(STREAM)
        .shard_to_merge("shardId-000000000001");
    merge
        .adjacent_shard_to_merge("shardId-000000000002")
        .send()
        .await
        .unwrap();
    let update = client
        .update_shard_count()
        .stream_name(STREAM)
        .target_shard_count(2);
    update
        .scaling_type(ScalingType::UniformScaling)
        .send()
        .await
        .unwrap();
    let shards = client.list_shards().stream_name(STREAM).send().await.unwrap();
    let open = shards.shards().iter().filter(|shard| {
        shard
            .sequence_number_range
            .as_ref()
            .unwrap()
            .ending_sequence_number
            .is_none()
    });
    assert_eq!(open.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_takes_its_time_on_the_backends_clock() {
    let epoch = std::time::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let options = KinesisOptions {
        create_delay: Duration::from_secs(10),
        ..KinesisOptions::default()
    };
    let clock = Clock::starting_at(epoch);
    let backend = Backend::builder()
        .clock(clock)
        .kinesis(options)
        .region("eu-central-1")
        .build();
    let client = stream(&backend, 1).await;
    let describe = async || {
        let answer = client
            .describe_stream_summary()
            .stream_name(STREAM)
            .send()
            .await
            .unwrap();
        answer.stream_description_summary.unwrap()
    };
    let creating = describe().await;
    assert_eq!(creating.stream_status, StreamStatus::Creating);
    assert!(
        creating.stream_arn.starts_with("arn:aws:kinesis:eu-central-1:"),
        "{}",
        creating.stream_arn
    );
    assert_eq!(creating.stream_creation_timestamp.secs(), 2_000_000_000);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(describe().await.stream_status, StreamStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_sleeps_does_not_starve_other_tasks() {
    let backend = Backend::start();
    let client = stream(&backend, 1).await;
    let writer = tokio::spawn({
        let client = client.clone();
        async move { put(&client, "a").await }
    });
    let mut reads = 0;
    while drain(&client, "shardId-000000000000").await.0.is_empty() {
        reads += 1;
        assert!(reads < 100, "the writer never ran");
    }
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_is_not_found() {
    let client = Client::new(&Backend::start().sdk_config());
    let missing = client
        .describe_stream_summary()
        .stream_name("missing")
        .send()
        .await
        .unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
}

#[tokio::test(start_paused = true)]
async fn the_same_calls_give_the_same_sequence_numbers_and_times() {
    async fn run() -> Vec<(String, String)> {
        let clock = Clock::starting_at(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000_000));
        let client = stream(&Backend::builder().clock(clock).build(), 1).await;
        for data in ["a", "b", "c"] {
            put(&client, data).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (records, _) = drain(&client, "shardId-000000000000").await;
        let seen = |record: Record| {
            (
                record.sequence_number,
                record.approximate_arrival_timestamp.unwrap().to_string(),
            )
        };
        records.into_iter().map(seen).collect()
    }
    let first = run().await;
    assert_eq!(first.len(), 3);
    assert_eq!(first, run().await);
}
