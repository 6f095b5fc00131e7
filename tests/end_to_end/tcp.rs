//! In real time, over sockets: workers that reach the backend as they would reach a LocalStack-like server.

use std::time::Duration;

use kcl_tests::{Behaviour, World};

#[tokio::test]
async fn two_workers_over_tcp_share_a_stream_and_hand_it_on() {
    let world = World::with_shards(2).await;
    let server = world.backend.listen("127.0.0.1:0").await.expect("a free port");
    let aws = world
        .backend
        .sdk_config()
        .into_builder()
        .endpoint_url(server.endpoint_url())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let start = |name: &str| world.run(name, world.builder(name, Behaviour::default()).aws_config(&aws));
    world.put(20, 200).await;
    let (first, second) = (start("w1"), start("w2"));
    world.until_drained(Duration::from_secs(20)).await;
    world
        .until_processing(&[&first, &second], &[1, 1], Duration::from_secs(20))
        .await;
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(20)).await;
    first.stop().await;
    world.put(20, 200).await;
    world.until_drained(Duration::from_secs(20)).await;
    second.stop().await;
    world.assert_exactly_once();
    tokio::time::timeout(Duration::from_secs(10), server.shutdown())
        .await
        .expect("the listener stops");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_the_status_and_no_busy_loop() {
    let world = World::with_shards(1).await;
    let aws = world
        .backend
        .sdk_config()
        .into_builder()
        .endpoint_url("http://127.0.0.1:9")
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let worker = world.run("w1", world.builder("w1", Behaviour::default()).aws_config(&aws));
    kcl_tests::eventually(
        Duration::from_secs(30),
        || worker.handle.status().problems.pop(),
        || format!("{:?}", worker.handle.status()),
    )
    .await;
    tokio::time::timeout(Duration::from_secs(10), worker.stop())
        .await
        .expect("it stops all the same");
}
