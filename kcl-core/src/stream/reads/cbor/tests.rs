use ciborium::Value;
use ciborium::value::Integer;
use proptest::prelude::*;

use super::reader::short_header;
use super::*;

/// In one piece; in pieces of any size it must be the same.
fn answer(body: &Bytes) -> Result<Answer, Malformed> {
    let whole = super::answer(std::slice::from_ref(body), NEXT_ITERATOR);
    for size in [1, 2, 3, 7, 64] {
        // Empty pieces say nothing.
        let pieces = body
            .chunks(size)
            .flat_map(|piece| [body.slice_ref(piece), Bytes::new()]);
        let pieces: Vec<_> = pieces.take(10_000).collect();
        if pieces.iter().map(Bytes::len).sum::<usize>() == body.len() {
            let apart = super::answer(&pieces, NEXT_ITERATOR);
            assert_eq!(format!("{apart:?}"), format!("{whole:?}"), "in pieces of {size}");
        }
    }
    whole
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::Integer(Integer::from(number))
}

fn map(members: Vec<(&str, Value)>) -> Value {
    Value::Map(
        members
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect(),
    )
}

fn body(value: &Value) -> Bytes {
    let mut body = Vec::new();
    ciborium::into_writer(value, &mut body).expect("in memory");
    body.into()
}

fn record(sequence_number: &str, key: &str) -> Value {
    map(vec![
        ("Data", Value::Bytes(b"payload".to_vec())),
        ("PartitionKey", text(key)),
        ("SequenceNumber", text(sequence_number)),
        (
            "ApproximateArrivalTimestamp",
            Value::Tag(1, Box::new(number(1_700_000_000_123))),
        ),
        ("EncryptionType", text("KMS")),
    ])
}

/// An answer with two records, as Kinesis writes it, and something that nobody knows.
fn two_records() -> Bytes {
    let unknown = Value::Array(vec![Value::Bool(true), map(vec![("x", Value::Float(0.5))])]);
    body(&map(vec![
        ("MillisBehindLatest", number(1_500)),
        ("NextShardIterator", text("next")),
        (
            "Records",
            Value::Array(vec![record("007", "a"), record("8", "b")]),
        ),
        ("Unknown", unknown),
    ]))
}

#[test]
fn records_are_slices_of_the_answer() {
    let body = two_records();
    let answer = self::answer(&body).expect("well formed");
    assert_eq!(answer.next.as_deref(), Some("next"));
    assert_eq!(answer.millis_behind_latest, Some(1_500));
    assert_eq!(answer.block, Some(body.len() as u64));
    assert!(answer.children.is_empty());
    let [first, second] = &answer.records[..] else {
        panic!("two records: {answer:?}");
    };
    let within = body.as_ptr_range();
    assert!(within.contains(&first.data().as_ptr()) && within.contains(&second.partition_key().as_ptr()));
    assert_eq!(
        (first.data().as_ref(), first.partition_key()),
        (&b"payload"[..], "a")
    );
    assert_eq!(
        (
            first.sequence_number().as_str(),
            second.sequence_number().as_str()
        ),
        ("7", "8")
    );
    assert_eq!(first.encryption(), Some(Encryption::Kms));
    let arrived = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    assert_eq!(first.approximate_arrival(), Some(arrived));
}

#[test]
fn the_end_of_a_shard_names_those_that_follow() {
    let range = map(vec![
        ("StartingHashKey", text("0")),
        ("EndingHashKey", text("99")),
    ]);
    let child = map(vec![
        ("ShardId", text("shardId-1")),
        ("ParentShards", Value::Array(vec![text("shardId-0")])),
        ("HashKeyRange", range),
    ]);
    let body = body(&map(vec![
        ("Records", Value::Array(vec![])),
        ("NextShardIterator", Value::Null),
        ("ChildShards", Value::Array(vec![child])),
    ]));
    let answer = self::answer(&body).expect("well formed");
    assert_eq!(answer.next, None);
    let child = Child {
        id: ShardId::from("shardId-1"),
        parents: [ShardId::from("shardId-0")].into(),
        hash_range: Some(HashRange::new(0, 99)),
    };
    assert_eq!(answer.children, [child]);
}

#[test]
fn what_is_of_unknown_length_or_in_pieces_is_read_too() {
    // {_ "Records": [_ {_ "Data": (_ h'01', h'02'), "SequenceNumber": (_ "1", "2"), "PartitionKey": "k"}]}
    let body = [
        &b"\xbf\x67Records\x9f\xbf\x64Data\x5f\x41\x01\x41\x02\xff"[..],
        b"\x6eSequenceNumber\x7f\x611\x612\xff\x6cPartitionKey\x61k\xff\xff\xff",
    ]
    .concat();
    let answer = self::answer(&body.into()).expect("well formed");
    assert_eq!(answer.records[0].data().as_ref(), [1, 2]);
    assert_eq!(answer.records[0].sequence_number().as_str(), "12");
}

#[test]
fn payloads_may_be_text_in_base_64_as_some_servers_write_them() {
    let with_data = |data: &str| {
        let record = map(vec![("Data", text(data)), ("SequenceNumber", text("7"))]);
        body(&map(vec![("Records", Value::Array(vec![record]))]))
    };
    let read = answer(&with_data("cGF5bG9hZA==")).expect("well formed");
    assert_eq!(read.records[0].data().as_ref(), b"payload");
    assert!(answer(&with_data("no base 64")).is_err());
}

#[test]
fn times_are_milliseconds_or_seconds_whatever_the_server_counts() {
    let at = |millis| Some(UNIX_EPOCH + Duration::from_millis(millis));
    for (number, expected) in [
        (1_700_000_000_123.0, at(1_700_000_000_123)),
        (1_700_000_000.0, at(1_700_000_000_000)),
        (1_700_000_000.123, at(1_700_000_000_123)),
        (0.0, at(0)),
        (-1.0, None),
        (f64::NAN, None),
        (f64::INFINITY, None),
        (1e300, None),
    ] {
        assert_eq!(time(number), expected, "{number}");
    }
}

#[test]
fn what_is_malformed_is_an_error() {
    let records = |item: &[u8]| Bytes::from([b"\xa1\x67Records", item].concat());
    for (body, what) in [
        (Bytes::new(), "nothing"),
        (Bytes::from_static(b"\x80"), "an array"),
        (Bytes::from_static(b"\xa0\x00"), "something behind it"),
        (Bytes::from_static(b"\xbf"), "a map without an end"),
        (records(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), "2^64 records"),
        (records(b"\x81\xa0"), "a record without a number"),
        (
            records(b"\x81\xa1\x6eSequenceNumber\x611"),
            "a record without data",
        ),
        (
            records(b"\x81\xa1\x6eSequenceNumber\x61x"),
            "a number that is none",
        ),
        (
            records(b"\x81\xa1\x64Data\x5b\xff\xff\xff\xff\xff\xff\xff\xff"),
            "2^64 bytes",
        ),
        (records(b"\x81\xa1\x64Data\x61x"), "text that is not in base 64"),
        (
            body(&map(vec![("NextShardIterator", Value::Bytes(vec![0]))])),
            "bytes for a text",
        ),
    ] {
        assert!(answer(&body).is_err(), "{what}");
    }
    let body = two_records();
    for length in 0..body.len() {
        assert!(answer(&body.slice(..length)).is_err(), "cut at {length}");
    }
}

#[test]
fn deep_nesting_is_stepped_over_or_refused_without_recursion() {
    for opening in [&b"\x81"[..], b"\xc1", b"\x9f", b"\xa1\x00"] {
        let body = [b"\xa1\x61x", &opening.repeat(1_000_000)[..]].concat();
        assert!(answer(&body.into()).is_err());
    }
    let nested = [b"\xa1\x61x", &b"\x81".repeat(100)[..], b"\x00"].concat();
    assert!(answer(&nested.into()).is_ok(), "an unknown member");
}

#[test]
fn failures_are_read() {
    let body = body(&map(vec![
        ("__type", text("ExpiredIteratorException")),
        ("message", text("Iterator \"x\" expired")),
    ]));
    let (code, message) = failure(&body).expect("well formed");
    assert_eq!(code.as_deref(), Some("ExpiredIteratorException"));
    assert_eq!(message.as_deref(), Some("Iterator \"x\" expired"));
    assert!(failure(&Bytes::from_static(b"no")).is_err());
}

#[test]
fn a_request_says_what_is_wanted() {
    let body = request("iterator", 10, Some("arn"));
    let asked: Value = ciborium::from_reader(body.as_slice()).expect("well formed");
    let expected = map(vec![
        ("ShardIterator", text("iterator")),
        ("Limit", number(10)),
        ("StreamARN", text("arn")),
    ]);
    assert_eq!(asked, expected);
}

#[test]
fn a_subscription_is_asked_for_at_every_kind_of_place() {
    use crate::stream::StartingPosition;
    let at = |position| SubscribeFrom::Position(position);
    let seven = SequenceNumber::parse("7").expect("digits");
    let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let millis = Value::Tag(1, Box::new(number(1_700_000_000_123)));
    for (from, kind, place) in [
        (at(StartingPosition::TrimHorizon), "TRIM_HORIZON", None),
        (at(StartingPosition::Latest), "LATEST", None),
        (
            at(StartingPosition::AtSequenceNumber(seven)),
            "AT_SEQUENCE_NUMBER",
            Some(("SequenceNumber", text("7"))),
        ),
        (
            SubscribeFrom::Behind("8".to_owned()),
            "AFTER_SEQUENCE_NUMBER",
            Some(("SequenceNumber", text("8"))),
        ),
        (
            at(StartingPosition::AtTimestamp(time)),
            "AT_TIMESTAMP",
            Some(("Timestamp", millis)),
        ),
    ] {
        let body = subscription("arn", "shard", &from);
        let asked: Value = ciborium::from_reader(body.as_slice()).expect("well formed");
        let position = [("Type", text(kind))].into_iter().chain(place).collect();
        let expected = map(vec![
            ("ConsumerARN", text("arn")),
            ("ShardId", text("shard")),
            ("StartingPosition", map(position)),
        ]);
        assert_eq!(asked, expected);
    }
}

proptest! {
    #[test]
    fn short_headers_are_what_all_headers_are(bytes in prop::collection::vec(any::<u8>(), 0..5)) {
        if let Some((header, length)) = short_header(&bytes) {
            let mut decoder = ciborium_ll::Decoder::from(bytes.as_slice());
            prop_assert_eq!(decoder.pull().ok(), Some(header));
            prop_assert_eq!(decoder.offset(), length);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = answer(&bytes.clone().into());
        let _ = failure(&bytes.into());
    }

    #[test]
    fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0_usize..3) {
        let mut bytes = two_records().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        let _ = answer(&bytes.into());
    }
}
