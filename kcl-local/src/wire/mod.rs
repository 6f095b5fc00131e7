//! The bytes of a request and of an answer: encodings, operation names, error bodies and messages of event streams.
//!
//! Kinesis is spoken in JSON and in CBOR, DynamoDB in JSON only. An answer has the encoding of its request.

mod cbor;
mod error;
pub mod event_stream;
mod json;
mod target;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

pub use cbor::Cbor;
pub(crate) use error::error_body;
pub use json::Json;
pub(crate) use json::is_object;
pub(crate) use target::is_form;
pub use target::{Service, Target};

/// How deep arrays and maps of a request may nest; no Kinesis request needs more than five levels.
const MAX_DEPTH: usize = 64;

/// The encoding of a request and of its answer, told by the `Content-Type` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-amz-json-1.0`, the protocol of DynamoDB.
    Json10,
    /// `application/x-amz-json-1.1`, the protocol of Kinesis.
    Json11,
    /// `application/json`, which both services take as well.
    PlainJson,
    /// `application/x-amz-cbor-1.1`, what the AWS SDK for Java sends to Kinesis.
    Cbor11,
}

impl Encoding {
    /// The encoding that the headers name; parameters such as `charset` are ignored.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media_type = value.split(';').next().unwrap_or_default().trim();
        [Self::Json10, Self::Json11, Self::PlainJson, Self::Cbor11]
            .into_iter()
            .find(|encoding| media_type.eq_ignore_ascii_case(encoding.content_type()))
    }

    /// The media type, as it stands in the `Content-Type` header of an answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json10 => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::PlainJson => "application/json",
            Self::Cbor11 => "application/x-amz-cbor-1.1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(content_type))])
    }

    #[test]
    fn parameters_and_case_of_the_content_type_do_not_matter() {
        let encoding = Encoding::of(&headers("Application/X-Amz-Json-1.1 ; charset=utf-8"));
        assert_eq!(encoding, Some(Encoding::Json11));
    }

    #[test]
    fn an_unknown_content_type_has_no_encoding() {
        assert_eq!(Encoding::of(&headers("text/xml")), None);
        assert_eq!(Encoding::of(&HeaderMap::new()), None);
    }
}
