//! One endpoint for all of an application: who it is, what it reports, and what it is told of services that are not here.

use bytes::Bytes;
use ciborium::Value as Cbor;
use http::{Request, Response};
use kcl_local::Backend;
use kcl_local::clock::Clock;
use serde_json::{Value, json};

/// A time in seconds since the epoch, at the beginning of a minute.
const START: u64 = 1_764_417_600;

fn backend() -> Backend {
    let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_secs(START);
    Backend::builder().clock(Clock::starting_at(epoch)).build()
}

async fn ask(
    backend: &Backend,
    service: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response<Bytes> {
    let scope =
        format!("AWS4-HMAC-SHA256 Credential=me/20261129/us-east-1/{service}/aws4_request, Signature=0");
    let mut request = Request::post(path).header("authorization", scope);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = backend
        .handler()
        .handle(request.body(Bytes::from(body)).unwrap())
        .await;
    answer.map(|body| body.whole().unwrap().clone())
}

fn text(answer: &Response<Bytes>) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

#[tokio::test]
async fn numbers_that_are_put_in_one_protocol_are_read_in_the_others() {
    let backend = backend();
    let form = String::from(
        "Action=PutMetricData&Version=2010-08-01&Namespace=App&MetricData.member.1.MetricName=Lag\
         &MetricData.member.1.Value=2.5&MetricData.member.1.Unit=Milliseconds\
         &MetricData.member.1.Timestamp=2025-11-29T12%3A00%3A30Z\
         &MetricData.member.1.Dimensions.member.1.Name=Stream&MetricData.member.1.Dimensions.member.1.Value=a%26b",
    );
    let put = ask(&backend, "monitoring", "/", &[FORM], form.into_bytes()).await;
    assert_eq!(put.status(), 200, "{}", text(&put));
    assert!(
        text(&put)
            .contains("<PutMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\">")
    );

    let json_headers = [
        ("x-amz-target", "GraniteServiceVersion20100801.PutMetricData"),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    let dimensions = json!([{ "Name": "Stream", "Value": "a&b" }]);
    let datum = json!({
        "MetricName": "Lag", "Value": 4, "Unit": "Milliseconds", "Timestamp": START + 40, "Dimensions": dimensions
    });
    let body = json!({ "Namespace": "App", "MetricData": [datum] }).to_string();
    let put = ask(&backend, "monitoring", "/", &json_headers, body.into_bytes()).await;
    assert_eq!((put.status().as_u16(), text(&put)), (200, "{}"));

    let cbor_headers = [
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
    ];
    let time = |seconds: u64| Cbor::Tag(1, Box::new(Cbor::from(seconds)));
    let map = |members: Vec<(&str, Cbor)>| {
        Cbor::Map(
            members
                .into_iter()
                .map(|(name, value)| (Cbor::from(name), value))
                .collect(),
        )
    };
    let dimension = map(vec![("Name", "Stream".into()), ("Value", "a&b".into())]);
    let question = map(vec![
        ("Namespace", "App".into()),
        ("MetricName", "Lag".into()),
        ("Dimensions", Cbor::Array(vec![dimension])),
        ("StartTime", time(START)),
        ("EndTime", time(START + 60)),
        ("Period", Cbor::from(60)),
        ("Statistics", Cbor::Array(vec!["Sum".into()])),
    ]);
    let mut body = Vec::new();
    ciborium::into_writer(&question, &mut body).unwrap();
    let path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics";
    let answer = ask(&backend, "monitoring", path, &cbor_headers, body).await;
    assert_eq!(answer.headers()["smithy-protocol"], "rpc-v2-cbor");
    let answer: Cbor = ciborium::from_reader(&answer.body()[..]).unwrap();
    let point = map(vec![
        ("Timestamp", Cbor::Tag(1, Box::new(Cbor::Float(START as f64)))),
        ("Unit", "Milliseconds".into()),
        ("Sum", Cbor::Float(6.5)),
    ]);
    assert_eq!(
        answer,
        map(vec![
            ("Label", "Lag".into()),
            ("Datapoints", Cbor::Array(vec![point]))
        ])
    );

    let listing = b"Action=ListMetrics&Version=2010-08-01&Namespace=App".to_vec();
    let listed = ask(&backend, "monitoring", "/", &[FORM], listing).await;
    assert!(text(&listed).contains("<member><Name>Stream</Name><Value>a&amp;b</Value></member>"));
}

#[tokio::test]
async fn numbers_may_come_compressed_but_not_without_end() {
    use std::io::Write as _;
    let backend = backend();
    let packed = |body: &[u8]| {
        let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packing.write_all(body).unwrap();
        packing.finish().unwrap()
    };
    let headers = [
        ("x-amz-target", "GraniteServiceVersion20100801.PutMetricData"),
        ("content-type", "application/x-amz-json-1.0"),
        ("content-encoding", "gzip"),
    ];
    let body = json!({ "Namespace": "App", "MetricData": [{ "MetricName": "Lag", "Value": 1 }] }).to_string();
    let put = ask(&backend, "monitoring", "/", &headers, packed(body.as_bytes())).await;
    assert_eq!(put.status(), 200, "{}", text(&put));
    let bomb = ask(
        &backend,
        "monitoring",
        "/",
        &headers,
        packed(&vec![b' '; 100 << 20]),
    )
    .await;
    assert_eq!(bomb.status(), 413);
    let broken = ask(&backend, "monitoring", "/", &headers, b"nonsense".to_vec()).await;
    assert_eq!(broken.status(), 400);
}

#[tokio::test]
async fn a_fault_is_told_in_the_protocol_of_the_service() {
    let backend = backend();
    let rule = br#"{ "service": "sts", "fault": { "error": { "code": "ExpiredToken", "status": 403 } } }"#;
    backend.plan().add_from_json(rule).unwrap();
    let server = backend.listen("127.0.0.1:0").await.unwrap();
    let stream = tokio::net::TcpStream::connect(server.local_addr()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("/")
        .header("host", "localhost")
        .header(FORM.0, FORM.1)
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=me/20261129/us-east-1/sts/aws4_request, Signature=0",
        )
        .body(http_body_util::Full::new(Bytes::from_static(
            b"Action=GetCallerIdentity&Version=2011-06-15",
        )));
    let answer = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 403);
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .unwrap()
        .to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        body.contains("<Code>ExpiredToken</Code><Message>injected fault</Message>"),
        "{body}"
    );
}

#[tokio::test]
async fn a_listing_of_buckets_is_refused_and_the_root_still_says_that_it_lives() {
    let backend = backend();
    let scope = "AWS4-HMAC-SHA256 Credential=me/20261129/us-east-1/s3/aws4_request, Signature=0";
    let buckets = Request::get("/")
        .header("authorization", scope)
        .body(Bytes::new())
        .unwrap();
    let answer = backend.handler().handle(buckets).await;
    assert_eq!(answer.status(), 400);
    let root = Request::get("/").body(Bytes::new()).unwrap();
    assert_eq!(backend.handler().handle(root).await.status(), 200);
}

#[tokio::test]
async fn a_request_that_nobody_wrote_does_no_harm() {
    let backend = backend();
    let cbor_headers = [
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
    ];
    let path = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    for body in [
        vec![0x9f; 200_000],
        vec![0xc1; 200_000],
        vec![0xbb; 9],
        vec![0xff],
    ] {
        let answer = ask(&backend, "monitoring", path, &cbor_headers, body).await;
        assert_eq!(answer.status(), 400);
    }
    let deep = format!("{{\"Namespace\":{}", "[".repeat(500_000));
    let headers = [
        ("x-amz-target", "GraniteServiceVersion20100801.PutMetricData"),
        ("content-type", "application/x-amz-json-1.0"),
    ];
    let answer = ask(&backend, "monitoring", "/", &headers, deep.into_bytes()).await;
    let said: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(said["__type"], "InvalidParameterValue");
}
