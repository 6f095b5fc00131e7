//! `application/vnd.amazon.eventstream`: the messages of which the answer to SubscribeToShard is made.
//!
//! <https://smithy.io/2.0/aws/amazon-eventstream.html>

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::Bytes;

use super::{Cbor, Encoding, Json, error_body};
use crate::kinesis::{ApiError, Codec};

/// The media type of an answer that is made of messages.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// What a message's bytes have before its headers (two lengths and a checksum), and what they have behind its payload.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The message that comes first. It has none of the members that an ordinary answer would have.
pub(crate) fn initial_response(encoding: Encoding) -> Bytes {
    let nothing = std::collections::BTreeMap::<&str, ()>::new();
    let payload = match encoding {
        Encoding::Cbor11 => Cbor.encode(&nothing),
        Encoding::Json10 | Encoding::Json11 | Encoding::PlainJson => Json.encode(&nothing),
    };
    event(encoding, "initial-response", payload.unwrap_or_default())
}

/// The message of an event.
pub(crate) fn event(encoding: Encoding, kind: &'static str, payload: Bytes) -> Bytes {
    message(
        [
            (":message-type", "event"),
            (":event-type", kind),
            (":content-type", encoding.content_type()),
        ],
        payload,
    )
}

/// The message of an exception, with which a stream of events ends.
pub(crate) fn exception(encoding: Encoding, code: &str, text: &str) -> Bytes {
    message(
        [
            (":message-type", "exception"),
            (":exception-type", code),
            (":content-type", encoding.content_type()),
        ],
        error_body(encoding, code, text),
    )
}

/// The exception as it is called within a stream of events, which knows a failure of the service by another name.
pub(crate) fn name_of(error: &ApiError) -> &'static str {
    match error.code {
        "InternalFailure" => "InternalFailureException",
        code => code,
    }
}

fn message(headers: [(&'static str, &str); 3], payload: Bytes) -> Bytes {
    let headers = headers
        .into_iter()
        .map(|(name, value)| Header::new(name, HeaderValue::String(value.to_owned().into())));
    let message = Message::new_from_parts(headers.collect(), payload);
    let mut bytes = Vec::with_capacity(message.payload().len() + 256);
    if let Err(error) = write_message_to(&message, &mut bytes) {
        tracing::error!(%error, "an event cannot be written; this is a defect of the local backend");
    }
    Bytes::from(bytes)
}

/// The payload of one whole message, sharing its memory; none if the bytes are no message.
pub fn payload(message: &Bytes) -> Option<Bytes> {
    let number = |at: usize| {
        let bytes = message.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_be_bytes(bytes)).ok()
    };
    let (total, headers) = (number(0)?, number(4)?);
    let start = PRELUDE.checked_add(headers)?;
    let end = total.checked_sub(CHECKSUM)?;
    (total == message.len() && start <= end).then(|| message.slice(start..end))
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::read_message_from;

    use super::*;

    fn read(bytes: &Bytes) -> (Vec<(String, String)>, Bytes) {
        let message = read_message_from(bytes.clone()).unwrap();
        let header = |header: &Header| {
            let value = header.value().as_string().unwrap().as_str().to_owned();
            (header.name().as_str().to_owned(), value)
        };
        assert_eq!(payload(bytes).as_ref(), Some(message.payload()));
        (
            message.headers().iter().map(header).collect(),
            message.payload().clone(),
        )
    }

    fn headers(kind: &str, name: &str, value: &str, content: &str) -> Vec<(String, String)> {
        let pairs = [(":message-type", kind), (name, value), (":content-type", content)];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    #[test]
    fn the_first_message_is_empty_in_either_encoding() {
        let json = headers(
            "event",
            ":event-type",
            "initial-response",
            "application/x-amz-json-1.1",
        );
        assert_eq!(
            read(&initial_response(Encoding::Json11)),
            (json, Bytes::from_static(b"{}"))
        );
        let cbor = headers(
            "event",
            ":event-type",
            "initial-response",
            "application/x-amz-cbor-1.1",
        );
        assert_eq!(
            read(&initial_response(Encoding::Cbor11)),
            (cbor, Bytes::from_static(&[0xa0]))
        );
    }

    #[test]
    fn an_event_carries_its_payload() {
        let payload = Bytes::from_static(b"{\"Records\":[]}");
        let json = headers(
            "event",
            ":event-type",
            "SubscribeToShardEvent",
            "application/x-amz-json-1.1",
        );
        let written = event(Encoding::Json11, "SubscribeToShardEvent", payload.clone());
        assert_eq!(read(&written), (json, payload));
    }

    #[test]
    fn an_exception_says_its_name_in_its_headers() {
        let written = exception(Encoding::Json11, "ResourceInUseException", "Another one.");
        let (named, body) = read(&written);
        let json = "application/x-amz-json-1.1";
        assert_eq!(
            named,
            headers("exception", ":exception-type", "ResourceInUseException", json)
        );
        assert_eq!(
            body,
            r#"{"__type":"ResourceInUseException","message":"Another one."}"#
        );
    }

    #[test]
    fn what_is_no_message_has_no_payload() {
        let whole = initial_response(Encoding::Json11);
        for bytes in [
            Bytes::new(),
            whole.slice(..whole.len() - 1),
            Bytes::from_static(&[0; 16]),
        ] {
            assert_eq!(payload(&bytes), None);
        }
    }
}
