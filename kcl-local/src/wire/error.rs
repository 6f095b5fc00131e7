//! Error bodies.

use bytes::Bytes;
use serde::Serialize;

use super::{Cbor, Encoding, Json};
use crate::kinesis::Codec;

/// The members that every AWS JSON error body has; the CBOR protocol uses the same.
#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
}

/// The body that tells `code` and `message` in `encoding`.
pub(crate) fn error_body(encoding: Encoding, code: &str, message: &str) -> Bytes {
    let body = ErrorBody { code, message };
    let written = match encoding {
        Encoding::Cbor11 => Cbor.encode(&body),
        Encoding::Json10 | Encoding::Json11 | Encoding::PlainJson => Json.encode(&body),
    };
    written.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_carry_the_same_members() {
        let json = error_body(Encoding::Json11, "ResourceNotFoundException", "no stream");
        assert_eq!(
            json,
            r#"{"__type":"ResourceNotFoundException","message":"no stream"}"#
        );
        let cbor = error_body(Encoding::Cbor11, "ResourceNotFoundException", "no stream");
        let value: ciborium::Value = ciborium::from_reader(&cbor[..]).unwrap();
        let members = value.into_map().unwrap();
        assert_eq!(members[0], ("__type".into(), "ResourceNotFoundException".into()));
        assert_eq!(members[1], ("message".into(), "no stream".into()));
    }
}
