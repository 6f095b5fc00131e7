//! `application/x-amz-cbor-1.1`.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_DEPTH;
use crate::kinesis::{ApiError, Codec};

/// The CBOR codec. Blobs are byte strings, timestamps are milliseconds under tag 1.
#[derive(Debug, Clone, Copy)]
pub struct Cbor;

/// The bits of an item's first byte that tell its type, and what they are for a map.
const MAJOR_TYPE: u8 = 0xe0;
const MAP: u8 = 0xa0;
/// A map without members, which an empty body stands for.
const EMPTY_MAP: &[u8] = &[0xa0];

impl Codec for Cbor {
    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError> {
        let mut rest: &[u8] = if body.is_empty() { EMPTY_MAP } else { body };
        // Serde would take an array for the members of a struct in their order.
        if rest[0] & MAJOR_TYPE != MAP {
            return Err(ApiError::serialization("the request is not a CBOR map"));
        }
        let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
            .map_err(|error| ApiError::serialization(error.to_string()))?;
        if !rest.is_empty() {
            return Err(ApiError::serialization(format!(
                "{} bytes follow the value",
                rest.len()
            )));
        }
        Ok(value)
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ApiError> {
        let mut body = Vec::with_capacity(256);
        ciborium::into_writer(value, &mut body).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Bytes::from(body))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase", default)]
    struct Request {
        limit: Option<u32>,
        name: String,
        names: Vec<String>,
    }

    fn decode(body: impl Into<Vec<u8>>) -> Result<Request, ApiError> {
        Cbor.decode(&Bytes::from(body.into()))
    }

    /// `{"Names": <item>}`
    fn with_names(item: &[u8]) -> Vec<u8> {
        [&[0xa1, 0x65][..], b"Names", item].concat()
    }

    #[test]
    fn maps_of_unknown_length_are_read() {
        // What the AWS SDK for Java writes: {_ "Limit": 1, "Name": "a"}
        let body = [
            &[0xbf, 0x65][..],
            b"Limit",
            &[0x01, 0x64],
            b"Name",
            &[0x61],
            b"a",
            &[0xff],
        ]
        .concat();
        let request = decode(body).unwrap();
        assert_eq!(
            request,
            Request {
                limit: Some(1),
                name: "a".into(),
                names: vec![]
            }
        );
    }

    #[test]
    fn an_empty_body_reads_as_an_empty_map() {
        assert_eq!(decode([]).unwrap(), Request::default());
    }

    #[test]
    fn unreadable_bodies_are_serialization_exceptions() {
        let bodies: [Vec<u8>; 8] = [
            vec![0x81, 0x07],                                        // a list for a map
            vec![0xbf],                                              // cut off
            vec![0xa0, 0x00],                                        // trailing byte
            vec![0x01],                                              // not a map
            vec![0xff],                                              // a break with nothing open
            vec![0x1c],                                              // reserved
            with_names(&[0x61, b'x']),                               // a string for a list
            with_names(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), // a list of 2^64 strings
        ];
        for body in bodies {
            let error = decode(body.clone()).unwrap_err();
            assert_eq!(
                (error.code, error.status),
                ("SerializationException", 400),
                "{body:02x?}"
            );
        }
    }

    #[test]
    fn a_huge_declared_length_allocates_nothing_near_it() {
        for item in [
            &[0x81, 0x7b, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], // a text of 2^63 bytes
            &[0x81, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],     // bytes
            &[0xbb, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],           // a map
        ] {
            assert_eq!(
                decode(with_names(item)).unwrap_err().code,
                "SerializationException"
            );
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        for opening in [0x81, 0xc1, 0x9f] {
            assert_eq!(
                decode(vec![opening; 1_000_000]).unwrap_err().code,
                "SerializationException"
            );
            assert_eq!(
                decode(with_names(&vec![opening; 1_000_000])).unwrap_err().code,
                "SerializationException"
            );
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let body = Cbor.encode(&BTreeMap::from([("Limit", 7)])).unwrap();
        assert_eq!(Cbor.decode::<Request>(&body).unwrap().limit, Some(7));
    }
}
