//! Kinesis as the AWS SDK for Java speaks it: CBOR with maps of unknown length, byte strings, and timestamps in
//! milliseconds under tag 1.

use bytes::Bytes;
use ciborium::Value;
use http::Request;
use kcl_local::Backend;

/// CBOR's tag for a time since the epoch.
const EPOCH: u64 = 1;

/// A map of unknown length, as Jackson's streaming generator writes objects.
fn streamed(members: &[(&str, Value)]) -> Bytes {
    let mut body = vec![0xbf];
    for (name, value) in members {
        ciborium::into_writer(name, &mut body).unwrap();
        ciborium::into_writer(value, &mut body).unwrap();
    }
    body.push(0xff);
    Bytes::from(body)
}

async fn call(backend: &Backend, operation: &str, members: &[(&str, Value)]) -> (u16, Value) {
    let request = Request::post("/")
        .header("x-amz-target", format!("Kinesis_20131202.{operation}"))
        .header("content-type", "application/x-amz-cbor-1.1")
        .header("authorization", "AWS4-HMAC-SHA256 x")
        .body(streamed(members))
        .unwrap();
    let answer = backend.handler().handle(request).await;
    assert_eq!(answer.headers()["content-type"], "application/x-amz-cbor-1.1");
    let status = answer.status().as_u16();
    let body = answer.into_body().whole().unwrap().clone();
    let value = if body.is_empty() {
        Value::Null
    } else {
        ciborium::from_reader(&body[..]).unwrap()
    };
    (status, value)
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    let members = value.as_map().unwrap();
    &members
        .iter()
        .find(|(key, _)| key.as_text() == Some(name))
        .unwrap_or_else(|| panic!("no {name}: {value:?}"))
        .1
}

#[tokio::test(start_paused = true)]
async fn records_and_times_are_binary_both_ways() {
    let backend = Backend::start();
    let stream = || ("StreamName", Value::from("orders"));
    let (status, _) = call(&backend, "CreateStream", &[stream(), ("ShardCount", 1.into())]).await;
    assert_eq!(status, 200);
    let data = Value::Bytes(vec![0, 0xff, 0x80]);
    let written = backend.clock().now_millis();
    let put = [stream(), ("PartitionKey", "a".into()), ("Data", data.clone())];
    let (status, put) = call(&backend, "PutRecord", &put).await;
    assert_eq!(status, 200, "{put:?}");

    let position = [
        stream(),
        ("ShardId", member(&put, "ShardId").clone()),
        ("ShardIteratorType", "AT_TIMESTAMP".into()),
        ("Timestamp", Value::Tag(EPOCH, Box::new(written.into()))),
    ];
    let (status, iterator) = call(&backend, "GetShardIterator", &position).await;
    assert_eq!(status, 200, "{iterator:?}");
    let iterator = [
        ("ShardIterator", member(&iterator, "ShardIterator").clone()),
        ("Limit", 10_000.into()),
    ];
    let (status, page) = call(&backend, "GetRecords", &iterator).await;
    assert_eq!(status, 200, "{page:?}");

    let records = member(&page, "Records").as_array().unwrap();
    assert_eq!(records.len(), 1);
    assert_eq!(member(&records[0], "Data"), &data);
    assert_eq!(
        member(&records[0], "ApproximateArrivalTimestamp"),
        &Value::Tag(EPOCH, Box::new(written.into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_error_is_cbor_too() {
    let (status, error) = call(
        &Backend::start(),
        "DescribeStream",
        &[("StreamName", "missing".into())],
    )
    .await;
    assert_eq!(status, 400);
    assert_eq!(
        member(&error, "__type").as_text(),
        Some("ResourceNotFoundException")
    );
    assert!(member(&error, "message").is_text());
}
