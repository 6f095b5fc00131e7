//! The same operations in CBOR.

use ciborium::Value as Cbor;

use super::*;

struct CborCodec;

impl Codec for CborCodec {
    fn decode<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError> {
        ciborium::from_reader(body.as_ref()).map_err(|error| ApiError::serialization(error.to_string()))
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Bytes, ApiError> {
        let mut body = Vec::new();
        ciborium::into_writer(value, &mut body).map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Bytes::from(body))
    }
}

fn map<const N: usize>(members: [(&str, Cbor); N]) -> Cbor {
    Cbor::Map(
        members
            .into_iter()
            .map(|(name, value)| (Cbor::from(name), value))
            .collect(),
    )
}

fn member<'a>(value: &'a Cbor, name: &str) -> &'a Cbor {
    let members = value.as_map().unwrap();
    let found = members.iter().find(|(key, _)| key.as_text() == Some(name));
    &found.unwrap_or_else(|| panic!("{name} in {value:?}")).1
}

fn ask(kinesis: &Kinesis, operation: &str, request: &Cbor) -> Cbor {
    let body = CborCodec.encode(request).unwrap();
    let answer = kinesis.call(operation, &body, &CborCodec).unwrap();
    ciborium::from_reader(answer.as_ref()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn records_go_in_and_out_as_plain_bytes() {
    let kinesis = account_with_stream(1);
    let content = vec![0, 159, 146, 150];
    let put = ask(
        &kinesis,
        "PutRecord",
        &map([
            ("StreamName", "orders".into()),
            ("PartitionKey", "k".into()),
            ("Data", Cbor::Bytes(content.clone())),
        ]),
    );
    let number = member(&put, "SequenceNumber").clone();
    let entry = map([
        ("PartitionKey", "k".into()),
        ("Data", Cbor::Bytes(vec![1; 50_000])),
    ]);
    let entries = Cbor::Array(vec![entry.clone(), entry]);
    let puts = ask(
        &kinesis,
        "PutRecords",
        &map([("StreamName", "orders".into()), ("Records", entries)]),
    );
    assert_eq!(member(&puts, "FailedRecordCount"), &Cbor::from(0));

    let iterator = ask(
        &kinesis,
        "GetShardIterator",
        &map([
            ("StreamName", "orders".into()),
            ("ShardId", "shardId-000000000000".into()),
            ("ShardIteratorType", "AT_TIMESTAMP".into()),
            ("Timestamp", Cbor::Tag(1, Box::new(1_700_000_000_000_u64.into()))),
        ]),
    );
    let read = ask(
        &kinesis,
        "GetRecords",
        &map([
            ("ShardIterator", member(&iterator, "ShardIterator").clone()),
            ("Limit", 1.into()),
        ]),
    );
    let record = &member(&read, "Records").as_array().unwrap()[0];
    assert_eq!(member(record, "Data"), &Cbor::Bytes(content));
    assert_eq!(member(record, "SequenceNumber"), &number);
    let arrived = Cbor::Tag(1, Box::new(1_700_000_000_000_u64.into()));
    assert_eq!(member(record, "ApproximateArrivalTimestamp"), &arrived);
}

#[tokio::test(start_paused = true)]
async fn shards_are_listed_with_a_filter() {
    let kinesis = account_with_stream(2);
    let time = Cbor::Tag(1, Box::new(1_700_000_000_000_u64.into()));
    let filter = map([("Type", "FROM_TIMESTAMP".into()), ("Timestamp", time)]);
    let listed = ask(
        &kinesis,
        "ListShards",
        &map([("StreamName", "orders".into()), ("ShardFilter", filter)]),
    );
    assert_eq!(member(&listed, "Shards").as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_request_are_a_serialization_error() {
    let kinesis = account_with_stream(1);
    for body in [&b""[..], b"\xff", b"\x80", b"{\"StreamName\":\"orders\"}"] {
        let error = kinesis
            .call("PutRecord", &Bytes::from_static(body), &CborCodec)
            .unwrap_err();
        assert_eq!((error.code, error.status), ("SerializationException", 400));
    }
}
