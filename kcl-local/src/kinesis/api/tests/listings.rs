use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn streams_are_listed_page_by_page() {
    let kinesis = account();
    for name in ["c", "a", "b", "e", "d"] {
        kinesis.ok("CreateStream", json!({"StreamName": name, "ShardCount": 1}));
    }
    let first = kinesis.ok("ListStreams", json!({"Limit": 2}));
    assert_eq!(
        (&first["StreamNames"], &first["HasMoreStreams"]),
        (&json!(["a", "b"]), &json!(true))
    );
    assert_eq!(
        first["StreamSummaries"][1],
        json!({
            "StreamName": "b", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/b",
            "StreamStatus": "ACTIVE", "StreamModeDetails": {"StreamMode": "PROVISIONED"},
            "StreamCreationTimestamp": 1_700_000_000.0
        })
    );
    let second = kinesis.ok(
        "ListStreams",
        json!({"Limit": 2, "NextToken": first["NextToken"]}),
    );
    assert_eq!(second["StreamNames"], json!(["c", "d"]));
    let last = kinesis.ok("ListStreams", json!({"NextToken": second["NextToken"]}));
    assert_eq!(
        (&last["StreamNames"], &last["HasMoreStreams"]),
        (&json!(["e"]), &json!(false))
    );
    assert!(last.get("NextToken").is_none());

    let after = kinesis.ok("ListStreams", json!({"ExclusiveStartStreamName": "bb"}));
    assert_eq!(after["StreamNames"], json!(["c", "d", "e"]));
    assert_eq!(
        kinesis.refusal("ListStreams", json!({"Limit": 0})),
        "ValidationException"
    );

    wait(301).await;
    let late = kinesis.refusal("ListStreams", json!({"NextToken": first["NextToken"]}));
    assert_eq!(late, "ExpiredNextTokenException");
}

#[tokio::test(start_paused = true)]
async fn shards_are_described_page_by_page() {
    let kinesis = account_with_stream(5);
    let page = |request| kinesis.ok("DescribeStream", request)["StreamDescription"].clone();
    let first = page(json!({"StreamName": "orders", "Limit": 3}));
    assert_eq!(
        (first["Shards"].as_array().unwrap().len(), &first["HasMoreShards"]),
        (3, &json!(true))
    );
    let last = &first["Shards"][2]["ShardId"];
    let second = page(json!({"StreamName": "orders", "ExclusiveStartShardId": last}));
    assert_eq!(
        (
            second["Shards"].as_array().unwrap().len(),
            &second["HasMoreShards"]
        ),
        (2, &json!(false))
    );
    assert_eq!(second["Shards"][0]["ShardId"], "shardId-000000000003");
}

#[tokio::test(start_paused = true)]
async fn a_page_has_no_more_than_the_service_gives() {
    let kinesis = account_with_stream(1_001);
    let shards = |answer: &Value| answer["Shards"].as_array().unwrap().len();
    let listed = kinesis.ok(
        "ListShards",
        json!({"StreamName": "orders", "MaxResults": 10_000}),
    );
    assert_eq!(shards(&listed), 1_000);
    let rest = kinesis.ok("ListShards", json!({"NextToken": listed["NextToken"]}));
    assert_eq!(shards(&rest), 1);
    let described = kinesis.ok("DescribeStream", json!({"StreamName": "orders", "Limit": 10_000}));
    let described = &described["StreamDescription"];
    assert_eq!(
        (shards(described), &described["HasMoreShards"]),
        (100, &json!(true))
    );
    for number in 0..100 {
        kinesis.ok(
            "CreateStream",
            json!({"StreamName": format!("s{number}"), "ShardCount": 1}),
        );
    }
    let streams = kinesis.ok("ListStreams", json!({"Limit": 10_000}));
    assert_eq!(streams["StreamNames"].as_array().unwrap().len(), 100);
    assert_eq!(streams["HasMoreStreams"], true);
}

#[tokio::test(start_paused = true)]
async fn a_token_continues_a_listing_with_its_filter() {
    let kinesis = account_with_stream(4);
    let double = json!({"StreamName": "orders", "TargetShardCount": 8, "ScalingType": "UNIFORM_SCALING"});
    kinesis.ok("UpdateShardCount", double);
    let filter = json!({"Type": "AT_LATEST"});
    let first = kinesis.ok(
        "ListShards",
        json!({"StreamName": "orders", "MaxResults": 5, "ShardFilter": filter}),
    );
    assert_eq!(first["Shards"].as_array().unwrap().len(), 5);
    let token = first["NextToken"].clone();
    assert_eq!(
        kinesis.shard_ids(json!({"NextToken": token, "MaxResults": 3})),
        shard_ids(&[9, 10, 11])
    );
    assert!(
        kinesis
            .ok("ListShards", json!({"NextToken": token}))
            .get("NextToken")
            .is_none()
    );

    for (member, value) in [
        ("StreamName", json!("orders")),
        ("ExclusiveStartShardId", json!("shardId-000000000000")),
        ("StreamCreationTimestamp", json!(1_700_000_000)),
    ] {
        let both = json!({"NextToken": token, member: value});
        assert_eq!(
            kinesis.refusal("ListShards", both),
            "InvalidArgumentException",
            "{member}"
        );
    }
    wait(301).await;
    assert_eq!(
        kinesis.refusal("ListShards", json!({"NextToken": token})),
        "ExpiredNextTokenException"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_continue_with_a_new_stream_of_the_same_name() {
    let kinesis = account_with_stream(4);
    let token =
        kinesis.ok("ListShards", json!({"StreamName": "orders", "MaxResults": 1}))["NextToken"].clone();
    kinesis.ok("DeleteStream", json!({"StreamName": "orders"}));
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 4}));
    assert_eq!(
        kinesis.refusal("ListShards", json!({"NextToken": token})),
        "InvalidArgumentException"
    );
}

#[tokio::test(start_paused = true)]
async fn every_filter_selects_its_shards() {
    let kinesis = account_with_stream(2);
    wait(100).await;
    kinesis.ok(
        "MergeShards",
        json!({
            "StreamName": "orders", "ShardToMerge": "shardId-000000000000",
            "AdjacentShardToMerge": "shardId-000000000001"
        }),
    );
    wait(100).await;
    let list = |filter| kinesis.shard_ids(json!({"StreamName": "orders", "ShardFilter": filter}));
    assert_eq!(list(json!({"Type": "AT_TRIM_HORIZON"})), shard_ids(&[0, 1]));
    assert_eq!(list(json!({"Type": "FROM_TRIM_HORIZON"})), shard_ids(&[0, 1, 2]));
    assert_eq!(list(json!({"Type": "AT_LATEST"})), shard_ids(&[2]));
    assert_eq!(
        list(json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_700_000_050})),
        shard_ids(&[0, 1])
    );
    assert_eq!(
        list(json!({"Type": "AT_TIMESTAMP", "Timestamp": 1_700_000_150.5})),
        shard_ids(&[2])
    );
    assert_eq!(
        list(json!({"Type": "FROM_TIMESTAMP", "Timestamp": 1_700_000_050})),
        shard_ids(&[0, 1, 2])
    );
    assert_eq!(
        list(json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000000"})),
        shard_ids(&[1, 2])
    );
    assert_eq!(
        kinesis.shard_ids(json!({"StreamName": "orders", "ExclusiveStartShardId": "shardId-000000000001"})),
        shard_ids(&[2])
    );

    let refused = |filter| {
        kinesis.refusal(
            "ListShards",
            json!({"StreamName": "orders", "ShardFilter": filter}),
        )
    };
    assert_eq!(refused(json!({})), "ValidationException");
    assert_eq!(refused(json!({"Type": "AT_NOON"})), "ValidationException");
    assert_eq!(
        refused(json!({"Type": "AT_TIMESTAMP"})),
        "InvalidArgumentException"
    );
    assert_eq!(
        refused(json!({"Type": "AFTER_SHARD_ID"})),
        "InvalidArgumentException"
    );
}

#[tokio::test(start_paused = true)]
async fn the_time_of_creation_tells_streams_of_one_name_apart() {
    let kinesis = account_with_stream(1);
    let list = |time| json!({"StreamName": "orders", "StreamCreationTimestamp": time});
    assert_eq!(kinesis.shard_ids(list(1_700_000_000)).len(), 1);
    assert_eq!(
        kinesis.refusal("ListShards", list(1_600_000_000)),
        "ResourceNotFoundException"
    );
}

#[tokio::test(start_paused = true)]
async fn any_other_token_is_refused_and_harms_nothing() {
    let kinesis = account_with_stream(2);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tested = runner.run(&".{0,60}", |token| {
        let request = json!({"NextToken": token, "ShardIterator": token});
        let expected = if token.is_empty() {
            "ValidationException"
        } else {
            "InvalidArgumentException"
        };
        prop_assert_eq!(kinesis.refusal("ListShards", request.clone()), expected);
        prop_assert_eq!(kinesis.refusal("ListStreams", request.clone()), expected);
        prop_assert_eq!(kinesis.refusal("GetRecords", request), expected);
        Ok(())
    });
    tested.unwrap();
}
