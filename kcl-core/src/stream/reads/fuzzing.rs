//! What the fuzz targets call: bytes from outside are taken apart, and the rules that hold whatever they are.

use aws_smithy_types::body::SdkBody;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;

use super::{Answer, Subscription, cbor, event};

/// An answer to `GetRecords` in CBOR, or a failure; in one piece, and in pieces of this size, which must say the same.
#[allow(clippy::missing_panics_doc, reason = "a panic is a finding")]
pub fn answer(body: &Bytes, size: usize) {
    let _ = cbor::failure(body);
    let whole = cbor::answer(std::slice::from_ref(body), cbor::NEXT_ITERATOR);
    let pieces: Vec<_> = body.chunks(size).map(|piece| body.slice_ref(piece)).collect();
    let apart = cbor::answer(&pieces, cbor::NEXT_ITERATOR);
    assert_eq!(format!("{whole:?}"), format!("{apart:?}"));
    if let Ok(answer) = whole {
        is_in_proportion(&answer, body.len());
    }
}

/// The payload of an event in one of the two encodings.
#[allow(clippy::missing_panics_doc, reason = "a panic is a finding")]
pub fn event(payload: &Bytes, is_cbor: bool) {
    let content_type = if is_cbor {
        "application/x-amz-cbor-1.1"
    } else {
        "application/x-amz-json-1.1"
    };
    let headers = [
        (":message-type", "event"),
        (":event-type", "SubscribeToShardEvent"),
        (":content-type", content_type),
    ];
    let headers = headers.map(|(name, value)| Header::new(name, HeaderValue::String(value.into())));
    let message = Message::new_from_parts(headers.to_vec(), payload.clone());
    if let Ok(Some(answer)) = event::read(&message) {
        is_in_proportion(&answer, payload.len());
    }
}

/// An event stream that comes in these pieces. Needs a tokio runtime with time.
#[allow(clippy::missing_panics_doc, reason = "a panic is a finding")]
pub async fn events(pieces: Vec<Bytes>) {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece)));
    let mut subscription = Subscription::new(SdkBody::from_body_1_x(StreamBody::new(stream::iter(frames))));
    let mut messages = 0;
    while let Ok(Some(answer)) = subscription.event().await {
        messages += 1;
        answer.inspect(|answer| is_in_proportion(answer, length));
    }
    // A message has two lengths and two checksums of four bytes.
    assert!(messages * 16 <= length);
}

fn is_in_proportion(answer: &Answer, length: usize) {
    let payload: usize = answer.records.iter().map(|record| record.data().len()).sum();
    let keys = answer.records.iter().map(|record| record.partition_key().len());
    assert!(payload + keys.sum::<usize>() <= length);
    assert!(answer.records.len() * 8 <= length && answer.children.len() <= length);
}
