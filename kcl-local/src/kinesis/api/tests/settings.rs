use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

fn summary(kinesis: &Kinesis) -> Value {
    kinesis.ok("DescribeStreamSummary", json!({"StreamARN": ARN}))["StreamDescriptionSummary"].clone()
}

fn slow() -> Kinesis {
    let kinesis = account_with(KinesisOptions {
        update_delay: Duration::from_secs(10),
        ..KinesisOptions::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    kinesis
}

fn on_demand(kinesis: &Kinesis, members: Value) -> Result<Value, ApiError> {
    let mut request = json!({"StreamName": "orders", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    request
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    kinesis.ask("CreateStream", request)
}

fn commit(kinesis: &Kinesis, status: &str) -> Value {
    let request = json!({"MinimumThroughputBillingCommitment": {"Status": status}});
    kinesis.ok("UpdateAccountSettings", request)["MinimumThroughputBillingCommitment"].clone()
}

#[tokio::test(start_paused = true)]
async fn records_count_as_encrypted_once_the_stream_is_active_again() {
    let kinesis = slow();
    let start = json!({"StreamName": "orders", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"});
    assert!(kinesis.put("a").get("EncryptionType").is_none());
    kinesis.ok("StartStreamEncryption", start.clone());
    assert_eq!(summary(&kinesis)["StreamStatus"], "UPDATING");
    assert_eq!(
        kinesis.refusal("StartStreamEncryption", start),
        "ResourceInUseException"
    );
    assert!(kinesis.put("b").get("EncryptionType").is_none());
    wait(10).await;
    assert_eq!(kinesis.put("c")["EncryptionType"], "KMS");
    let entry = json!({"PartitionKey": "k", "Data": ""});
    let batch = kinesis.ok("PutRecords", json!({"StreamARN": ARN, "Records": [entry]}));
    assert_eq!(batch["EncryptionType"], "KMS");
    let told = summary(&kinesis);
    assert_eq!(
        (&told["EncryptionType"], &told["KeyId"]),
        (&json!("KMS"), &json!("alias/aws/kinesis"))
    );

    kinesis.ok(
        "StopStreamEncryption",
        json!({"StreamARN": ARN, "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}),
    );
    wait(10).await;
    kinesis.put("e");
    let told = kinesis.ok("DescribeStream", json!({"StreamName": "orders"}))["StreamDescription"].clone();
    assert_eq!(
        (&told["EncryptionType"], told.get("KeyId")),
        (&json!("NONE"), None)
    );
    let iterator = kinesis.iterator(0, "TRIM_HORIZON");
    let read = kinesis.ok("GetRecords", json!({"ShardIterator": iterator}));
    let encrypted: Vec<_> = (read["Records"].as_array().unwrap().iter())
        .map(|record| record["EncryptionType"].as_str())
        .collect();
    assert_eq!(encrypted, [None, None, Some("KMS"), Some("KMS"), None]);
}

#[tokio::test(start_paused = true)]
async fn the_children_of_an_encrypted_shard_are_encrypted() {
    let kinesis = account_with_stream(1);
    kinesis.ok(
        "StartStreamEncryption",
        json!({"StreamName": "orders", "EncryptionType": "KMS", "KeyId": "alias/k"}),
    );
    kinesis.ok(
        "SplitShard",
        json!({"StreamName": "orders", "ShardToSplit": "shardId-0", "NewStartingHashKey": "5"}),
    );
    kinesis.put("a");
    let read = kinesis.ok(
        "GetRecords",
        json!({"ShardIterator": kinesis.iterator(2, "TRIM_HORIZON")}),
    );
    assert_eq!(read["Records"][0]["EncryptionType"], "KMS");
}

#[tokio::test(start_paused = true)]
async fn keys_and_types_of_encryption_that_there_are_not_are_refused() {
    let kinesis = account_with_stream(1);
    let start = |kind: &str, key: &str| {
        let request = json!({"StreamName": "orders", "EncryptionType": kind, "KeyId": key});
        kinesis.refusal("StartStreamEncryption", request)
    };
    assert_eq!(start("NONE", "alias/k"), "InvalidArgumentException");
    assert_eq!(start("AES", "alias/k"), "ValidationException");
    assert_eq!(start("KMS", "my key"), "KMSNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn shard_level_metrics_are_turned_on_and_off() {
    let kinesis = account_with_stream(1);
    let request = |metrics: Value| json!({"StreamName": "orders", "ShardLevelMetrics": metrics});
    let answer = kinesis.ok("EnableEnhancedMonitoring", request(json!(["IncomingBytes"])));
    assert_eq!(
        answer,
        json!({
            "StreamName": "orders", "StreamARN": ARN, "CurrentShardLevelMetrics": [],
            "DesiredShardLevelMetrics": ["IncomingBytes"]
        })
    );
    let answer = kinesis.ok("EnableEnhancedMonitoring", request(json!(["ALL"])));
    assert_eq!(answer["DesiredShardLevelMetrics"].as_array().unwrap().len(), 7);
    let all_but_one = json!([
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds"
    ]);
    kinesis.ok("DisableEnhancedMonitoring", request(all_but_one));
    assert_eq!(
        summary(&kinesis)["EnhancedMonitoring"],
        json!([{"ShardLevelMetrics": ["IncomingBytes"]}])
    );
    let (code, message) = kinesis.told("EnableEnhancedMonitoring", request(json!(["Speed"])));
    assert_eq!(code, "ValidationException");
    assert!(
        message.contains("Value '[Speed]' at 'shardLevelMetrics'"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_changes_its_capacity_mode_and_keeps_its_shards() {
    let kinesis = slow();
    let change = |mode: &str| json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": mode}});
    kinesis.ok("UpdateStreamMode", change("ON_DEMAND"));
    assert_eq!(
        summary(&kinesis)["StreamModeDetails"]["StreamMode"],
        "PROVISIONED"
    );
    assert_eq!(
        kinesis.refusal("UpdateStreamMode", change("ON_DEMAND")),
        "ResourceInUseException"
    );
    wait(10).await;
    let told = summary(&kinesis);
    assert_eq!(told["StreamModeDetails"]["StreamMode"], "ON_DEMAND");
    assert_eq!(told["OpenShardCount"], 1);
    assert_eq!(told["RecordDistributionStrategy"], "USER_PARTITION_KEY");
    let split = json!({"StreamName": "orders", "ShardToSplit": "shardId-0", "NewStartingHashKey": "5"});
    assert_eq!(
        kinesis.refusal("SplitShard", split.clone()),
        "ValidationException"
    );
    kinesis.ok("UpdateStreamMode", change("PROVISIONED"));
    wait(10).await;
    kinesis.ok("SplitShard", split);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_with_a_capacity_mode_is_refused() {
    let kinesis = account();
    let refused = |members| on_demand(&kinesis, members).unwrap_err().code;
    assert_eq!(refused(json!({"ShardCount": 2})), "ValidationException");
    assert_eq!(refused(json!({"WarmThroughputMiBps": 8})), "ValidationException");
    let provisioned = |members: Value| {
        let mut request = json!({"StreamName": "orders", "ShardCount": 1});
        request
            .as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        kinesis.ask("CreateStream", request)
    };
    let code = |members| provisioned(members).unwrap_err().code;
    assert_eq!(code(json!({"WarmThroughputMiBps": 8})), "ValidationException");
    assert_eq!(
        code(json!({"RecordDistributionStrategy": "AUTO"})),
        "InvalidArgumentException"
    );
    provisioned(json!({})).unwrap();
    let warm = json!({"StreamName": "orders", "WarmThroughputMiBps": 8});
    assert_eq!(
        kinesis.refusal("UpdateStreamWarmThroughput", warm),
        "ValidationException"
    );
    let uncommitted = json!({
        "StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}, "WarmThroughputMiBps": 8
    });
    assert_eq!(
        kinesis.refusal("UpdateStreamMode", uncommitted),
        "ValidationException"
    );
    assert_eq!(
        summary(&kinesis)["StreamModeDetails"]["StreamMode"],
        "PROVISIONED"
    );
    let even = json!({"StreamARN": ARN, "RecordDistributionStrategy": "AUTO"});
    assert_eq!(
        kinesis.refusal("UpdateStreamRecordDistributionStrategy", even),
        "InvalidArgumentException"
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_has_only_so_many_on_demand_streams() {
    let kinesis = account_with(KinesisOptions {
        on_demand_stream_limit: 1,
        ..KinesisOptions::default()
    });
    on_demand(&kinesis, json!({})).unwrap();
    let code = |outcome: Result<Value, ApiError>| outcome.unwrap_err().code;
    let more = on_demand(&kinesis, json!({"StreamName": "payments"}));
    assert_eq!(code(more), "LimitExceededException");
    kinesis.ok("CreateStream", json!({"StreamName": "refunds", "ShardCount": 1}));
    let change = json!({
        "StreamARN": ARN.replace("orders", "refunds"), "StreamModeDetails": {"StreamMode": "ON_DEMAND"}
    });
    assert_eq!(
        code(kinesis.ask("UpdateStreamMode", change)),
        "LimitExceededException"
    );
    let limits = kinesis.ok("DescribeLimits", json!({}));
    assert_eq!(
        limits,
        json!({
            "ShardLimit": 20_000, "OpenShardCount": 5, "OnDemandStreamCount": 1, "OnDemandStreamCountLimit": 1
        })
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_that_commits_itself_has_warm_streams() {
    let kinesis = account();
    let told = kinesis.ok("DescribeAccountSettings", json!({}));
    assert_eq!(
        told["MinimumThroughputBillingCommitment"],
        json!({"Status": "DISABLED"})
    );
    assert_eq!(
        commit(&kinesis, "ENABLED"),
        json!({
            "Status": "ENABLED", "StartedAt": 1_700_000_000.0, "EarliestAllowedEndAt": 1_700_086_400.0
        })
    );
    on_demand(&kinesis, json!({"WarmThroughputMiBps": 6})).unwrap();
    let warm = |target: u32, current: u32| json!({"TargetMiBps": target, "CurrentMiBps": current});
    assert_eq!(summary(&kinesis)["WarmThroughput"], warm(6, 6));
    let answer = kinesis.ok(
        "UpdateStreamWarmThroughput",
        json!({"StreamARN": ARN, "WarmThroughputMiBps": 9}),
    );
    assert_eq!(
        answer,
        json!({"StreamName": "orders", "StreamARN": ARN, "WarmThroughput": warm(9, 9)})
    );
    assert_eq!(summary(&kinesis)["OpenShardCount"], 9);
    for number in 0..50 {
        let name = format!("c{number}");
        kinesis.ok(
            "RegisterStreamConsumer",
            json!({"StreamARN": ARN, "ConsumerName": name}),
        );
    }
    let one_more = json!({"StreamARN": ARN, "ConsumerName": "c50"});
    assert_eq!(
        kinesis.refusal("RegisterStreamConsumer", one_more),
        "LimitExceededException"
    );
    let too_much = json!({"StreamARN": ARN, "WarmThroughputMiBps": 20_000});
    assert_eq!(
        kinesis.refusal("UpdateStreamWarmThroughput", too_much),
        "LimitExceededException"
    );

    let ending = commit(&kinesis, "DISABLED");
    assert_eq!(ending["Status"], "ENABLED_UNTIL_EARLIEST_ALLOWED_END");
    wait(24 * 60 * 60).await;
    assert!(summary(&kinesis).get("WarmThroughput").is_none());
}

#[tokio::test(start_paused = true)]
async fn records_can_be_spread_evenly_whatever_their_keys() {
    let kinesis = account();
    on_demand(&kinesis, json!({"RecordDistributionStrategy": "AUTO"})).unwrap();
    let shards: std::collections::BTreeSet<_> = (0..4)
        .map(|_| kinesis.put("a")["ShardId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shards.len(), 4);
    let keyless = json!({"StreamName": "orders", "Data": "YQ=="});
    let put = kinesis.ok("PutRecord", keyless.clone());
    let start = json!({
        "StreamName": "orders", "ShardId": put["ShardId"], "ShardIteratorType": "AT_SEQUENCE_NUMBER",
        "StartingSequenceNumber": put["SequenceNumber"]
    });
    let iterator = kinesis.ok("GetShardIterator", start)["ShardIterator"].clone();
    let read = kinesis.ok("GetRecords", json!({"ShardIterator": iterator}));
    assert!(read["Records"][0].get("PartitionKey").is_none());

    let by_key = json!({"StreamARN": ARN, "RecordDistributionStrategy": "USER_PARTITION_KEY"});
    kinesis.ok("UpdateStreamRecordDistributionStrategy", by_key);
    let (code, message) = kinesis.told("PutRecord", keyless);
    assert_eq!(code, "ValidationException");
    assert!(message.contains("Value null at 'partitionKey'"), "{message}");
    let batch = json!({"StreamName": "orders", "Records": [{"Data": ""}]});
    let (_, message) = kinesis.told("PutRecords", batch);
    assert!(
        message.contains("at 'records.1.member.partitionKey'"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn records_may_have_ten_mebibytes_if_their_stream_is_told() {
    let kinesis = slow();
    let put = |bytes: usize| {
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; bytes]);
        kinesis.ask(
            "PutRecord",
            json!({"StreamName": "orders", "PartitionKey": "k", "Data": data}),
        )
    };
    kinesis.ok(
        "UpdateMaxRecordSize",
        json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 10_240}),
    );
    assert_eq!(put(2 << 20).unwrap_err().code, "InvalidArgumentException");
    wait(10).await;
    assert_eq!(summary(&kinesis)["MaxRecordSizeInKiB"], 10_240);
    put((10 << 20) - 1).unwrap();
    assert_eq!(put(10 << 20).unwrap_err().code, "InvalidArgumentException");
    let read = kinesis.ok(
        "GetRecords",
        json!({"ShardIterator": kinesis.iterator(0, "TRIM_HORIZON")}),
    );
    assert_eq!(read["Records"].as_array().unwrap().len(), 1);
    let small = json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 1_023});
    assert_eq!(
        kinesis.refusal("UpdateMaxRecordSize", small),
        "ValidationException"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_whether_it_would_work_and_does_nothing() {
    let kinesis = account_with_stream(1);
    let put =
        |name: &str, dry: bool| json!({"StreamName": name, "PartitionKey": "k", "Data": "", "DryRun": dry});
    assert_eq!(
        kinesis.refusal("PutRecord", put("orders", true)),
        "DryRunOperationException"
    );
    assert_eq!(
        kinesis.refusal("PutRecord", put("payments", true)),
        "ResourceNotFoundException"
    );
    let batch = json!({"StreamARN": ARN, "Records": [{"PartitionKey": "k", "Data": ""}], "DryRun": true});
    assert_eq!(kinesis.refusal("PutRecords", batch), "DryRunOperationException");
    let start = |shard: &str| {
        json!({
            "StreamARN": ARN, "ShardId": shard, "ShardIteratorType": "LATEST", "DryRun": true
        })
    };
    assert_eq!(
        kinesis.refusal("GetShardIterator", start("shardId-0")),
        "DryRunOperationException"
    );
    assert_eq!(
        kinesis.refusal("GetShardIterator", start("shardId-1")),
        "ResourceNotFoundException"
    );
    let iterator = kinesis.iterator(0, "TRIM_HORIZON");
    let read = |dry: bool| json!({"ShardIterator": iterator, "DryRun": dry});
    assert_eq!(
        kinesis.refusal("GetRecords", read(true)),
        "DryRunOperationException"
    );
    assert_eq!(kinesis.ok("GetRecords", read(false))["Records"], json!([]));

    let consumer = kinesis.ok(
        "RegisterStreamConsumer",
        json!({"StreamARN": ARN, "ConsumerName": "billing"}),
    );
    let subscribe = |shard: &str| {
        let request = json!({
            "ConsumerARN": consumer["Consumer"]["ConsumerARN"], "ShardId": shard,
            "StartingPosition": {"Type": "LATEST"}, "DryRun": true
        });
        let outcome = kinesis.subscribe(&Bytes::from(request.to_string()), &Json);
        outcome.unwrap_err().code
    };
    assert_eq!(subscribe("shardId-0"), "DryRunOperationException");
    assert_eq!(subscribe("shardId-0"), "DryRunOperationException");
    assert_eq!(subscribe("shardId-1"), "ResourceNotFoundException");
}

#[tokio::test(start_paused = true)]
async fn a_streams_id_is_checked_and_means_nothing() {
    let kinesis = account_with_stream(1);
    let request = |id: &str| json!({"StreamName": "orders", "StreamId": id});
    kinesis.ok("DescribeStreamSummary", request("abcdefghij0123456789-a1b"));
    let (code, message) = kinesis.told("DescribeStreamSummary", request("7"));
    assert_eq!(code, "ValidationException");
    assert!(message.contains("at 'streamId'"), "{message}");
    let alone = json!({"StreamId": "abcdefghij0123456789-a1b"});
    assert_eq!(
        kinesis.refusal("DescribeStreamSummary", alone),
        "ValidationException"
    );
}
