//! `application/x-amz-json-1.0` and `-1.1`.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kinesis::{ApiError, Codec};

/// The JSON codec. Blobs are base64 strings, timestamps are seconds with a fraction.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Codec for Json {
    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError> {
        // The parser refuses trailing characters and more than 128 levels of nesting by itself.
        let body: &[u8] = if body.is_empty() { b"{}" } else { body };
        if !is_object(body) {
            return Err(ApiError::serialization("the request is not a JSON object"));
        }
        serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string()))
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ApiError> {
        serde_json::to_vec(value)
            .map(Bytes::from)
            .map_err(|error| ApiError::internal(error.to_string()))
    }
}

/// Whether the body starts as an object; serde would take an array for the members of a struct in their order.
pub(crate) fn is_object(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Listing {
        limit: Option<u32>,
    }

    fn decode(body: &'static [u8]) -> Result<Listing, ApiError> {
        Json.decode(&Bytes::from_static(body))
    }

    #[test]
    fn an_empty_body_reads_as_an_empty_object() {
        assert_eq!(decode(b"").unwrap(), Listing { limit: None });
    }

    #[test]
    fn unreadable_bodies_are_serialization_exceptions() {
        for body in [
            &b"{"[..],
            b"{\"Limit\":1}x",
            b"{\"Limit\":\"1\"}",
            b"[]x",
            b"\xff\xfe",
            b"null",
        ] {
            let error = decode(body).unwrap_err();
            assert_eq!(
                (error.code, error.status),
                ("SerializationException", 400),
                "{body:?}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_refused_or_skipped_without_deep_recursion() {
        let nested = format!("{{\"Limit\":{}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
        let error = Json.decode::<Listing>(&Bytes::from(nested)).unwrap_err();
        assert_eq!(error.code, "SerializationException");
        let ignored = format!("{{\"Other\":{}1{}}}", "[".repeat(500_000), "]".repeat(500_000));
        // Skipping an unknown member must not blow the stack either, whatever the verdict.
        let _ = Json.decode::<Listing>(&Bytes::from(ignored));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let body = Json.encode(&BTreeMap::from([("Limit", 7)])).unwrap();
        assert_eq!(Json.decode::<Listing>(&body).unwrap(), Listing { limit: Some(7) });
    }
}
