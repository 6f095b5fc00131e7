//! In real time, over sockets: workers that reach the backend as they would reach a LocalStack-like server.

use std::time::Duration;

use kcl_local::Backend;
use kcl_tests::{Behaviour, Remote, Servers, World, WorldOptions, scenarios};

#[tokio::test]
async fn two_workers_over_tcp_share_a_stream_and_hand_it_on() {
    let backend = Backend::start();
    let server = backend.listen("127.0.0.1:0").await.expect("a free port");
    let servers = Remote {
        kinesis: server.endpoint_url(),
        dynamodb: server.endpoint_url(),
    };
    let options = WorldOptions {
        shards: 2,
        ..WorldOptions::default()
    };
    scenarios::two_workers_share_a_stream_and_hand_it_on(World::on(servers, options).await).await;
    tokio::time::timeout(Duration::from_secs(10), server.shutdown())
        .await
        .expect("the listener stops");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_in_the_status_and_no_busy_loop() {
    let world = World::with_shards(1).await;
    let nobody = "http://127.0.0.1:9".to_owned();
    let nowhere = Remote {
        kinesis: nobody.clone(),
        dynamodb: nobody,
    };
    let builder = world.builder("w1", Behaviour::default());
    let worker = world.run("w1", builder.aws_config(&nowhere.aws("w1")));
    worker
        .until(Duration::from_secs(30), |status| !status.problems.is_empty())
        .await;
    tokio::time::timeout(Duration::from_secs(10), worker.stop())
        .await
        .expect("it stops all the same");
}
