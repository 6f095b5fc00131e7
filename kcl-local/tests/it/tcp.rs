//! The backend on a port: SDK clients, both protocols, keep-alive, faults, and an orderly end.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Loss, Rule};
use kcl_local::transport::tcp::{ListenError, ListenOptions, Server};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::worlds::{attribute, create_lease_table, put_lease, s};

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that reaches `server` over TCP.
fn over_tcp(backend: &Backend, server: &Server) -> Client {
    let config = Builder::from(&backend.sdk_config())
        .endpoint_url(server.endpoint_url())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

/// A signed ListTables request for a raw HTTP client.
fn list_tables() -> Request<Full<Bytes>> {
    Request::post("http://localhost/")
        .header("host", "localhost")
        .header("x-amz-target", "DynamoDB_20120810.ListTables")
        .header("content-type", "application/x-amz-json-1.0")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=worker-1/x, Signature=y",
        )
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap()
}

#[tokio::test]
async fn both_transports_show_the_same_tables() {
    let backend = Backend::start();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let tcp = over_tcp(&backend, &server);
    create_lease_table(&tcp).await;
    put_lease(&tcp, "shard-0", "worker-1").await;

    let in_process = Client::new(&backend.sdk_config());
    assert_eq!(
        attribute(&in_process, "shard-0", "leaseOwner").await,
        Some(s("worker-1"))
    );
    let missing = tcp
        .describe_table()
        .table_name("missing")
        .send()
        .await
        .unwrap_err();
    assert!(missing.into_service_error().is_resource_not_found_exception());
    timeout(PATIENCE, server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn one_connection_serves_many_requests_in_http_1() {
    let server = Backend::start().listen("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let answer = timeout(PATIENCE, sender.send_request(list_tables()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.into_body().collect().await.unwrap().to_bytes(),
            r#"{"TableNames":[]}"#
        );
        sender.ready().await.unwrap();
    }
}

#[tokio::test]
async fn http_2_needs_no_upgrade_and_carries_requests_side_by_side() {
    let server = Backend::start().listen("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let requests: Vec<_> = (0..50)
        .map(|_| tokio::spawn(sender.clone().send_request(list_tables())))
        .collect();
    for request in requests {
        let answer = timeout(PATIENCE, request).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.version(), http::Version::HTTP_2);
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn faults_reach_clients_on_the_port_by_their_access_key() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let client = over_tcp(&backend, &server);
    let lost = faults.add(
        Rule::on("ListTables")
            .by("local")
            .times(1)
            .fault(Fault::drop_request(Loss::Reset)),
    );
    let throttled = faults.add(Rule::on("ListTables").times(1).fault(Fault::throttled()));
    client.list_tables().send().await.unwrap();
    assert_eq!((faults.hits(lost), faults.hits(throttled)), (1, 1));

    faults.add(
        Rule::on("ListTables")
            .by("somebody else")
            .fault(Fault::respond(400, "AccessDeniedException")),
    );
    client.list_tables().send().await.unwrap();
    faults.add(
        Rule::on("ListTables")
            .by("local")
            .fault(Fault::respond(400, "AccessDeniedException")),
    );
    let denied = client.list_tables().send().await.unwrap_err();
    assert_eq!(denied.code(), Some("AccessDeniedException"));
}

#[tokio::test]
async fn shutdown_lets_a_request_under_way_finish_and_then_the_port_is_closed() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let address = server.local_addr();
    let slow = faults.add(Rule::on("ListTables").fault(Fault::none().after(Duration::from_millis(300))));

    let client = over_tcp(&backend, &server);
    let request = tokio::spawn(async move { client.list_tables().send().await });
    let deadline = Instant::now() + PATIENCE;
    while faults.hits(slow) == 0 {
        assert!(Instant::now() < deadline, "the request never arrived");
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, server.shutdown()).await.unwrap();
    request.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn shutdown_breaks_a_request_that_does_not_finish_in_time() {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let options = ListenOptions {
        drain_timeout: Duration::from_millis(100),
        ..ListenOptions::default()
    };
    let server = backend.listen_with("127.0.0.1:0", options).await.unwrap();
    let hanging = faults.add(Rule::on("ListTables").fault(Fault::drop_request(Loss::Hang)));

    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = tokio::spawn(sender.send_request(list_tables()));
    let deadline = Instant::now() + PATIENCE;
    while faults.hits(hanging) == 0 {
        assert!(Instant::now() < deadline, "the request never arrived");
        tokio::task::yield_now().await;
    }
    timeout(PATIENCE, server.shutdown()).await.unwrap();
    assert!(timeout(PATIENCE, request).await.unwrap().unwrap().is_err());
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_consent() {
    let backend = Backend::start();
    let refused = backend.listen("0.0.0.0:0").await.unwrap_err();
    assert!(matches!(refused, ListenError::NotLoopback { .. }), "{refused}");
    assert!(matches!(
        backend.listen("nonsense").await.unwrap_err(),
        ListenError::Address { .. }
    ));
}

#[tokio::test]
async fn a_port_in_use_is_reported() {
    let backend = Backend::start();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let refused = backend
        .listen(&server.local_addr().to_string())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ListenError::Bind { address, .. } if *address == server.local_addr()),
        "{refused}"
    );
}
