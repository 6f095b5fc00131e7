//! SubscribeToShard on a port: HTTP/1.1, HTTP/2 by prior knowledge, and HTTPS.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Builder;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{ShardIteratorType, StartingPosition, SubscribeToShardEventStream};
use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::Message;
use bytes::{Bytes, BytesMut};
use ciborium::Value;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kcl_local::Backend;
use kcl_local::faults::{Call, Event, EventFault, Fault, FaultInjector};
use kcl_local::transport::tcp::{ListenOptions, Server};
use kcl_local::transport::tls::Tls;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Nothing here takes longer than this unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";

/// A backend with a stream of one shard and a consumer, and the consumer's ARN.
async fn world(faults: impl FaultInjector + 'static) -> (Backend, Client, String) {
    let backend = Backend::builder().faults(faults).build();
    let client = Client::new(&backend.sdk_config());
    let create = client.create_stream().stream_name("orders").shard_count(1);
    create.send().await.unwrap();
    let register = client.register_stream_consumer().consumer_name("billing");
    let register = register.stream_arn("arn:aws:kinesis:us-east-1:000000000000:stream/orders");
    let consumer = register.send().await.unwrap().consumer.unwrap();
    (backend, client, consumer.consumer_arn)
}

async fn put(client: &Client, data: impl Into<Vec<u8>>) {
    let request = client.put_record().stream_name("orders").partition_key("k");
    request.data(Blob::new(data)).send().await.unwrap();
}

fn request(content_type: &str, body: Bytes) -> Request<Full<Bytes>> {
    Request::post("http://localhost/")
        .header("host", "localhost")
        .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
        .header("content-type", content_type)
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=reader/x, Signature=y",
        )
        .body(Full::new(body))
        .unwrap()
}

fn in_json(arn: &str) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"ConsumerARN":"{arn}","ShardId":"shardId-000000000000","StartingPosition":{{"Type":"TRIM_HORIZON"}}}}"#
    );
    request(JSON, body.into())
}

fn in_cbor(arn: &str) -> Request<Full<Bytes>> {
    let map = |members: &[(&str, Value)]| {
        let pair = |(name, value): &(&str, Value)| (Value::from(*name), value.clone());
        Value::Map(members.iter().map(pair).collect())
    };
    let start = map(&[("Type", "TRIM_HORIZON".into())]);
    let shard = ("ShardId", "shardId-000000000000".into());
    let request_body = map(&[("ConsumerARN", arn.into()), shard, ("StartingPosition", start)]);
    let mut body = Vec::new();
    ciborium::into_writer(&request_body, &mut body).unwrap();
    request(CBOR, body.into())
}

async fn over_http_1(server: &Server, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    within(sender.send_request(request)).await.unwrap()
}

async fn over_http_2(server: &Server, request: Request<Full<Bytes>>) -> Response<Incoming> {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    within(sender.send_request(request)).await.unwrap()
}

/// A connection to whom `authority` vouches for, that offers these protocols.
pub(crate) async fn connect(
    address: &str,
    authority: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(authority.as_bytes());
    roots.add(certificate.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    within(connector.connect("localhost".try_into().unwrap(), stream)).await
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it does not hang")
}

/// The messages of an answer, one by one.
struct Messages {
    body: Incoming,
    decoder: MessageFrameDecoder,
    rest: BytesMut,
}

impl Messages {
    fn of(answer: Response<Incoming>) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()["content-type"],
            "application/vnd.amazon.eventstream"
        );
        Self {
            body: answer.into_body(),
            decoder: MessageFrameDecoder::new(),
            rest: BytesMut::new(),
        }
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            if let DecodedFrame::Complete(message) = self.decoder.decode_frame(&mut self.rest).unwrap() {
                return Some(message);
            }
            let frame = within(self.body.frame()).await?;
            let data = frame.unwrap().into_data().unwrap();
            self.rest.extend_from_slice(&data);
        }
    }

    async fn event(&mut self, content_type: &str) -> Bytes {
        let message = self.next().await.unwrap();
        assert_eq!(header(&message, ":message-type"), "event");
        assert_eq!(header(&message, ":event-type"), "SubscribeToShardEvent");
        assert_eq!(header(&message, ":content-type"), content_type);
        message.payload().clone()
    }
}

fn header(message: &Message, name: &str) -> String {
    let header = message
        .headers()
        .iter()
        .find(|header| header.name().as_str() == name);
    header.unwrap().value().as_string().unwrap().as_str().to_owned()
}

#[tokio::test]
async fn http_1_carries_events_in_json_while_they_come() {
    let (backend, client, arn) = world(kcl_local::faults::NoFaults).await;
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let answer = over_http_1(&server, in_json(&arn)).await;
    assert_eq!(answer.version(), Version::HTTP_11);
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    let mut messages = Messages::of(answer);
    let first = messages.next().await.unwrap();
    assert_eq!(header(&first, ":event-type"), "initial-response");
    for content in ["a", "b", "c"] {
        put(&client, content).await;
        let event: serde_json::Value = serde_json::from_slice(&messages.event(JSON).await).unwrap();
        let record = &event["Records"][0];
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content);
        assert_eq!(record["Data"], data);
        assert_eq!(event["ContinuationSequenceNumber"], record["SequenceNumber"]);
        assert_eq!(event["MillisBehindLatest"], 0);
        assert!(event.get("ChildShards").is_none());
    }
    let refused = over_http_1(&server, in_json(&arn)).await;
    assert_eq!(refused.status(), 400, "an ordinary answer");
    assert_eq!(refused.headers()["x-amzn-errortype"], "ResourceInUseException");
}

#[tokio::test]
async fn http_2_carries_events_in_cbor() {
    let (backend, client, arn) = world(kcl_local::faults::NoFaults).await;
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let answer = over_http_2(&server, in_cbor(&arn)).await;
    assert_eq!(answer.version(), Version::HTTP_2);
    let mut messages = Messages::of(answer);
    let first = messages.next().await.unwrap();
    assert_eq!(header(&first, ":event-type"), "initial-response");
    assert_eq!(header(&first, ":content-type"), CBOR);
    let before = backend.clock().now_millis();
    put(&client, [0, 0xff, 0x80]).await;
    let event: Value = ciborium::from_reader(messages.event(CBOR).await.as_ref()).unwrap();
    let member = |value: &Value, name: &str| {
        let members = value.as_map().unwrap().clone();
        let found = members.into_iter().find(|(key, _)| key.as_text() == Some(name));
        found.unwrap().1
    };
    let record = member(&event, "Records").into_array().unwrap().remove(0);
    assert_eq!(member(&record, "Data"), Value::Bytes(vec![0, 0xff, 0x80]));
    let (tag, arrived) = member(&record, "ApproximateArrivalTimestamp").into_tag().unwrap();
    let arrived = u64::try_from(arrived.into_integer().unwrap()).unwrap();
    assert_eq!(tag, 1);
    assert!((before..before + 20_000).contains(&arrived), "milliseconds");
}

#[tokio::test]
async fn one_connection_in_http_2_carries_a_subscription_to_each_shard_of_a_large_stream() {
    let (backend, client, arn) = world(kcl_local::faults::NoFaults).await;
    for shards in [2, 4, 8, 16, 32, 64, 128, 256] {
        let update = client.update_shard_count().stream_name("orders");
        let update = update.target_shard_count(shards);
        let uniform = aws_sdk_kinesis::types::ScalingType::UniformScaling;
        update.scaling_type(uniform).send().await.unwrap();
    }
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    // Those before have ended.
    for shard in 255..511 {
        let body = format!(
            r#"{{"ConsumerARN":"{arn}","ShardId":"shardId-{shard:012}","StartingPosition":{{"Type":"TRIM_HORIZON"}}}}"#
        );
        within(sender.ready()).await.unwrap();
        answers.push(tokio::spawn(sender.send_request(request(JSON, body.into()))));
    }
    let mut open = Vec::new();
    for answer in answers {
        let mut messages = Messages::of(within(answer).await.unwrap().unwrap());
        let first = messages.next().await.unwrap();
        assert_eq!(header(&first, ":event-type"), "initial-response");
        open.push(messages);
    }
    assert_eq!(open.len(), 256);
}

#[tokio::test]
async fn https_carries_events_to_the_sdk() {
    let (backend, client, arn) = world(kcl_local::faults::NoFaults).await;
    let tls = Tls::new(&[]).unwrap();
    let options = ListenOptions {
        tls: Some(tls.clone()),
        ..ListenOptions::default()
    };
    let server = backend.listen_with("127.0.0.1:0", options).await.unwrap();
    assert!(server.endpoint_url().starts_with("https://127.0.0.1:"));
    let trust = aws_smithy_http_client::tls::TrustStore::empty().with_pem_certificate(tls.authority());
    let context = aws_smithy_http_client::tls::TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .unwrap();
    let provider = aws_smithy_http_client::tls::Provider::Rustls(
        aws_smithy_http_client::tls::rustls_provider::CryptoMode::AwsLc,
    );
    let https = aws_smithy_http_client::Builder::new()
        .tls_provider(provider)
        .tls_context(context)
        .build_https();
    let config = Builder::from(&backend.sdk_config())
        .endpoint_url(server.endpoint_url())
        .http_client(https);
    let secure = Client::from_conf(config.build());
    put(&client, "a").await;
    let start = StartingPosition::builder().r#type(ShardIteratorType::TrimHorizon);
    let request = secure
        .subscribe_to_shard()
        .consumer_arn(arn)
        .shard_id("shardId-000000000000");
    let request = request.starting_position(start.build().unwrap());
    let mut answer = within(request.send()).await.unwrap();
    for expected in ["a", "b"] {
        let event = within(answer.event_stream.recv()).await.unwrap().unwrap();
        let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else {
            panic!("{event:?}")
        };
        assert_eq!(event.records[0].data.as_ref(), expected.as_bytes());
        put(&secure, "b").await;
    }
    drop(answer);
    within(server.shutdown()).await;
}

#[tokio::test]
async fn https_agrees_on_http_2_and_not_with_those_who_trust_somebody_else() {
    let (backend, _, arn) = world(kcl_local::faults::NoFaults).await;
    let tls = Tls::new(&[]).unwrap();
    let options = ListenOptions {
        tls: Some(tls.clone()),
        ..ListenOptions::default()
    };
    let server = backend.listen_with("127.0.0.1:0", options).await.unwrap();
    let address = server.local_addr().to_string();
    let connect = async |authority: &str, protocols: &[&str]| connect(&address, authority, protocols).await;
    let stream = connect(tls.authority(), &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let answer = within(sender.send_request(in_cbor(&arn))).await.unwrap();
    let first = Messages::of(answer).next().await.unwrap();
    assert_eq!(header(&first, ":event-type"), "initial-response");

    let stream = connect(tls.authority(), &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let other = Tls::new(&[]).unwrap();
    assert!(connect(other.authority(), &["h2"]).await.is_err());
}

#[tokio::test]
async fn shutdown_ends_subscriptions_in_order() {
    let (backend, client, arn) = world(kcl_local::faults::NoFaults).await;
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    put(&client, "a").await;
    let mut http_1 = Messages::of(over_http_1(&server, in_json(&arn)).await);
    http_1.next().await.unwrap();
    http_1.event(JSON).await;
    let register = client.register_stream_consumer().consumer_name("audit");
    let register = register.stream_arn("arn:aws:kinesis:us-east-1:000000000000:stream/orders");
    let other = register.send().await.unwrap().consumer.unwrap().consumer_arn;
    let mut http_2 = Messages::of(over_http_2(&server, in_cbor(&other)).await);
    http_2.next().await.unwrap();
    http_2.event(CBOR).await;
    within(server.shutdown()).await;
    assert!(http_1.next().await.is_none());
    assert!(http_2.next().await.is_none());
}

/// Nothing goes wrong, and events are counted as they are made.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl FaultInjector for Counted {
    fn decide(&self, _: &Call<'_>) -> Fault {
        Fault::none()
    }

    fn event(&self, event: &Event<'_>) -> EventFault {
        assert_eq!(event.client, "reader");
        self.0.fetch_add(event.payload.len() as u64, Ordering::Relaxed);
        EventFault::none()
    }
}

/// More than what sockets, windows and the HTTP library hold of a connection, and a third of what there is.
const AHEAD: u64 = 16 << 20;

#[tokio::test]
async fn what_a_client_has_not_taken_is_not_made() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let made = Counted::default();
        let (backend, client, arn) = world(made.clone()).await;
        let server = backend.listen("127.0.0.1:0").await.unwrap();
        for _ in 0..50 {
            put(&client, vec![b'x'; 1_000_000]).await;
        }
        let answer = match version {
            Version::HTTP_11 => over_http_1(&server, in_cbor(&arn)).await,
            _ => over_http_2(&server, in_cbor(&arn)).await,
        };
        let (mut body, mut taken) = (answer.into_body(), 0);
        while taken < 50_000_000 {
            taken += within(body.frame())
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len() as u64;
            // Whatever else wants to run has its turn.
            tokio::task::yield_now().await;
            let ahead = made.0.load(Ordering::Relaxed).saturating_sub(taken);
            assert!(ahead < AHEAD, "{ahead} bytes are made and not taken");
        }
    }
}
