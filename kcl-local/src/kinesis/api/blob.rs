//! Binary members.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that text formats carry as base64 and binary formats as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64Visitor)
        } else {
            deserializer.deserialize_byte_buf(BytesVisitor)
        }
    }
}

/// Keeps a record's memory at its size: a vector's spare capacity would live as long as the record.
fn without_spare_capacity(bytes: Vec<u8>) -> Blob {
    Blob(Bytes::from(bytes.into_boxed_slice()))
}

struct Base64Visitor;

impl Visitor<'_> for Base64Visitor {
    type Value = Blob;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a base64 string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        STANDARD
            .decode(text)
            .map(without_spare_capacity)
            .map_err(E::custom)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Blob;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a byte string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(without_spare_capacity(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Blob, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(without_spare_capacity(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cbor(value: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn json_carries_base64() {
        let blob = Blob(Bytes::from_static(b"\x00\xffhello"));
        let json = serde_json::to_string(&blob).unwrap();
        assert_eq!(json, "\"AP9oZWxsbw==\"");
        assert_eq!(serde_json::from_str::<Blob>(&json).unwrap(), blob);
    }

    #[test]
    fn escaped_slashes_in_json_are_base64_too() {
        let plain: Blob = serde_json::from_str("\"/+8=\"").unwrap();
        assert_eq!(serde_json::from_str::<Blob>("\"\\/+8=\"").unwrap(), plain);
    }

    #[test]
    fn text_that_is_not_base64_is_an_error() {
        assert!(serde_json::from_str::<Blob>("\"*\"").is_err());
    }

    #[test]
    fn cbor_carries_plain_bytes_of_any_length() {
        for length in [0, 1, 4_095, 4_096, 4_097, 100_000] {
            let blob = Blob(Bytes::from(vec![7; length]));
            let encoded = cbor(&blob);
            assert!(encoded.len() <= length + 5);
            assert_eq!(
                ciborium::from_reader::<Blob, _>(encoded.as_slice()).unwrap(),
                blob
            );
        }
    }
}
