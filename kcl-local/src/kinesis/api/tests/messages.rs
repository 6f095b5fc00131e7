//! The service's own words, as others have recorded them.

use super::*;

const ACCOUNT: &str = "000000000000";

#[track_caller]
fn refused(kinesis: &Kinesis, operation: &str, request: Value, code: &str, message: &str) {
    assert_eq!(
        kinesis.told(operation, request),
        (code_of(code), message.to_owned())
    );
}

fn code_of(code: &str) -> &'static str {
    match code {
        "Validation" => "ValidationException",
        "InvalidArgument" => "InvalidArgumentException",
        "NotFound" => "ResourceNotFoundException",
        "InUse" => "ResourceInUseException",
        _ => "LimitExceededException",
    }
}

/// "2 validation errors detected: " and so on, of pairs of member and rule, both with the value.
fn failures(failures: &[(&str, &str, &str)]) -> String {
    let all: Vec<_> = failures
        .iter()
        .map(|(value, member, rule)| {
            format!("Value {value} at '{member}' failed to satisfy constraint: Member must {rule}")
        })
        .collect();
    let errors = if all.len() == 1 {
        "1 validation error".to_owned()
    } else {
        format!("{} validation errors", all.len())
    };
    format!("{errors} detected: {}", all.join("; "))
}

const NULL: &str = "not be null";
const NAME: &str = "satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
const NOT_EMPTY: &str = "have length greater than or equal to 1";

#[tokio::test(start_paused = true)]
async fn everything_that_is_missing_is_told() {
    let kinesis = account();
    for (operation, members) in [
        ("CreateStream", &["shardCount", "streamName"][..]),
        ("PutRecord", &["data", "streamName"]),
        ("PutRecords", &["records", "streamName"]),
        ("AddTagsToStream", &["tags", "streamName"]),
        ("RemoveTagsFromStream", &["tagKeys", "streamName"]),
        (
            "GetShardIterator",
            &["shardId", "shardIteratorType", "streamName"],
        ),
        ("GetRecords", &["shardIterator"]),
        (
            "UpdateShardCount",
            &["scalingType", "targetShardCount", "streamName"],
        ),
        ("DeleteStream", &["streamName"]),
    ] {
        let missing: Vec<_> = members.iter().map(|member| ("null", *member, NULL)).collect();
        refused(&kinesis, operation, json!({}), "Validation", &failures(&missing));
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_wrong_is_told() {
    let kinesis = account();
    refused(
        &kinesis,
        "PutRecord",
        json!({
            "StreamName": "", "PartitionKey": "", "Data": "", "ExplicitHashKey": "", "SequenceNumberForOrdering": ""
        }),
        "Validation",
        &failures(&[
            (
                "''",
                "sequenceNumberForOrdering",
                r"satisfy regular expression pattern: 0|([1-9]\d{0,128})",
            ),
            ("''", "partitionKey", NOT_EMPTY),
            (
                "''",
                "explicitHashKey",
                r"satisfy regular expression pattern: 0|([1-9]\d{0,38})",
            ),
            ("''", "streamName", NAME),
            ("''", "streamName", NOT_EMPTY),
        ]),
    );
    let long = "a".repeat(129);
    let quoted = format!("'{long}'");
    refused(
        &kinesis,
        "GetShardIterator",
        json!({"StreamName": long, "ShardId": long, "ShardIteratorType": "SOON"}),
        "Validation",
        &failures(&[
            (&quoted, "shardId", "have length less than or equal to 128"),
            (
                "'SOON'",
                "shardIteratorType",
                "satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]",
            ),
            (&quoted, "streamName", "have length less than or equal to 128"),
        ]),
    );
    let large = data(10 * 1024 * 1024 + 1);
    refused(
        &kinesis,
        "PutRecord",
        json!({"StreamName": "orders", "PartitionKey": "k", "Data": large}),
        "Validation",
        &failures(&[(
            "'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]'",
            "data",
            "have length less than or equal to 10485760",
        )]),
    );
    let records = vec![json!({"PartitionKey": "k", "Data": ""}); 501];
    refused(
        &kinesis,
        "PutRecords",
        json!({"StreamName": "orders", "Records": records}),
        "Validation",
        &failures(&[(
            "'[501 structures]'",
            "records",
            "have length less than or equal to 500",
        )]),
    );
    refused(
        &kinesis,
        "PutRecords",
        json!({"StreamName": "orders", "Records": [{"PartitionKey": "k", "Data": ""}, {"PartitionKey": ""}]}),
        "Validation",
        &failures(&[
            ("''", "records.2.member.partitionKey", NOT_EMPTY),
            ("null", "records.2.member.data", NULL),
        ]),
    );
    refused(
        &kinesis,
        "ListShards",
        json!({"StreamName": "orders", "ShardFilter": {}, "MaxResults": 100_000}),
        "Validation",
        &failures(&[
            ("'100000'", "maxResults", "have value less than or equal to 10000"),
            ("null", "shardFilter.type", NULL),
        ]),
    );
}

fn data(bytes: usize) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; bytes])
}

#[tokio::test(start_paused = true)]
async fn streams_and_shards_that_are_not_there_are_named_with_their_account() {
    let kinesis = account_with_stream(1);
    let missing = format!("Stream payments under account {ACCOUNT} not found.");
    for operation in [
        "DescribeStream",
        "DeleteStream",
        "ListTagsForStream",
        "ListShards",
    ] {
        refused(
            &kinesis,
            operation,
            json!({"StreamName": "payments"}),
            "NotFound",
            &missing,
        );
    }
    let iterator = |shard| json!({"StreamName": "orders", "ShardId": shard, "ShardIteratorType": "LATEST"});
    refused(
        &kinesis,
        "GetShardIterator",
        iterator("shardId-5"),
        "NotFound",
        &format!("Shard shardId-000000000005 in stream orders under account {ACCOUNT} does not exist"),
    );
    refused(
        &kinesis,
        "GetShardIterator",
        iterator("ABKLFD8"),
        "NotFound",
        &format!("Could not find shard ABKLFD8 in stream orders under account {ACCOUNT}."),
    );
    refused(
        &kinesis,
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": 1}),
        "InUse",
        &format!("Stream orders under account {ACCOUNT} already exists."),
    );
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_for_the_stream_is_told_so() {
    let kinesis = account_with_stream(2);
    let hash = "340282366920938463463374607431768211456";
    refused(
        &kinesis,
        "PutRecord",
        json!({"StreamName": "orders", "PartitionKey": "a", "Data": "", "ExplicitHashKey": hash}),
        "InvalidArgument",
        &format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {hash}"
        ),
    );
    refused(
        &kinesis,
        "GetShardIterator",
        json!({"StreamName": "orders", "ShardId": "shardId-0", "ShardIteratorType": "AT_SEQUENCE_NUMBER"}),
        "InvalidArgument",
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
         TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified AT_SEQUENCE_NUMBER and no \
         StartingSequenceNumber.",
    );
    let number = kinesis.put("a")["SequenceNumber"].clone();
    refused(
        &kinesis,
        "GetShardIterator",
        json!({
            "StreamName": "orders", "ShardId": "shardId-0", "ShardIteratorType": "AT_SEQUENCE_NUMBER",
            "StartingSequenceNumber": number
        }),
        "InvalidArgument",
        "Invalid StartingSequenceNumber. It encodes shardId-000000000001, while it was used in a call to a shard with \
         shardId-000000000000",
    );
    for (target, way) in [(5, "up over double"), (1, "down below half")] {
        let kinesis = account_with_stream(if target == 5 { 2 } else { 3 });
        let current = if target == 5 { 2 } else { 3 };
        refused(
            &kinesis,
            "UpdateShardCount",
            json!({"StreamName": "orders", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING"}),
            "LimitExceeded",
            &format!(
                "UpdateShardCount cannot scale {way} your current open shard count. Current open shard count: \
                 {current}, Target shard count: {target}"
            ),
        );
    }
    refused(
        &kinesis,
        "IncreaseStreamRetentionPeriod",
        json!({"StreamName": "orders", "RetentionPeriodHours": 23}),
        "InvalidArgument",
        "Minimum allowed retention period is 24 hours. Requested retention period (23 hours) is too short.",
    );
}
