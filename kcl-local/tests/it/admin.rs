//! Trouble, time and a new beginning over HTTP, as a program in any language asks for them.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use kcl_local::Backend;
use kcl_local::transport::tcp::{ListenOptions, Server};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const SHARD: &str = "shardId-000000000000";

struct World {
    kinesis: Client,
    server: Server,
}

impl World {
    /// A port with the stream `orders`, and a client that is called `worker-1` there.
    async fn new() -> Self {
        Self::with(ListenOptions::default()).await
    }

    async fn with(options: ListenOptions) -> Self {
        let backend = Backend::start();
        backend.begin_with_stream("orders", 1).unwrap();
        let server = backend.listen_with("127.0.0.1:0", options).await.unwrap();
        let key = aws_sdk_kinesis::config::Credentials::new("worker-1", "secret", None, None, "test");
        let config = Builder::from(&backend.sdk_config())
            .endpoint_url(server.endpoint_url())
            .credentials_provider(key)
            .retry_config(aws_sdk_kinesis::config::retry::RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        let kinesis = Client::from_conf(config.build());
        Self { kinesis, server }
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        let stream = TcpStream::connect(self.server.local_addr()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request.map(Full::new));
        let (parts, body) = timeout(PATIENCE, answer).await.unwrap().unwrap().into_parts();
        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("/_kcl-local{path}"))
            .header("host", self.server.local_addr().to_string())
            .header("content-type", "application/json");
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let answer = self.send(request.body(body).unwrap()).await;
        assert!(answer.status().is_success(), "{:?}", answer.body());
        serde_json::from_slice(answer.body()).unwrap()
    }

    async fn put(&self) -> Result<(), Option<String>> {
        let put = self.kinesis.put_record().stream_name("orders").partition_key("k");
        let done = put.data(Blob::new("hello")).send().await;
        done.map(drop).map_err(|error| error.code().map(str::to_owned))
    }

    async fn iterator(&self) -> String {
        let iterator = self
            .kinesis
            .get_shard_iterator()
            .stream_name("orders")
            .shard_id(SHARD);
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon);
        iterator.send().await.unwrap().shard_iterator.unwrap()
    }

    async fn records(&self, iterator: &str) -> Result<usize, Option<String>> {
        let read = self.kinesis.get_records().shard_iterator(iterator).send().await;
        read.map(|answer| answer.records().len())
            .map_err(|error| error.code().map(str::to_owned))
    }
}

fn code(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[tokio::test]
async fn a_rule_strikes_the_client_that_it_names_and_counts() {
    let world = World::new().await;
    let rules = json!({ "rules": [
        { "name": "other", "client": "worker-2", "fault": "throttle" },
        { "name": "full", "client": "worker-1", "operation": "PutRecord", "resource": "orders", "count": 1, "fault": "throttle" },
        { "name": "odd", "operation": "PutRecord", "count": 1,
          "fault": { "error": { "code": "KMSThrottlingException", "message": "as told", "status": 400 } } },
    ] });
    world.ask(Method::PUT, "/faults", rules).await;
    assert_eq!(
        world.put().await,
        Err(code("ProvisionedThroughputExceededException"))
    );
    assert_eq!(world.put().await, Err(code("KMSThrottlingException")));
    assert_eq!(world.put().await, Ok(()));
    let listed = world.ask(Method::GET, "/faults", Value::Null).await;
    let hits: Vec<_> = listed["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["hits"])
        .collect();
    assert_eq!(hits, [&json!(0), &json!(1), &json!(1)]);
}

#[tokio::test]
async fn a_read_by_iterator_is_about_its_stream() {
    let world = World::new().await;
    let iterator = world.iterator().await;
    let rule = json!({ "fault": "expired_iterator", "resource": "clicks" });
    world.ask(Method::POST, "/faults", rule).await;
    assert_eq!(world.records(&iterator).await, Ok(0));
    let rule = json!({ "fault": "expired_iterator", "resource": "orders" });
    world.ask(Method::POST, "/faults", rule).await;
    assert_eq!(
        world.records(&iterator).await,
        Err(code("ExpiredIteratorException"))
    );
}

#[tokio::test]
async fn an_answer_that_was_lost_had_taken_effect() {
    let world = World::new().await;
    let rule = json!({ "operation": "PutRecord", "count": 1, "fault": { "drop_answer": "reset" } });
    world.ask(Method::POST, "/faults", rule).await;
    assert_eq!(world.put().await, Err(None));
    assert_eq!(world.records(&world.iterator().await).await, Ok(1));
}

#[tokio::test]
async fn what_is_frozen_goes_on_when_its_rule_is_removed() {
    let world = World::new().await;
    let rule = json!({ "name": "ice", "client": "worker-1", "fault": "freeze" });
    world.ask(Method::POST, "/faults", rule).await;
    let kinesis = world.kinesis.clone();
    let asked = tokio::spawn(async move { kinesis.list_streams().send().await });
    let deadline = Instant::now() + PATIENCE;
    while world.ask(Method::GET, "/faults/ice", Value::Null).await["hits"] == 0 {
        assert!(Instant::now() < deadline, "the request never arrived");
    }
    assert!(!asked.is_finished());
    world.ask(Method::DELETE, "/faults/ice", Value::Null).await;
    let answer = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.stream_names(), ["orders"]);
}

#[tokio::test]
async fn time_can_be_travelled_past_an_iterator_and_past_the_retention() {
    let world = World::new().await;
    world.put().await.unwrap();
    world
        .ask(Method::PUT, "/clock", json!({ "pace": "paused" }))
        .await;
    let iterator = world.iterator().await;
    world.ask(Method::PUT, "/clock", json!({ "advance": "5m" })).await;
    assert_eq!(world.records(&iterator).await, Ok(1));
    world.ask(Method::PUT, "/clock", json!({ "advance": "1s" })).await;
    assert_eq!(
        world.records(&iterator).await,
        Err(code("ExpiredIteratorException"))
    );
    world
        .ask(Method::PUT, "/clock", json!({ "advance": "24h" }))
        .await;
    assert_eq!(world.records(&world.iterator().await).await, Ok(0));
}

/// Subscribes to the one shard from now on.
async fn subscribed(world: &World) -> aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput {
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let register = world
        .kinesis
        .register_stream_consumer()
        .stream_arn(arn)
        .consumer_name("app");
    let consumer = register.send().await.unwrap().consumer.unwrap().consumer_arn;
    let start = StartingPosition::builder()
        .r#type(ShardIteratorType::Latest)
        .build()
        .unwrap();
    let subscribe = world
        .kinesis
        .subscribe_to_shard()
        .consumer_arn(consumer)
        .shard_id(SHARD);
    subscribe.starting_position(start).send().await.unwrap()
}

#[tokio::test]
async fn a_subscription_of_five_minutes_is_over_as_soon_as_time_is_moved_on() {
    let world = World::new().await;
    world
        .ask(Method::PUT, "/clock", json!({ "pace": "paused" }))
        .await;
    let mut events = subscribed(&world).await.event_stream;
    world.ask(Method::PUT, "/clock", json!({ "advance": "5s" })).await;
    let heartbeat = timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert!(heartbeat.is_some(), "an event without records");
    world.ask(Method::PUT, "/clock", json!({ "advance": "5m" })).await;
    let deadline = Instant::now() + PATIENCE;
    while timeout(PATIENCE, events.recv()).await.unwrap().unwrap().is_some() {
        assert!(Instant::now() < deadline, "the subscription does not end");
    }
}

#[tokio::test]
async fn a_reset_ends_subscriptions_and_empties_streams() {
    let world = World::new().await;
    world.put().await.unwrap();
    let mut events = subscribed(&world).await.event_stream;
    world.ask(Method::POST, "/reset", Value::Null).await;
    let ended = timeout(PATIENCE, async {
        loop {
            match events.recv().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    return error
                        .as_service_error()
                        .and_then(|error| error.code().map(str::to_owned));
                }
            }
        }
    });
    assert_eq!(ended.await.unwrap(), code("ResourceNotFoundException"));
    assert_eq!(world.records(&world.iterator().await).await, Ok(0));
}

#[tokio::test]
async fn an_iterator_from_before_a_reset_leads_nowhere() {
    let world = World::new().await;
    let iterator = world.iterator().await;
    world.ask(Method::POST, "/reset", Value::Null).await;
    assert_eq!(
        world.records(&iterator).await,
        Err(code("InvalidArgumentException"))
    );
}

#[tokio::test]
async fn a_page_of_another_site_gets_nowhere() {
    let world = World::new().await;
    let request = |path: &str, origin: &str| {
        Request::builder()
            .method(Method::DELETE)
            .uri(path)
            .header("host", world.server.local_addr().to_string())
            .header("origin", origin)
            .body(Bytes::new())
            .unwrap()
    };
    let stranger = request("/_kcl-local/faults", "https://evil.example");
    assert_eq!(world.send(stranger).await.status(), 403);
    let ours = request("/_kcl-local/faults", &world.server.endpoint_url());
    assert_eq!(world.send(ours).await.status(), 200);
}

#[tokio::test]
async fn a_name_that_was_made_to_mean_this_machine_opens_no_way_to_the_services() {
    let world = World::new().await;
    for (host, status) in [
        ("evil.example:80", 403),
        (&world.server.local_addr().to_string(), 200),
    ] {
        let request = Request::post("/")
            .header("host", host)
            .header("origin", format!("http://{host}"))
            .header("x-amz-target", "Kinesis_20131202.ListStreams")
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=page/x, Signature=y")
            .body(Bytes::from_static(b"{}"));
        assert_eq!(world.send(request.unwrap()).await.status(), status, "{host}");
    }
}

#[tokio::test]
async fn a_script_in_a_browser_may_ask_the_services_if_its_page_is_on_this_machine_or_was_named() {
    let options = ListenOptions {
        origins: vec!["https://app.example".to_owned()],
        ..ListenOptions::default()
    };
    let world = World::with(options).await;
    let ask = |method: Method, origin: &str| {
        Request::builder()
            .method(method)
            .uri("/")
            .header("host", "localhost")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("x-amz-target", "Kinesis_20131202.ListStreams")
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=page/x, Signature=y")
            .body(Bytes::from_static(b"{}"))
            .unwrap()
    };
    for (origin, may_ask) in [
        ("http://localhost:3000", true),
        ("https://app.example", true),
        ("https://evil.example", false),
    ] {
        let before = world.send(ask(Method::OPTIONS, origin)).await;
        assert_eq!(before.status(), 200);
        let answer = world.send(ask(Method::POST, origin)).await;
        assert_eq!(answer.status(), if may_ask { 200 } else { 403 }, "{origin}");
        for headers in [before.headers(), answer.headers()] {
            assert_eq!(
                headers.contains_key("access-control-allow-origin"),
                may_ask,
                "{origin}"
            );
        }
    }
}
