//! Event streams as servers send them, whole and broken.

use std::time::{Duration, UNIX_EPOCH};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use ciborium::cbor;
use futures_util::stream;
use http_body_util::StreamBody;

use super::*;
use crate::config::ShardId;
use crate::record::{Encryption, Record};

fn message(headers: &[(&str, &str)], payload: impl Into<Bytes>) -> Vec<u8> {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::String((*value).to_owned().into());
        Header::new((*name).to_owned(), value)
    });
    let message = Message::new_from_parts(headers.collect(), payload);
    let mut bytes = Vec::new();
    write_message_to(&message, &mut bytes).expect("small enough");
    bytes
}

fn event(content_type: &str, payload: impl Into<Bytes>) -> Vec<u8> {
    let headers = [
        (":message-type", "event"),
        (":event-type", "SubscribeToShardEvent"),
        (":content-type", content_type),
    ];
    message(&headers, payload)
}

fn begin() -> Vec<u8> {
    let headers = [
        (":message-type", "event"),
        (":event-type", "initial-response"),
        (":content-type", "application/x-amz-json-1.1"),
    ];
    message(&headers, "{}")
}

const JSON: &str = r#"{
    "Records": [{
        "SequenceNumber": "7", "ApproximateArrivalTimestamp": 1.7E9, "Data": "cGF5\/bGh", "PartitionKey": "key",
        "EncryptionType": "KMS"
    }],
    "ContinuationSequenceNumber": "8", "MillisBehindLatest": 5
}"#;

fn in_json() -> Vec<u8> {
    event("application/x-amz-json-1.1", JSON)
}

fn in_cbor() -> Vec<u8> {
    let value = cbor!({
        "Records" => [{
            "SequenceNumber" => "7", "ApproximateArrivalTimestamp" => 1_700_000_000_000_u64,
            "Data" => ciborium::Value::Bytes(vec![b'p', b'a', b'y', 0xfd, 0xb1, 0xa1]),
            "PartitionKey" => "key", "EncryptionType" => "KMS"
        }],
        "ContinuationSequenceNumber" => "8", "MillisBehindLatest" => 5
    });
    let mut payload = Vec::new();
    ciborium::into_writer(&value.expect("a map"), &mut payload).expect("in memory");
    event("application/x-amz-cbor-1.1", payload)
}

#[tokio::test]
async fn a_record_may_have_been_put_without_a_key() {
    let json = r#"{"Records": [{"SequenceNumber": "7", "Data": "", "PartitionKey": null}, {"SequenceNumber": "8", "Data": ""}]}"#;
    let value = cbor!({
        "Records" => [
            {"SequenceNumber" => "7", "Data" => ciborium::Value::Bytes(Vec::new()), "PartitionKey" => null},
            {"SequenceNumber" => "8", "Data" => ciborium::Value::Bytes(Vec::new())}
        ]
    });
    let mut cbor = Vec::new();
    ciborium::into_writer(&value.expect("a map"), &mut cbor).expect("in memory");
    for event in [
        event("application/x-amz-json-1.1", json),
        event("application/x-amz-cbor-1.1", cbor),
    ] {
        let answers = all(pieces([begin(), event])).await.expect("well formed");
        let keys: Vec<_> = answers[0].records.iter().map(Record::partition_key).collect();
        assert_eq!(keys, ["", ""]);
    }
}

/// A subscription whose bytes come in these pieces.
fn pieces(pieces: impl IntoIterator<Item = Vec<u8>>) -> Subscription {
    let pieces: Vec<_> = pieces.into_iter().map(Bytes::from).collect();
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece)));
    Subscription::new(SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames))))
}

/// What it brings until it is over, or fails.
async fn all(mut subscription: Subscription) -> Result<Vec<Answer>, CallError> {
    let mut answers = Vec::new();
    while let Some(event) = subscription.event().await? {
        answers.extend(event);
    }
    Ok(answers)
}

#[tokio::test]
async fn an_event_says_the_same_in_both_encodings() {
    for bytes in [in_json(), in_cbor()] {
        let answers = all(pieces([begin(), bytes])).await.expect("well formed");
        let [answer] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!(answer.next.as_deref(), Some("8"));
        assert_eq!(answer.millis_behind_latest, Some(5));
        let [record] = &answer.records[..] else {
            panic!("{answer:?}")
        };
        assert_eq!(record.sequence_number().as_str(), "7");
        assert_eq!(record.partition_key(), "key");
        assert_eq!(record.data().as_ref(), b"pay\xfd\xb1\xa1");
        let arrival = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(record.approximate_arrival(), Some(arrival));
        assert_eq!(record.encryption(), Some(Encryption::Kms));
    }
}

#[tokio::test]
async fn the_last_event_names_the_shards_that_follow() {
    let payload = r#"{"Records": [], "ContinuationSequenceNumber": "", "MillisBehindLatest": 0, "ChildShards": [{
        "ShardId": "child", "ParentShards": ["parent"], "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"}
    }]}"#;
    let answers = all(pieces([event("application/json", payload)]))
        .await
        .expect("well formed");
    let [answer] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(answer.next, None);
    let [child] = &answer.children[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(child.id, ShardId::from("child"));
    assert!(child.parents.contains(&ShardId::from("parent")));
    assert_eq!(child.hash_range, Some(kcl_lease::HashRange::new(0, 9)));
}

#[tokio::test]
async fn it_does_not_matter_where_the_bytes_are_cut() {
    let whole = [begin(), in_cbor(), in_json(), in_cbor()].concat();
    for size in (1..64).chain([whole.len() - 1, whole.len()]) {
        let pieces = pieces(whole.chunks(size).map(<[u8]>::to_vec));
        let answers = all(pieces).await.expect("well formed");
        assert_eq!(answers.len(), 3, "pieces of {size} bytes");
    }
}

#[tokio::test]
async fn an_event_is_announced_with_its_size_before_it_is_there() {
    let bytes = in_json();
    let mut subscription = pieces([bytes[..4].to_vec(), bytes[4..].to_vec()]);
    assert_eq!(subscription.announced().await.expect("there"), Some(bytes.len()));
    assert_eq!(subscription.buffered, 4);
    assert!(subscription.event().await.expect("well formed").is_some());
    assert_eq!(subscription.announced().await.expect("over"), None);
}

#[tokio::test]
async fn failures_are_told_by_their_codes() {
    let exception = message(
        &[
            (":message-type", "exception"),
            (":exception-type", "ResourceInUseException"),
            (":content-type", "application/x-amz-json-1.1"),
        ],
        r#"{"message": "another one has it"}"#,
    );
    let unknown = message(
        &[
            (":message-type", "error"),
            (":error-code", "InternalFailure"),
            (":error-message", "try again"),
        ],
        "",
    );
    for (bytes, class, told) in [
        (
            exception,
            ErrorClass::InUse,
            "ResourceInUseException: another one has it",
        ),
        (unknown, ErrorClass::Transient, "InternalFailure: try again"),
    ] {
        let error = all(pieces([begin(), bytes])).await.expect_err(told);
        assert_eq!(error.class, class);
        assert!(error.to_string().ends_with(told), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_event_stream_is_refused_and_takes_no_memory() {
    let mut damaged = in_json();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let cut = in_json()[..20].to_vec();
    for (bytes, told) in [
        (damaged, "cannot be read"),
        (cut, "ended within a message"),
        (b"<html>".to_vec(), "says that it has 1013478509 bytes"),
        (vec![0; 32], "says that it has 0 bytes"),
        (vec![0, 0], "ended within a message"),
        (event("application/json", "no JSON"), "expected ident"),
        (
            event("application/x-amz-cbor-1.1", "no CBOR"),
            "CBOR that cannot be read",
        ),
    ] {
        let error = all(pieces([bytes])).await.expect_err(told);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[tokio::test]
async fn what_is_added_to_the_service_some_day_is_passed_over() {
    let new = message(
        &[
            (":message-type", "event"),
            (":event-type", "BrandNewEvent"),
            (":content-type", "text/plain"),
        ],
        "whatever",
    );
    let answers = all(pieces([new, in_json()])).await.expect("well formed");
    assert_eq!(answers.len(), 1);
}

/// A subscription whose pieces come one by one, so long apart, and that stays open then.
fn slowly(pieces: Vec<Vec<u8>>, apart: Duration) -> Subscription {
    let frames = stream::unfold(pieces.into_iter(), move |mut left| async move {
        let Some(piece) = left.next() else {
            return std::future::pending().await;
        };
        tokio::time::sleep(apart).await;
        let frame = http_body::Frame::data(Bytes::from(piece));
        Some((Ok::<_, std::io::Error>(frame), left))
    });
    Subscription::new(SdkBody::from_body_1_x(StreamBody::new(Box::pin(frames))))
}

#[tokio::test(start_paused = true)]
async fn an_event_may_take_long_as_long_as_it_gets_on_and_silence_is_noticed() {
    let pieces = in_json().chunks(20).map(<[u8]>::to_vec).collect();
    let mut subscription = slowly(pieces, Duration::from_secs(10));
    assert!(subscription.event().await.expect("well formed").is_some());
    let since = tokio::time::Instant::now();
    let error = subscription.event().await.expect_err("nothing comes");
    assert!(error.to_string().contains("nothing was heard"), "{error}");
    assert_eq!(since.elapsed(), SILENCE);
}
