use super::*;

#[tokio::test(start_paused = true)]
async fn a_merged_shard_names_both_parents_and_they_end() {
    let kinesis = account_with_stream(2);
    let merge = json!({
        "StreamName": "orders", "ShardToMerge": "shardId-000000000000",
        "AdjacentShardToMerge": "shardId-000000000001"
    });
    assert_eq!(kinesis.ok("MergeShards", merge), Value::Null);
    let shards = kinesis.ok("ListShards", json!({"StreamName": "orders"}))["Shards"].clone();
    let number = |shard: usize, end: &str| {
        shards[shard]["SequenceNumberRange"][end]
            .as_str()
            .map(str::to_owned)
    };
    assert_eq!(shards[2]["ParentShardId"], "shardId-000000000000");
    assert_eq!(shards[2]["AdjacentParentShardId"], "shardId-000000000001");
    for parent in [0, 1] {
        let end = number(parent, "EndingSequenceNumber").unwrap();
        assert!(number(parent, "StartingSequenceNumber").unwrap() < end);
        assert!(end < number(2, "StartingSequenceNumber").unwrap());
    }
    assert_eq!(number(2, "EndingSequenceNumber"), None);
}

#[tokio::test(start_paused = true)]
async fn a_shard_count_is_updated_and_reported() {
    let kinesis = account_with_stream(2);
    let update = |count: u32| json!({"StreamName": "orders", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
    let answer = kinesis.ok("UpdateShardCount", update(4));
    assert_eq!(
        answer,
        json!({
            "StreamName": "orders", "CurrentShardCount": 2, "TargetShardCount": 4,
            "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
        })
    );
    let open = json!({"StreamName": "orders", "ShardFilter": {"Type": "AT_LATEST"}});
    assert_eq!(kinesis.shard_ids(open), shard_ids(&[2, 3, 4, 5]));
    assert_eq!(
        kinesis.refusal("UpdateShardCount", update(9)),
        "LimitExceededException"
    );
    assert_eq!(
        kinesis.refusal("UpdateShardCount", update(1)),
        "LimitExceededException"
    );
    assert_eq!(
        kinesis.refusal("UpdateShardCount", update(0)),
        "ValidationException"
    );
    let other = json!({"StreamName": "orders", "TargetShardCount": 4, "ScalingType": "RANDOM"});
    assert_eq!(kinesis.refusal("UpdateShardCount", other), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn changes_wait_for_each_other() {
    let kinesis = account_with(KinesisOptions {
        update_delay: Duration::from_secs(30),
        ..Default::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 2}));
    let split = |shard: &str, key: &str| json!({"StreamName": "orders", "ShardToSplit": shard, "NewStartingHashKey": key});
    kinesis.ok("SplitShard", split("shardId-000000000000", "1000"));
    assert_eq!(
        kinesis.refusal("SplitShard", split("shardId-000000000000", "1000")),
        "ResourceInUseException"
    );
    let status =
        || kinesis.ok("DescribeStream", json!({"StreamName": "orders"}))["StreamDescription"].clone();
    assert_eq!(status()["StreamStatus"], "UPDATING");
    assert_eq!(status()["Shards"].as_array().unwrap().len(), 2);
    wait(30).await;
    assert_eq!(status()["StreamStatus"], "ACTIVE");
    assert_eq!(status()["Shards"].as_array().unwrap().len(), 4);
    assert_eq!(
        kinesis.refusal("SplitShard", split("shardId-000000000000", "500")),
        "InvalidArgumentException"
    );
    kinesis.ok("SplitShard", split("shardId-000000000002", "500"));
}

#[tokio::test(start_paused = true)]
async fn changes_that_make_no_sense_are_refused() {
    let kinesis = account_with_stream(3);
    let split = |shard: Value, key: Value| {
        let request = json!({"StreamName": "orders", "ShardToSplit": shard, "NewStartingHashKey": key});
        kinesis.refusal("SplitShard", request)
    };
    assert_eq!(split(Value::Null, json!("5")), "ValidationException");
    assert_eq!(
        split(json!("shardId-000000000000"), Value::Null),
        "ValidationException"
    );
    assert_eq!(
        split(json!("shardId-000000000000"), json!("five")),
        "ValidationException"
    );
    assert_eq!(
        split(json!("shardId-000000000000"), json!("1")),
        "InvalidArgumentException"
    );
    assert_eq!(
        split(json!("shardId-000000000007"), json!("5")),
        "ResourceNotFoundException"
    );
    let merge = |lower: &str, upper: &str| {
        let request = json!({"StreamName": "orders", "ShardToMerge": lower, "AdjacentShardToMerge": upper});
        kinesis.refusal("MergeShards", request)
    };
    assert_eq!(
        merge("shardId-000000000000", "shardId-000000000002"),
        "InvalidArgumentException"
    );
    assert_eq!(
        merge("shardId-000000000001", "shardId-000000000000"),
        "InvalidArgumentException"
    );
    assert_eq!(
        merge("shardId-000000000000", "shardId-000000000009"),
        "ResourceNotFoundException"
    );
}
