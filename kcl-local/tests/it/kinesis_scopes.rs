//! Accounts and regions, each with streams of its own.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Credentials, Region};
use kcl_local::Backend;

const OTHER: &str = "210987654321";

/// A client that signs with `key` for `region`.
fn client(backend: &Backend, key: &str, region: &'static str) -> Client {
    let config = aws_sdk_kinesis::config::Builder::from(&backend.sdk_config())
        .credentials_provider(Credentials::new(key, "local", None, None, "test"))
        .region(Region::new(region));
    Client::from_conf(config.build())
}

async fn create(client: &Client, name: &str) -> String {
    client
        .create_stream()
        .stream_name(name)
        .shard_count(1)
        .send()
        .await
        .unwrap();
    let described = client.describe_stream_summary().stream_name(name).send().await;
    described.unwrap().stream_description_summary.unwrap().stream_arn
}

async fn names(client: &Client) -> Vec<String> {
    client.list_streams().send().await.unwrap().stream_names
}

#[tokio::test(start_paused = true)]
async fn the_region_and_the_account_of_a_signature_have_streams_of_their_own() {
    let backend = Backend::start();
    let (here, there) = (
        client(&backend, "local", "us-east-1"),
        client(&backend, "local", "eu-west-1"),
    );
    let other = client(&backend, OTHER, "us-east-1");
    let arns = [
        create(&here, "orders").await,
        create(&there, "orders").await,
        create(&other, "orders").await,
    ];
    assert_eq!(
        arns,
        [
            "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
            "arn:aws:kinesis:eu-west-1:000000000000:stream/orders",
            "arn:aws:kinesis:us-east-1:210987654321:stream/orders",
        ]
    );
    create(&other, "payments").await;
    assert_eq!(names(&here).await, ["orders"]);
    assert_eq!(names(&other).await, ["orders", "payments"]);

    let foreign = here.describe_stream_summary().stream_arn(&arns[1]).send().await;
    let refused = foreign.unwrap_err().into_service_error();
    assert!(refused.is_resource_not_found_exception(), "{refused}");
    let deleted = there.delete_stream().stream_name("orders").send().await;
    deleted.unwrap();
    assert_eq!(names(&here).await, ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn errors_name_the_account_that_signed() {
    let backend = Backend::start();
    let missing = client(&backend, OTHER, "us-east-1").delete_stream();
    let refused = missing.stream_name("orders").send().await.unwrap_err();
    assert_eq!(
        refused.into_service_error().meta().message(),
        Some("Stream orders under account 210987654321 not found.")
    );
}

#[tokio::test(start_paused = true)]
async fn any_other_key_is_of_the_backends_own_account() {
    let backend = Backend::start();
    create(&client(&backend, "worker-1", "us-east-1"), "orders").await;
    assert_eq!(names(&client(&backend, "12345", "us-east-1")).await, ["orders"]);
    assert!(backend.kinesis().trim("orders", "shardId-000000000000"));
}
