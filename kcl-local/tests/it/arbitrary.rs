//! Whatever arrives, the answer is an answer: no panic, no hang, no internal error.

use bytes::Bytes;
use http::Request;
use kcl_local::Backend;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

const TARGETS: [(&str, &str); 3] = [
    ("Kinesis_20131202", "application/x-amz-json-1.1"),
    ("Kinesis_20131202", "application/x-amz-cbor-1.1"),
    ("DynamoDB_20120810", "application/x-amz-json-1.0"),
];

const KINESIS: [&str; 17] = [
    "CreateStream",
    "EnableEnhancedMonitoring",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "SplitShard",
    "StartStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamWarmThroughput",
];

const DYNAMODB: [&str; 8] = [
    "CreateTable",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "TransactWriteItems",
    "UpdateContinuousBackups",
    "UpdateItem",
];

/// The status of the answer to `body`.
fn status(backend: &Backend, target: (&str, &str), operation: &str, body: Bytes) -> u16 {
    let request = Request::post("/")
        .header("x-amz-target", format!("{}.{operation}", target.0))
        .header("content-type", target.1)
        .header("authorization", "AWS4-HMAC-SHA256 x")
        .body(body)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(backend.handler().handle(request))
        .status()
        .as_u16()
}

/// Member names that requests have, so that values reach past the first check.
fn member() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "StreamName",
        "StreamARN",
        "ShardId",
        "ShardCount",
        "ShardIterator",
        "ShardIteratorType",
        "Records",
        "Data",
        "PartitionKey",
        "ExplicitHashKey",
        "Limit",
        "NextToken",
        "Timestamp",
        "ShardFilter",
        "ConsumerARN",
        "StartingPosition",
        "Type",
        "SequenceNumber",
        "TargetShardCount",
        "ResourceARN",
        "Tags",
        "TagKeys",
        "Policy",
        "KeyId",
        "EncryptionType",
        "ShardLevelMetrics",
        "StreamModeDetails",
        "StreamMode",
        "WarmThroughputMiBps",
        "MaxRecordSizeInKiB",
        "MinimumThroughputBillingCommitment",
        "Status",
        "DryRun",
        "TableName",
        "Key",
        "Item",
        "S",
        "N",
        "B",
        "L",
        "M",
        "SS",
        "Expected",
        "AttributeUpdates",
        "KeySchema",
        "AttributeDefinitions",
        "ConditionExpression",
        "UpdateExpression",
        "TransactItems",
        "Segment",
    ])
    .prop_map(str::to_owned)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9_.:#=() -]{0,20}".prop_map(Value::from),
        Just(Value::from("orders")),
        Just(Value::from(
            "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
        )),
        Just(Value::from("ON_DEMAND")),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(member(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn request() -> impl Strategy<Value = Value> {
    btree_map(member(), json(), 0..6).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn target() -> impl Strategy<Value = ((&'static str, &'static str), &'static str)> {
    (prop::sample::select(&TARGETS[..]), any::<prop::sample::Index>()).prop_map(|(target, index)| {
        let operations = if target.0.starts_with("Kinesis") {
            &KINESIS[..]
        } else {
            &DYNAMODB[..]
        };
        (target, *index.get(operations))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused((target, operation) in target(), body in vec(any::<u8>(), 0..200)) {
        let status = status(&Backend::start(), target, operation, Bytes::from(body));
        prop_assert!(status < 500, "{operation}: {status}");
    }

    #[test]
    fn arbitrary_requests_are_answered(calls in vec((target(), request()), 1..6)) {
        let backend = Backend::start();
        for ((target, operation), request) in calls {
            let body = if target.1.contains("cbor") {
                let mut body = Vec::new();
                ciborium::into_writer(&request, &mut body).unwrap();
                Bytes::from(body)
            } else {
                Bytes::from(request.to_string())
            };
            let status = status(&backend, target, operation, body);
            prop_assert!(status < 500, "{operation} {request}: {status}");
        }
    }
}
