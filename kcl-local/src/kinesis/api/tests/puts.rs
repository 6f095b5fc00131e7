use proptest::prelude::*;

use super::*;

fn put(members: Value) -> Value {
    let mut request = json!({"StreamName": "orders", "PartitionKey": "k", "Data": "YQ=="});
    request
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    request
}

/// `bytes` bytes in base64.
fn data(bytes: usize) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; bytes])
}

#[tokio::test(start_paused = true)]
async fn the_partition_key_or_an_explicit_hash_key_chooses_the_shard() {
    let kinesis = account_with_stream(2);
    let shard = |members| kinesis.ok("PutRecord", put(members))["ShardId"].clone();
    // The MD5 digests of "a" and "b" begin with 0c and 92.
    assert_eq!(shard(json!({"PartitionKey": "a"})), "shardId-000000000000");
    assert_eq!(shard(json!({"PartitionKey": "b"})), "shardId-000000000001");
    assert_eq!(
        shard(json!({"PartitionKey": "b", "ExplicitHashKey": "0"})),
        "shardId-000000000000"
    );
    let highest = u128::MAX.to_string();
    assert_eq!(
        shard(json!({"PartitionKey": "a", "ExplicitHashKey": highest})),
        "shardId-000000000001"
    );
}

#[tokio::test(start_paused = true)]
async fn sequence_numbers_have_56_digits_and_grow() {
    let kinesis = account_with_stream(1);
    let numbers: Vec<_> = (0..10)
        .map(|_| kinesis.put("x")["SequenceNumber"].as_str().unwrap().to_owned())
        .collect();
    assert!(numbers.iter().all(|number| number.len() == 56));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let ordered = put(json!({"SequenceNumberForOrdering": numbers[9]}));
    assert!(
        kinesis.ok("PutRecord", ordered)["SequenceNumber"]
            .as_str()
            .unwrap()
            > numbers[9].as_str()
    );
    let nonsense = put(json!({"SequenceNumberForOrdering": "LATEST"}));
    assert_eq!(kinesis.refusal("PutRecord", nonsense), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn records_that_break_the_rules_are_refused() {
    let kinesis = account_with_stream(1);
    let refused = |members| kinesis.refusal("PutRecord", put(members));
    assert_eq!(refused(json!({"Data": null})), "ValidationException");
    assert_eq!(refused(json!({"PartitionKey": null})), "ValidationException");
    assert_eq!(refused(json!({"PartitionKey": ""})), "ValidationException");
    assert_eq!(
        refused(json!({"PartitionKey": "k".repeat(257)})),
        "ValidationException"
    );
    assert_eq!(refused(json!({"Data": "not base64"})), "SerializationException");
    assert_eq!(
        refused(json!({"StreamName": "payments"})),
        "ResourceNotFoundException"
    );
    for key in ["-1", "x", "", "00"] {
        assert_eq!(
            refused(json!({"ExplicitHashKey": key})),
            "ValidationException",
            "{key}"
        );
    }
    assert_eq!(
        refused(json!({"ExplicitHashKey": "340282366920938463463374607431768211456"})),
        "InvalidArgumentException"
    );
    kinesis.ok(
        "PutRecord",
        put(json!({"PartitionKey": "é".repeat(256), "Data": ""})),
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_has_a_mebibyte_unless_its_stream_allows_more() {
    let kinesis = account_with_stream(1);
    kinesis.ok("PutRecord", put(json!({"Data": data((1 << 20) - 1)})));
    let large = json!({"Data": data(1 << 20)});
    assert_eq!(
        kinesis.refusal("PutRecord", put(large.clone())),
        "InvalidArgumentException"
    );
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "big", "ShardCount": 1, "MaxRecordSizeInKiB": 1025}),
    );
    let mut request = put(large);
    request["StreamName"] = json!("big");
    kinesis.ok("PutRecord", request);
}

#[tokio::test(start_paused = true)]
async fn many_records_are_put_at_once() {
    let kinesis = account_with_stream(2);
    let entry = |key: &str| json!({"PartitionKey": key, "Data": "YQ=="});
    let request = json!({"StreamName": "orders", "Records": [entry("a"), entry("b"), entry("a")]});
    let answer = kinesis.ok("PutRecords", request);
    assert_eq!(answer["FailedRecordCount"], 0);
    let shards: Vec<_> = answer["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["ShardId"])
        .collect();
    assert_eq!(
        shards,
        [
            "shardId-000000000000",
            "shardId-000000000001",
            "shardId-000000000000"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_breaks_a_rule_is_refused_whole() {
    let kinesis = account_with_stream(1);
    let request = |records: Vec<Value>| json!({"StreamName": "orders", "Records": records});
    let entry = |bytes| json!({"PartitionKey": "k", "Data": data(bytes)});
    let refused = |records| kinesis.refusal("PutRecords", request(records));
    assert_eq!(refused(vec![]), "ValidationException");
    assert_eq!(refused(vec![entry(1); 501]), "ValidationException");
    assert_eq!(
        refused(vec![entry(1), json!({"PartitionKey": "k"})]),
        "ValidationException"
    );
    assert_eq!(
        refused(vec![entry(1), entry(1 << 20)]),
        "InvalidArgumentException"
    );
    assert_eq!(refused(vec![entry(1_000_000); 11]), "InvalidArgumentException");
    let read = kinesis.ok(
        "GetRecords",
        json!({"ShardIterator": kinesis.iterator(0, "TRIM_HORIZON")}),
    );
    assert_eq!(read["Records"], json!([]));
    let answer = kinesis.ok("PutRecords", request(vec![entry(1_000_000); 10]));
    assert_eq!(answer["FailedRecordCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn records_beyond_a_shards_rate_fail_one_by_one() {
    let kinesis = account_with(KinesisOptions {
        enforce_limits: true,
        ..Default::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 2}));
    let entry = |key: &str| json!({"PartitionKey": key, "Data": data(400_000)});
    let request =
        json!({"StreamName": "orders", "Records": [entry("a"), entry("a"), entry("a"), entry("b")]});
    let answer = kinesis.ok("PutRecords", request);
    assert_eq!(answer["FailedRecordCount"], 1);
    let failed = &answer["Records"][2];
    assert_eq!(failed["ErrorCode"], "ProvisionedThroughputExceededException");
    assert!(failed.get("SequenceNumber").is_none());
    assert!(answer["Records"][3]["SequenceNumber"].is_string());

    let single = put(json!({"PartitionKey": "a", "Data": data(400_000)}));
    assert_eq!(
        kinesis.refusal("PutRecord", single.clone()),
        "ProvisionedThroughputExceededException"
    );
    wait(1).await;
    kinesis.ok("PutRecord", single);
}

#[tokio::test(start_paused = true)]
async fn texts_where_numbers_belong_harm_nothing() {
    let kinesis = account_with_stream(1);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tested = runner.run(&"[0-9]{1,60}|.{0,20}", |text| {
        let split = json!({"StreamName": "orders", "ShardToSplit": "shardId-0", "NewStartingHashKey": text});
        let _ = kinesis.ask("SplitShard", split);
        let _ = kinesis.ask(
            "PutRecord",
            put(json!({"ExplicitHashKey": text, "SequenceNumberForOrdering": text})),
        );
        let iterator = json!({
            "StreamName": "orders", "ShardId": "shardId-000000000000",
            "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": text
        });
        let refusal = kinesis.refusal("GetShardIterator", iterator);
        prop_assert!(matches!(
            refusal,
            "InvalidArgumentException" | "ValidationException"
        ));
        Ok(())
    });
    tested.unwrap();
}
