//! What can be set at streams, consumers and the account, through the SDK.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    EncryptionType, MetricsName, MinimumThroughputBillingCommitmentInput,
    MinimumThroughputBillingCommitmentInputStatus, ShardIteratorType, StreamDescriptionSummary, StreamMode,
    StreamModeDetails, StreamStatus,
};
use kcl_local::Backend;
use kcl_local::kinesis::KinesisOptions;

const STREAM: &str = "orders";
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

/// A client of a backend on which changes take ten seconds, and a stream with one shard.
async fn client() -> Client {
    let options = KinesisOptions {
        update_delay: Duration::from_secs(10),
        ..KinesisOptions::default()
    };
    let client = Client::new(&Backend::builder().kinesis(options).build().sdk_config());
    let create = client.create_stream().stream_name(STREAM).shard_count(1);
    create.tags("team", "red").send().await.unwrap();
    client
}

async fn summary(client: &Client) -> StreamDescriptionSummary {
    let request = client.describe_stream_summary().stream_arn(ARN);
    request.send().await.unwrap().stream_description_summary.unwrap()
}

async fn settled(client: &Client) -> StreamDescriptionSummary {
    assert_eq!(summary(client).await.stream_status, StreamStatus::Updating);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let summary = summary(client).await;
    assert_eq!(summary.stream_status, StreamStatus::Active);
    summary
}

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    error.code().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn encryption_is_started_and_stopped() {
    let client = client().await;
    let start = client
        .start_stream_encryption()
        .stream_arn(ARN)
        .key_id("alias/aws/kinesis");
    start.encryption_type(EncryptionType::Kms).send().await.unwrap();
    assert_eq!(settled(&client).await.encryption_type, Some(EncryptionType::Kms));
    let put = client.put_record().stream_name(STREAM).partition_key("k");
    let put = put.data(Blob::new("a")).send().await.unwrap();
    assert_eq!(put.encryption_type, Some(EncryptionType::Kms));
    let stop = client
        .stop_stream_encryption()
        .stream_name(STREAM)
        .key_id("alias/aws/kinesis");
    stop.encryption_type(EncryptionType::Kms).send().await.unwrap();
    assert_eq!(settled(&client).await.encryption_type, Some(EncryptionType::None));
}

#[tokio::test(start_paused = true)]
async fn metrics_are_enabled() {
    let client = client().await;
    let enable = client.enable_enhanced_monitoring().stream_name(STREAM);
    let answer = enable.shard_level_metrics(MetricsName::All).send().await.unwrap();
    assert_eq!(answer.current_shard_level_metrics(), []);
    assert_eq!(answer.desired_shard_level_metrics().len(), 7);
    assert_eq!(
        settled(&client).await.enhanced_monitoring()[0]
            .shard_level_metrics()
            .len(),
        7
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_becomes_on_demand_and_warm() {
    let client = client().await;
    let change = client
        .update_stream_mode()
        .stream_arn(ARN)
        .stream_mode_details(mode(StreamMode::OnDemand));
    change.send().await.unwrap();
    settled(&client).await;
    let commitment = MinimumThroughputBillingCommitmentInput::builder()
        .status(MinimumThroughputBillingCommitmentInputStatus::Enabled)
        .build()
        .unwrap();
    let commit = client.update_account_settings();
    commit
        .minimum_throughput_billing_commitment(commitment)
        .send()
        .await
        .unwrap();
    let warm = client
        .update_stream_warm_throughput()
        .stream_name(STREAM)
        .warm_throughput_mibps(8);
    warm.send().await.unwrap();
    let summary = settled(&client).await;
    assert_eq!(summary.open_shard_count, 8);
    assert_eq!(summary.warm_throughput.unwrap().current_mibps, Some(8));
    let limits = client.describe_limits().send().await.unwrap();
    assert_eq!(limits.on_demand_stream_count, 1);
    let scale = client.split_shard().stream_name(STREAM);
    let refused = scale
        .shard_to_split("shardId-1")
        .new_starting_hash_key("5")
        .send()
        .await;
    assert!(
        refused
            .unwrap_err()
            .into_service_error()
            .is_validation_exception()
    );
}

#[tokio::test(start_paused = true)]
async fn records_grow_to_ten_mebibytes() {
    let client = client().await;
    let change = client
        .update_max_record_size()
        .stream_arn(ARN)
        .max_record_size_in_kib(10_240);
    change.send().await.unwrap();
    assert_eq!(settled(&client).await.max_record_size_in_kib, Some(10_240));
    let put = client.put_record().stream_arn(ARN).partition_key("k");
    put.data(Blob::new(vec![7; (10 << 20) - 1])).send().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn resources_have_tags_and_policies() {
    let client = client().await;
    let register = client
        .register_stream_consumer()
        .stream_arn(ARN)
        .consumer_name("billing");
    let consumer = register.tags("team", "blue").send().await.unwrap();
    let consumer = consumer.consumer.unwrap().consumer_arn;
    for (arn, team) in [(ARN, "red"), (&consumer, "blue")] {
        let tag = client.tag_resource().resource_arn(arn).tags("cost", "7");
        tag.send().await.unwrap();
        let tags = client
            .list_tags_for_resource()
            .resource_arn(arn)
            .send()
            .await
            .unwrap();
        let tags: Vec<_> = (tags.tags().iter())
            .map(|tag| (tag.key(), tag.value().unwrap()))
            .collect();
        assert_eq!(tags, [("cost", "7"), ("team", team)]);
        let put = client
            .put_resource_policy()
            .resource_arn(arn)
            .policy(r#"{"Statement": []}"#);
        put.send().await.unwrap();
        let get = client.get_resource_policy().resource_arn(arn);
        assert_eq!(get.send().await.unwrap().policy, r#"{"Statement": []}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_is_an_exception_of_its_own() {
    let client = client().await;
    let put = client.put_record().stream_name(STREAM).partition_key("k");
    let refused = put.data(Blob::new("a")).dry_run(true).send().await.unwrap_err();
    assert_eq!(code(&refused), "DryRunOperationException");
    let iterator = client
        .get_shard_iterator()
        .stream_name(STREAM)
        .shard_id("shardId-000000000000");
    let iterator = iterator
        .shard_iterator_type(ShardIteratorType::TrimHorizon)
        .send()
        .await
        .unwrap();
    let read = client
        .get_records()
        .set_shard_iterator(iterator.shard_iterator)
        .send()
        .await;
    assert!(read.unwrap().records.is_empty());
}
