use super::*;

fn read(kinesis: &Kinesis, iterator: &Value) -> Value {
    kinesis.ok("GetRecords", json!({"ShardIterator": iterator}))
}

fn data(answer: &Value) -> Vec<&str> {
    answer["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["Data"].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_comes_back_as_it_was_put() {
    let kinesis = account_with_stream(1);
    wait(5).await;
    let number = kinesis.put("hello")["SequenceNumber"].clone();
    wait(2).await;
    let answer = read(&kinesis, &kinesis.iterator(0, "TRIM_HORIZON"));
    assert_eq!(
        answer["Records"],
        json!([{
            "SequenceNumber": number, "ApproximateArrivalTimestamp": 1_700_000_005.0,
            "Data": "aGVsbG8=", "PartitionKey": "k"
        }])
    );
    assert_eq!(answer["MillisBehindLatest"], 0);
    assert!(answer["NextShardIterator"].is_string());
    assert!(answer.get("ChildShards").is_none());
}

#[tokio::test(start_paused = true)]
async fn iterators_lead_on_from_answer_to_answer() {
    let kinesis = account_with_stream(1);
    for content in ["1", "2", "3"] {
        kinesis.put(content);
    }
    wait(1).await;
    let first = kinesis.ok(
        "GetRecords",
        json!({"ShardIterator": kinesis.iterator(0, "TRIM_HORIZON"), "Limit": 2}),
    );
    assert_eq!(
        (data(&first), &first["MillisBehindLatest"]),
        (vec!["MQ==", "Mg=="], &json!(1_000))
    );
    let second = read(&kinesis, &first["NextShardIterator"]);
    assert_eq!(
        (data(&second), &second["MillisBehindLatest"]),
        (vec!["Mw=="], &json!(0))
    );
    assert_eq!(
        data(&read(&kinesis, &first["NextShardIterator"])),
        ["Mw=="],
        "an iterator can be used again"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_has_at_most_ten_mebibytes() {
    let kinesis = account_with_stream(1);
    let content = "x".repeat(1_000_000);
    for _ in 0..12 {
        kinesis.put(&content);
    }
    let answer = read(&kinesis, &kinesis.iterator(0, "TRIM_HORIZON"));
    assert_eq!(data(&answer).len(), 10);
    assert_eq!(data(&read(&kinesis, &answer["NextShardIterator"])).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_place_can_be_named_by_number_or_time() {
    let kinesis = account_with_stream(1);
    kinesis.put("1");
    wait(1).await;
    let number = kinesis.put("2")["SequenceNumber"].clone();
    wait(1).await;
    kinesis.put("3");
    let from = |kind: &str, member: &str, value: Value| {
        let request = json!({
            "StreamName": "orders", "ShardId": "shardId-000000000000", "ShardIteratorType": kind, member: value
        });
        let iterator = kinesis.ok("GetShardIterator", request)["ShardIterator"].clone();
        data(&read(&kinesis, &iterator)).join(" ")
    };
    assert_eq!(
        from("AT_SEQUENCE_NUMBER", "StartingSequenceNumber", number.clone()),
        "Mg== Mw=="
    );
    assert_eq!(
        from("AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber", number),
        "Mw=="
    );
    assert_eq!(
        from("AT_TIMESTAMP", "Timestamp", json!(1_700_000_001)),
        "Mg== Mw=="
    );
    assert_eq!(
        from("AT_TIMESTAMP", "Timestamp", json!(1_700_000_001.001)),
        "Mw=="
    );
}

#[tokio::test(start_paused = true)]
async fn an_iterator_expires_after_five_minutes() {
    let kinesis = account_with_stream(1);
    let iterator = kinesis.iterator(0, "TRIM_HORIZON");
    wait(300).await;
    let next = read(&kinesis, &iterator)["NextShardIterator"].clone();
    wait(1).await;
    assert_eq!(
        kinesis.refusal("GetRecords", json!({"ShardIterator": iterator})),
        "ExpiredIteratorException"
    );
    wait(299).await;
    read(&kinesis, &next);
    wait(1).await;
    assert_eq!(
        kinesis.refusal("GetRecords", json!({"ShardIterator": next})),
        "ExpiredIteratorException"
    );
}

#[tokio::test(start_paused = true)]
async fn a_split_shard_ends_with_its_children() {
    let kinesis = account_with_stream(1);
    kinesis.put("1");
    let iterator = kinesis.iterator(0, "TRIM_HORIZON");
    kinesis.ok(
        "SplitShard",
        json!({
            "StreamName": "orders", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "1000"
        }),
    );
    let answer = read(&kinesis, &iterator);
    assert_eq!(data(&answer), ["MQ=="]);
    assert!(answer.get("NextShardIterator").is_none());
    assert_eq!(
        answer["ChildShards"],
        json!([
            {
                "ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"],
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "999"}
            },
            {
                "ShardId": "shardId-000000000002", "ParentShards": ["shardId-000000000000"],
                "HashKeyRange": {"StartingHashKey": "1000", "EndingHashKey": u128::MAX.to_string()}
            }
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn requests_for_iterators_that_make_no_sense_are_refused() {
    let kinesis = account_with_stream(2);
    let number = kinesis.put("1")["SequenceNumber"].clone();
    let refused = |members: Value| {
        let mut request = json!({"StreamName": "orders", "ShardId": "shardId-000000000000"});
        request
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        kinesis.refusal("GetShardIterator", request)
    };
    assert_eq!(refused(json!({})), "ValidationException");
    assert_eq!(
        refused(json!({"ShardIteratorType": "SOMEWHERE"})),
        "ValidationException"
    );
    let at = |kind: &str, value: Value| json!({"ShardIteratorType": kind, "StartingSequenceNumber": value});
    for kind in ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] {
        assert_eq!(
            refused(at(kind, number.clone())),
            "InvalidArgumentException",
            "{kind}"
        );
    }
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "AT_TIMESTAMP"] {
        assert_eq!(
            refused(json!({"ShardIteratorType": kind})),
            "InvalidArgumentException",
            "{kind}"
        );
        assert_eq!(
            refused(at(kind, json!("LATEST"))),
            "ValidationException",
            "{kind}"
        );
        assert_eq!(
            refused(at(kind, json!("5"))),
            "InvalidArgumentException",
            "{kind}"
        );
    }
    let future = json!({"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_700_000_000.001});
    assert_eq!(refused(future), "InvalidArgumentException");
    for shard in ["shardId-000000000002", "orders", "shardId-999999999999"] {
        let unknown = json!({"ShardIteratorType": "LATEST", "ShardId": shard});
        assert_eq!(refused(unknown), "ResourceNotFoundException", "{shard}");
    }
}

#[tokio::test(start_paused = true)]
async fn reads_that_make_no_sense_are_refused() {
    let kinesis = account_with_stream(1);
    let iterator = kinesis.iterator(0, "LATEST");
    let arn = |name: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
    let request = |name: &str| json!({"ShardIterator": iterator, "StreamARN": arn(name)});
    kinesis.ok("GetRecords", request("orders"));
    assert_eq!(
        kinesis.refusal("GetRecords", request("payments")),
        "InvalidArgumentException"
    );
    assert_eq!(kinesis.refusal("GetRecords", json!({})), "ValidationException");
    for limit in [0, 10_001, -5] {
        let request = json!({"ShardIterator": iterator, "Limit": limit});
        assert_eq!(
            kinesis.refusal("GetRecords", request),
            "ValidationException",
            "{limit}"
        );
    }
    kinesis.ok("DeleteStream", json!({"StreamName": "orders"}));
    assert_eq!(
        kinesis.refusal("GetRecords", json!({"ShardIterator": iterator})),
        "ResourceNotFoundException"
    );
}
