use super::*;

#[tokio::test(start_paused = true)]
async fn a_stream_is_described_as_it_was_created() {
    let kinesis = account();
    let request = json!({
        "StreamName": "orders", "ShardCount": 2, "Tags": {"team": "blue"}, "MaxRecordSizeInKiB": 2048,
        "SomethingNew": [1, 2]
    });
    assert_eq!(kinesis.ok("CreateStream", request), Value::Null);

    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let answer = kinesis.ok("DescribeStreamSummary", json!({"StreamARN": arn}));
    assert_eq!(
        answer["StreamDescriptionSummary"],
        json!({
            "StreamName": "orders", "StreamARN": arn, "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": "PROVISIONED"}, "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1_700_000_000.0, "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
            "EncryptionType": "NONE", "OpenShardCount": 2, "ConsumerCount": 0, "MaxRecordSizeInKiB": 2048
        })
    );

    let description =
        kinesis.ok("DescribeStream", json!({"StreamName": "orders"}))["StreamDescription"].clone();
    assert_eq!(description["HasMoreShards"], false);
    let first = &description["Shards"][0];
    assert_eq!(
        first["HashKeyRange"],
        json!({"StartingHashKey": "0", "EndingHashKey": "170141183460469231731687303715884105727"})
    );
    assert!(first.get("ParentShardId").is_none());
    assert!(first["SequenceNumberRange"].get("EndingSequenceNumber").is_none());
}

#[tokio::test(start_paused = true)]
async fn an_on_demand_stream_begins_with_four_shards() {
    let kinesis = account();
    let mode = json!({"StreamMode": "ON_DEMAND"});
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "orders", "StreamModeDetails": mode}),
    );
    let summary = kinesis.ok("DescribeStreamSummary", json!({"StreamName": "orders"}));
    assert_eq!(summary["StreamDescriptionSummary"]["StreamModeDetails"], mode);
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 4);
    let limits = kinesis.ok("DescribeLimits", json!({}));
    assert_eq!(
        (&limits["OpenShardCount"], &limits["OnDemandStreamCount"]),
        (&json!(4), &json!(1))
    );
    let scale = json!({"StreamName": "orders", "TargetShardCount": 8, "ScalingType": "UNIFORM_SCALING"});
    assert_eq!(kinesis.refusal("UpdateShardCount", scale), "ValidationException");
}

#[tokio::test(start_paused = true)]
async fn requests_that_break_the_rules_create_nothing() {
    let kinesis = account();
    let refused = |request| kinesis.refusal("CreateStream", request);
    assert_eq!(refused(json!({})), "ValidationException");
    assert_eq!(refused(json!({"StreamName": "orders"})), "ValidationException");
    assert_eq!(
        refused(json!({"StreamName": "a b", "ShardCount": 1})),
        "ValidationException"
    );
    for count in [json!(0), json!(-1), json!(100_001)] {
        assert_eq!(
            refused(json!({"StreamName": "orders", "ShardCount": count})),
            "ValidationException"
        );
    }
    let mode = json!({"StreamMode": "SOMETIMES"});
    let request = json!({"StreamName": "orders", "ShardCount": 1, "StreamModeDetails": mode});
    assert_eq!(refused(request), "ValidationException");
    assert_eq!(
        refused(json!({"StreamName": "orders", "ShardCount": "two"})),
        "SerializationException"
    );
    assert_eq!(
        refused(json!({"StreamName": "orders", "ShardCount": 30_000})),
        "LimitExceededException"
    );
    assert_eq!(kinesis.ok("ListStreams", json!({}))["StreamNames"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn streams_that_exist_or_do_not_are_reported_so() {
    let kinesis = account_with_stream(1);
    let again = json!({"StreamName": "orders", "ShardCount": 1});
    assert_eq!(kinesis.refusal("CreateStream", again), "ResourceInUseException");
    kinesis.ok(
        "DeleteStream",
        json!({"StreamName": "orders", "EnforceConsumerDeletion": true}),
    );
    for operation in [
        "DescribeStream",
        "DescribeStreamSummary",
        "DeleteStream",
        "ListShards",
        "ListTagsForStream",
    ] {
        let code = kinesis.refusal(operation, json!({"StreamName": "orders"}));
        assert_eq!(code, "ResourceNotFoundException", "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_takes_its_time_if_told_to() {
    let delay = Duration::from_secs(10);
    let kinesis = account_with(KinesisOptions {
        create_delay: delay,
        delete_delay: delay,
        ..Default::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    let status =
        || kinesis.ok("DescribeStream", json!({"StreamName": "orders"}))["StreamDescription"].clone();
    assert_eq!(
        (&status()["StreamStatus"], &status()["Shards"]),
        (&json!("CREATING"), &json!([]))
    );
    assert_eq!(
        kinesis.refusal("DeleteStream", json!({"StreamName": "orders"})),
        "ResourceInUseException"
    );
    assert_eq!(
        kinesis.refusal("ListShards", json!({"StreamName": "orders"})),
        "ResourceInUseException"
    );
    wait(10).await;
    assert_eq!(status()["StreamStatus"], "ACTIVE");
    kinesis.ok("DeleteStream", json!({"StreamName": "orders"}));
    assert_eq!(status()["StreamStatus"], "DELETING");
    wait(10).await;
    assert_eq!(
        kinesis.refusal("DescribeStream", json!({"StreamName": "orders"})),
        "ResourceNotFoundException"
    );
}

#[tokio::test(start_paused = true)]
async fn the_retention_period_moves_between_a_day_and_a_year() {
    let kinesis = account_with_stream(1);
    let request = |hours: i64| json!({"StreamName": "orders", "RetentionPeriodHours": hours});
    kinesis.ok("IncreaseStreamRetentionPeriod", request(8_760));
    assert_eq!(
        kinesis.refusal("IncreaseStreamRetentionPeriod", request(48)),
        "InvalidArgumentException"
    );
    kinesis.ok("DecreaseStreamRetentionPeriod", request(48));
    assert_eq!(
        kinesis.refusal("DecreaseStreamRetentionPeriod", request(49)),
        "InvalidArgumentException"
    );
    for hours in [23, 8_761, -1, i64::MAX] {
        for operation in ["IncreaseStreamRetentionPeriod", "DecreaseStreamRetentionPeriod"] {
            assert_eq!(
                kinesis.refusal(operation, request(hours)),
                "InvalidArgumentException",
                "{hours}"
            );
        }
    }
    let description = kinesis.ok("DescribeStream", json!({"StreamName": "orders"}));
    assert_eq!(description["StreamDescription"]["RetentionPeriodHours"], 48);
}

#[tokio::test(start_paused = true)]
async fn tags_are_added_listed_and_removed() {
    let kinesis = account_with_stream(1);
    let list = |request| kinesis.ok("ListTagsForStream", request);
    kinesis.ok(
        "AddTagsToStream",
        json!({"StreamName": "orders", "Tags": {"b": "1", "a": "2", "c": ""}}),
    );
    kinesis.ok(
        "AddTagsToStream",
        json!({"StreamName": "orders", "Tags": {"b": "3"}}),
    );
    let page = list(json!({"StreamName": "orders", "Limit": 2}));
    assert_eq!(
        page,
        json!({
            "Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}], "HasMoreTags": true
        })
    );
    let rest = list(json!({"StreamName": "orders", "ExclusiveStartTagKey": "b"}));
    assert_eq!(
        rest,
        json!({"Tags": [{"Key": "c", "Value": ""}], "HasMoreTags": false})
    );

    kinesis.ok(
        "RemoveTagsFromStream",
        json!({"StreamName": "orders", "TagKeys": ["a", "c", "x"]}),
    );
    assert_eq!(
        list(json!({"StreamName": "orders"}))["Tags"],
        json!([{"Key": "b", "Value": "3"}])
    );

    let many = |prefix: &str| {
        (0..50)
            .map(|n| (format!("{prefix}{n}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
    };
    let add = |tags: serde_json::Map<_, _>| json!({"StreamName": "orders", "Tags": tags});
    assert_eq!(
        kinesis.refusal("AddTagsToStream", add(many("t"))),
        "InvalidArgumentException"
    );
    assert_eq!(
        kinesis.refusal("AddTagsToStream", json!({"StreamName": "orders", "Tags": {}})),
        "ValidationException"
    );
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_exist_is_named() {
    let error = account().ask("FoldStream", json!({})).unwrap_err();
    assert_eq!((error.code, error.status), ("UnknownOperationException", 400));
    assert!(error.message.contains("FoldStream"));
}
