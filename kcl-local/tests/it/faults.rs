//! Faults as a client sees them: throttling, failures, lost requests, lost answers, delays, cuts.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Loss, Rule};
use tokio::time::Instant;

use crate::worlds::{TABLE, attribute, create_lease_table, n, put_lease, s};

/// A backend with a script and an empty lease table, and the client `worker-1` configured by `configure`.
async fn world(configure: impl FnOnce(Builder) -> Builder) -> (Backend, FaultScript, Client) {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let config = Builder::from(&backend.sdk_config_named("worker-1"));
    let client = Client::from_conf(configure(config).build());
    create_lease_table(&client).await;
    (backend, faults, client)
}

fn without_retries(config: Builder) -> Builder {
    config.retry_config(RetryConfig::disabled())
}

/// Adds one to a lease's counter; not idempotent, so applying it twice shows.
async fn renew(client: &Client) -> Result<(), SdkError<impl ProvideErrorMetadata + std::fmt::Debug>> {
    let request = client
        .update_item()
        .table_name(TABLE)
        .key("leaseKey", s("shard-0"));
    let request = request
        .update_expression("ADD leaseCounter :one")
        .expression_attribute_values(":one", n(1));
    request.send().await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn throttling_is_retried_by_the_sdk() {
    let (_backend, faults, client) = world(|config| config).await;
    let rule = faults.add(Rule::on("PutItem").times(2).fault(Fault::throttled()));
    put_lease(&client, "shard-0", "worker-1").await;
    assert_eq!(faults.hits(rule), 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_reach_a_client_that_does_not_retry() {
    let (_backend, faults, client) = world(without_retries).await;
    faults.add(Rule::on("UpdateItem").times(1).fault(Fault::throttled()));
    faults.add(Rule::on("UpdateItem").times(1).fault(Fault::internal_error()));
    assert_eq!(
        renew(&client).await.unwrap_err().code(),
        Some("ProvisionedThroughputExceededException")
    );
    let error = renew(&client).await.unwrap_err();
    assert_eq!(error.code(), Some("InternalServerError"));
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
    renew(&client).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_request_takes_no_effect() {
    let (_backend, faults, client) = world(without_retries).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_request(Loss::Reset)),
    );
    let error = renew(&client).await.unwrap_err();
    assert!(
        matches!(&error, SdkError::DispatchFailure(failure) if failure.is_io()),
        "{error:?}"
    );
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(1)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_took_effect() {
    let (_backend, faults, client) = world(without_retries).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_answer(Loss::TimedOut)),
    );
    let error = renew(&client).await.unwrap_err();
    assert!(
        matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()),
        "{error:?}"
    );
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(2)));
}

#[tokio::test(start_paused = true)]
async fn the_sdk_repeats_a_write_whose_answer_was_lost() {
    let (_backend, faults, client) = world(|config| config).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_answer(Loss::Reset)),
    );
    renew(&client).await.unwrap();
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(3)));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_request_ends_with_the_attempt_and_is_retried() {
    let attempt = Duration::from_secs(5);
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .build();
    let (_backend, faults, client) = world(|config| config.timeout_config(timeouts)).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_request(Loss::Hang)),
    );
    let start = Instant::now();
    renew(&client).await.unwrap();
    assert!(start.elapsed() >= attempt, "{:?}", start.elapsed());
    assert!(start.elapsed() < 2 * attempt, "{:?}", start.elapsed());
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(2)));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_answer_ends_with_the_read_timeout() {
    let limit = Duration::from_secs(2);
    let timeouts = TimeoutConfig::builder().read_timeout(limit).build();
    let (_backend, faults, client) = world(|config| without_retries(config).timeout_config(timeouts)).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::drop_answer(Loss::Hang)),
    );
    let start = Instant::now();
    let error = renew(&client).await.unwrap_err();
    assert!(
        matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()),
        "{error:?}"
    );
    assert_eq!(start.elapsed(), limit);
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(2)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_on_the_way_there_changes_nothing() {
    let (_backend, faults, client) = world(without_retries).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::none().after(Duration::from_secs(10))),
    );
    assert!(
        tokio::time::timeout(Duration::from_secs(1), renew(&client))
            .await
            .is_err()
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(1)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_on_the_way_back_has_changed_it() {
    let (_backend, faults, client) = world(without_retries).await;
    put_lease(&client, "shard-0", "worker-1").await;
    faults.add(
        Rule::on("UpdateItem")
            .times(1)
            .fault(Fault::none().answered_after(Duration::from_secs(10))),
    );
    assert!(
        tokio::time::timeout(Duration::from_secs(1), renew(&client))
            .await
            .is_err()
    );
    assert_eq!(attribute(&client, "shard-0", "leaseCounter").await, Some(n(2)));
}

#[tokio::test(start_paused = true)]
async fn a_stale_read_shows_what_was_true_a_moment_ago_unless_it_must_be_consistent() {
    let (_backend, faults, client) = world(|config| config).await;
    let read = async |is_consistent: bool| {
        let request = client.get_item().table_name(TABLE).key("leaseKey", s("shard-0"));
        let answer = request.consistent_read(is_consistent).send().await.unwrap();
        answer.item.unwrap().remove("leaseCounter").unwrap()
    };
    put_lease(&client, "shard-0", "worker-1").await;
    renew(&client).await.unwrap();
    let first = read(true).await;
    let lag = faults.add(Rule::on("GetItem").fault(Fault::stale(Duration::from_secs(2))));
    assert_eq!(read(false).await, first, "nothing else is known");
    renew(&client).await.unwrap();
    assert_ne!(read(false).await, first, "too fresh to be shown again");
    tokio::time::sleep(Duration::from_secs(2)).await;
    renew(&client).await.unwrap();
    let last = read(true).await;
    assert_ne!(read(false).await, last);
    faults.remove(lag);
    assert_eq!(read(false).await, last);
}

#[tokio::test(start_paused = true)]
async fn only_the_cut_client_is_cut_and_it_heals() {
    let (backend, faults, client) = world(|config| config).await;
    let other = Client::new(&backend.sdk_config_named("worker-2"));
    put_lease(&client, "shard-0", "worker-1").await;

    faults.cut("worker-1");
    let start = Instant::now();
    assert!(renew(&client).await.is_err());
    assert!(
        start.elapsed() >= 3 * Duration::from_millis(3_100),
        "three attempts: {:?}",
        start.elapsed()
    );
    renew(&other).await.unwrap();

    faults.heal("worker-1");
    renew(&client).await.unwrap();
    assert_eq!(attribute(&other, "shard-0", "leaseCounter").await, Some(n(3)));
}

#[tokio::test(start_paused = true)]
async fn the_same_faults_give_the_same_run() {
    async fn run() -> (Duration, Vec<bool>) {
        let (_backend, faults, client) = world(without_retries).await;
        put_lease(&client, "shard-0", "worker-1").await;
        faults.add(
            Rule::on("UpdateItem")
                .skip(3)
                .times(2)
                .fault(Fault::internal_error()),
        );
        faults.add(
            Rule::any()
                .by("worker-1")
                .fault(Fault::none().after(Duration::from_millis(20))),
        );
        let start = Instant::now();
        let mut outcomes = Vec::new();
        for _ in 0..8 {
            outcomes.push(renew(&client).await.is_ok());
        }
        (start.elapsed(), outcomes)
    }
    let first = run().await;
    assert_eq!(first.1, [true, true, true, false, false, true, true, true]);
    assert_eq!(first, run().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_records_leaves_them_for_the_next_one() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let client = aws_sdk_kinesis::Client::new(&backend.sdk_config_named("worker-1"));
    let creation = client.create_stream().stream_name("orders").shard_count(1);
    creation.send().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let data = aws_sdk_kinesis::primitives::Blob::new("hello");
    let put = client.put_record().stream_name("orders").partition_key("k");
    put.data(data).send().await.unwrap();
    let iterator = client.get_shard_iterator().stream_name("orders");
    let iterator = iterator
        .shard_id("shardId-000000000000")
        .shard_iterator_type("TRIM_HORIZON".into());
    let mut iterator = iterator.send().await.unwrap().shard_iterator;
    let behind = Duration::from_millis(1_500);
    faults.add(Rule::on("GetRecords").times(2).fault(Fault::empty_page(behind)));
    for (records, lag) in [(0, 1_500), (0, 1_500), (1, 0)] {
        let answer = client
            .get_records()
            .set_shard_iterator(iterator)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.records().len(), records);
        assert_eq!(answer.millis_behind_latest(), Some(lag));
        iterator = answer.next_shard_iterator;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_link_takes_its_time_for_every_byte() {
    let (backend, faults, _client) = world(|config| config).await;
    let client = aws_sdk_kinesis::Client::new(&backend.sdk_config_named("worker-1"));
    let rate = std::num::NonZeroU64::new(1).unwrap();
    faults.add(Rule::on("ListStreams").fault(Fault::none().over_link(rate)));
    let asked = Instant::now();
    client.list_streams().send().await.unwrap();
    assert!(
        asked.elapsed() >= Duration::from_secs(20),
        "{:?}",
        asked.elapsed()
    );
}

/// A subscription of `worker-1` to the one shard of the stream `orders`, from now on.
async fn subscribed(
    backend: &Backend,
) -> aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput {
    use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
    backend.begin_with_stream("orders", 1).unwrap();
    let client = aws_sdk_kinesis::Client::new(&backend.sdk_config_named("worker-1"));
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let register = client
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name("app");
    let consumer = register.send().await.unwrap().consumer.unwrap().consumer_arn;
    let start = StartingPosition::builder().r#type(ShardIteratorType::Latest);
    let subscribe = client
        .subscribe_to_shard()
        .consumer_arn(consumer)
        .shard_id("shardId-000000000000");
    subscribe
        .starting_position(start.build().unwrap())
        .send()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_frozen_subscription_goes_on_where_it_stood() {
    let backend = Backend::start();
    let mut events = subscribed(&backend).await.event_stream;
    let rule =
        |resource: &str| format!(r#"{{"name": "{resource}", "resource": "{resource}", "fault": "freeze"}}"#);
    backend.plan().add_from_json(rule("clicks").as_bytes()).unwrap();
    assert!(events.recv().await.unwrap().is_some(), "another stream is frozen");

    backend.plan().add_from_json(rule("orders").as_bytes()).unwrap();
    let put = br#"{"StreamName":"orders","PartitionKey":"k","Data":"aGk="}"#;
    let put = bytes::Bytes::from_static(put);
    let codec = kcl_local::wire::Json;
    backend.kinesis().call("PutRecord", &put, &codec).unwrap();
    let silence = tokio::time::timeout(Duration::from_secs(60), events.recv());
    assert!(silence.await.is_err());
    backend.plan().remove("orders").unwrap();
    let event = tokio::time::timeout(Duration::from_secs(600), events.recv());
    let event = event.await.unwrap().unwrap().unwrap();
    assert_eq!(event.as_subscribe_to_shard_event().unwrap().records.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_cut_off_by_the_plan_hears_nothing_of_its_subscriptions() {
    let backend = Backend::start();
    let mut events = subscribed(&backend).await.event_stream;
    let rule = br#"{"name": "cut", "client": "worker-1", "fault": "cut"}"#;
    backend.plan().add_from_json(rule).unwrap();
    let silence = tokio::time::timeout(Duration::from_secs(600), events.recv());
    assert!(silence.await.is_err());
    backend.plan().remove("cut").unwrap();
    let silence = tokio::time::timeout(Duration::from_secs(600), events.recv());
    assert!(silence.await.is_err(), "what was cut stays so");
}
