//! A smoke test in real time: a worker that talks to the listener over a socket.

use std::time::Duration;

use kcl_tests::World;

#[tokio::test]
async fn the_listener_answers_plain_http() {
    let world = World::with_shards(1).await;
    let server = world.backend.listen("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    drop(stream);
    tokio::time::timeout(Duration::from_secs(5), server.shutdown())
        .await
        .expect("it stops");
}
