//! The service's times and limits, as a client of a faithful backend meets them.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamStatus};
use kcl_local::Backend;
use kcl_local::kinesis::KinesisOptions;
use tokio::time::sleep;

const STREAM: &str = "orders";

/// A client that does not retry, and a stream with one shard, as soon as it is there.
async fn faithful() -> Client {
    let backend = Backend::builder().kinesis(KinesisOptions::faithful()).build();
    let config = aws_sdk_kinesis::config::Builder::from(&backend.sdk_config());
    let client = Client::from_conf(config.retry_config(RetryConfig::disabled()).build());
    let create = client.create_stream().stream_name(STREAM).shard_count(1);
    create.send().await.unwrap();
    while status(&client).await != StreamStatus::Active {
        sleep(Duration::from_secs(1)).await;
    }
    client
}

async fn status(client: &Client) -> StreamStatus {
    let described = client.describe_stream_summary().stream_name(STREAM).send().await;
    described
        .unwrap()
        .stream_description_summary
        .unwrap()
        .stream_status
}

/// Puts `records` records of `bytes` bytes at once.
async fn put(client: &Client, records: usize, bytes: usize) -> PutRecordsOutput {
    let entry = PutRecordsRequestEntry::builder()
        .partition_key("k")
        .data(Blob::new(vec![7; bytes]));
    let entries = vec![entry.build().unwrap(); records];
    let request = client.put_records().stream_name(STREAM);
    request.set_records(Some(entries)).send().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn records_beyond_the_rates_of_a_shard_fail_one_by_one() {
    let client = faithful().await;
    let mut failed = Vec::new();
    for _ in 0..3 {
        failed.push(put(&client, 400, 10).await.failed_record_count.unwrap());
    }
    assert_eq!(failed, [0, 0, 200], "1,000 records a second");
    sleep(Duration::from_secs(1)).await;
    let answer = put(&client, 3, 500_000).await;
    assert_eq!(answer.failed_record_count, Some(1), "1 MiB a second");
    let code = answer.records()[2].error_code().unwrap();
    assert_eq!(code, "ProvisionedThroughputExceededException");
    assert!(answer.records()[1].sequence_number().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_paid_for_by_a_pause() {
    let client = faithful().await;
    for _ in 0..12 {
        put(&client, 1, 1_000_000).await;
        sleep(Duration::from_secs(1)).await;
    }
    let start = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id("shardId-000000000000");
    let start = start.shard_iterator_type(ShardIteratorType::TrimHorizon);
    let iterator = start.send().await.unwrap().shard_iterator;
    let read = client
        .get_records()
        .set_shard_iterator(iterator)
        .send()
        .await
        .unwrap();
    assert_eq!(read.records.len(), 10, "10 MiB at most");
    let next = || {
        client
            .get_records()
            .set_shard_iterator(read.next_shard_iterator.clone())
            .send()
    };
    sleep(Duration::from_secs(4)).await;
    let refused = next().await.unwrap_err().into_service_error();
    assert!(
        refused.is_provisioned_throughput_exceeded_exception(),
        "{refused}"
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(next().await.unwrap().records.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_too_often_are_refused() {
    let client = faithful().await;
    client.describe_limits().send().await.unwrap();
    let refused = client.describe_limits().send().await.unwrap_err();
    assert!(refused.into_service_error().is_limit_exceeded_exception());
    sleep(Duration::from_secs(1)).await;
    client.describe_limits().send().await.unwrap();
}
