//! Aggregates that producers in the field wrote, and what is made of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::aggregate::Aggregate;
use crate::wire::{self, DIGEST, MAGIC};

/// Three keys, three user records.
const THREE_KEYS: &str = "84mawgoEcGstMAoEcGstMQoEcGstMhoTCAAaD3sibXNnIjoibGluZTAifRoTCAEaD3sibXNnIjoibGluZTEifRoTCAIaD3sibXNnIjoibGluZTIifZ8hyadI+v2KZPZrUGim6cQ=";
/// One key, one user record.
const ONE: &str = "84mawgoFa2V5LTAaJQgAGiFUZXN0aW5nIEtQTCBBZ2dyZWdhdGVkIFJlY29yZCAxLTBlW2Hfd6iL1WkMbznr8jc2";
/// One key, three user records.
const ONE_KEY: &str = "84mawgoCcDEaGAgAGhQwMTIzNDU2Nzg5MDEyMzQ1NjdfQRoYCAAaFDAxMjM0NTY3ODkwMTIzNDU2N19CGhgIABoUMDEyMzQ1Njc4OTAxMjM0NTY3X0NHjL02iyRk3D+kO2UC2X6u";

fn data(base64: &str) -> Bytes {
    STANDARD.decode(base64).expect("base64").into()
}

pub(crate) fn three_keys() -> Bytes {
    data(THREE_KEYS)
}

/// The message of an aggregate.
pub(crate) fn message(data: &Bytes) -> Bytes {
    data.slice(MAGIC.len()..data.len() - DIGEST)
}

/// An aggregate of any message, with its digest.
pub(crate) fn sealed(message: &[u8]) -> Bytes {
    [&MAGIC, message, &wire::digest(message)].concat().into()
}

pub(crate) fn user_records(data: &Bytes) -> Option<Vec<(String, String)>> {
    let aggregate = Aggregate::parse(data)?;
    let record = |record: crate::UserRecord| {
        (
            record.partition_key.to_string(),
            String::from_utf8_lossy(&record.data).into_owned(),
        )
    };
    Some(aggregate.user_records().map(record).collect())
}

fn owned(records: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let owned = |&(key, data): &(&str, &str)| (key.to_owned(), data.to_owned());
    Some(records.iter().map(owned).collect())
}

#[test]
fn aggregates_of_the_field_are_taken_apart() {
    let lines = [
        ("pk-0", r#"{"msg":"line0"}"#),
        ("pk-1", r#"{"msg":"line1"}"#),
        ("pk-2", r#"{"msg":"line2"}"#),
    ];
    assert_eq!(user_records(&three_keys()), owned(&lines));
    let one = [("key-0", "Testing KPL Aggregated Record 1-0")];
    assert_eq!(user_records(&data(ONE)), owned(&one));
    let three = [
        ("p1", "012345678901234567_A"),
        ("p1", "012345678901234567_B"),
        ("p1", "012345678901234567_C"),
    ];
    assert_eq!(user_records(&data(ONE_KEY)), owned(&three));
}

#[test]
fn what_is_damaged_is_no_aggregate() {
    let whole = three_keys();
    let mut flipped = whole.to_vec();
    *flipped.last_mut().expect("not empty") ^= 1;
    assert_eq!(user_records(&flipped.into()), None, "a wrong digest");
    for length in 0..whole.len() {
        assert_eq!(user_records(&whole.slice(..length)), None, "cut at {length}");
    }
    assert_eq!(user_records(&sealed(b"")), None, "nothing in it");
    let only_keys = message(&whole).slice(..18);
    assert_eq!(user_records(&sealed(&only_keys)), None, "no user record in it");
}

#[test]
fn a_key_that_is_not_there_makes_all_of_it_a_plain_record() {
    let message = message(&three_keys());
    // The index of the last user record's key.
    let at = message.len() - 18;
    assert_eq!(message[at], 2);
    for index in [3, 9, 127] {
        let mut wrong = message.to_vec();
        wrong[at] = index;
        assert_eq!(user_records(&sealed(&wrong)), None, "{index}");
    }
}

#[test]
fn unknown_fields_are_skipped_wherever_they_stand() {
    let message = message(&three_keys());
    // A number, 64 bits, 32 bits, a text, a group with a number in it.
    let unknown =
        b"\x50\x96\x01\x59\x01\x02\x03\x04\x05\x06\x07\x08\x65\x01\x02\x03\x04\x72\x01x\x7b\x08\x01\x7c";
    let before = [unknown.as_slice(), &message].concat();
    let after = [message.as_ref(), unknown].concat();
    for with_unknown in [before, after] {
        assert_eq!(user_records(&sealed(&with_unknown)), user_records(&three_keys()));
    }
    let inside = b"\n\x01k\x1a\x09\x50\x96\x01\x08\x00\x1a\x02hi";
    assert_eq!(user_records(&sealed(inside)), owned(&[("k", "hi")]));
    let tagged = b"\n\x01k\x1a\x0e\x08\x00\x1a\x02hi\x22\x06\n\x01a\x12\x01b";
    assert_eq!(user_records(&sealed(tagged)), owned(&[("k", "hi")]));
}

#[test]
fn an_aggregate_inside_an_aggregate_stays_whole() {
    let inner = data(ONE);
    let mut aggregator = crate::Aggregator::default();
    aggregator
        .push(crate::UserRecord::new("outer", inner.clone()))
        .expect("valid");
    let entry = aggregator.finish().expect("pushed");
    let aggregate = Aggregate::parse(&entry.data).expect("one");
    let inside: Vec<_> = aggregate.user_records().map(|record| record.data).collect();
    assert_eq!(inside, [inner]);
}
