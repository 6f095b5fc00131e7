use super::*;
use crate::kinesis::{Quotas, ShardRates};

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

/// How many of `times` calls are not refused. The others must be refused with `code`.
fn admitted(kinesis: &Kinesis, times: usize, operation: &str, request: &Value, code: &str) -> usize {
    let outcomes = (0..times).map(|_| kinesis.ask(operation, request.clone()));
    outcomes
        .filter(|outcome| match outcome {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.code, code, "{error}");
                false
            }
        })
        .count()
}

/// An account with one quota, and a stream called `orders`.
fn with_quotas(quotas: Quotas) -> Kinesis {
    let kinesis = account_with(KinesisOptions {
        quotas,
        ..KinesisOptions::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 2}));
    kinesis
}

#[tokio::test(start_paused = true)]
async fn a_faithful_stream_takes_its_time_and_refuses_what_the_service_refuses_meanwhile() {
    let kinesis = account_with(KinesisOptions::faithful());
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    let put = json!({"StreamName": "orders", "PartitionKey": "k", "Data": ""});
    assert_eq!(
        kinesis.refusal("PutRecord", put.clone()),
        "ResourceNotFoundException"
    );
    let register = json!({"StreamARN": ARN, "ConsumerName": "billing"});
    assert_eq!(
        kinesis.refusal("RegisterStreamConsumer", register.clone()),
        "ResourceInUseException"
    );
    wait(15).await;
    kinesis.ok("PutRecord", put.clone());
    let consumer = kinesis.ok("RegisterStreamConsumer", register);
    assert_eq!(consumer["Consumer"]["ConsumerStatus"], "CREATING");
    let longer = json!({"StreamName": "orders", "RetentionPeriodHours": 48});
    kinesis.ok("IncreaseStreamRetentionPeriod", longer);
    for (operation, request) in [
        (
            "SplitShard",
            json!({"StreamName": "orders", "ShardToSplit": "shardId-0", "NewStartingHashKey": "5"}),
        ),
        (
            "UpdateShardCount",
            json!({"StreamName": "orders", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
        ),
        (
            "UpdateStreamMode",
            json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}}),
        ),
        (
            "UpdateMaxRecordSize",
            json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 2048}),
        ),
        (
            "StartStreamEncryption",
            json!({"StreamARN": ARN, "EncryptionType": "KMS", "KeyId": "alias/k"}),
        ),
        (
            "EnableEnhancedMonitoring",
            json!({"StreamARN": ARN, "ShardLevelMetrics": ["ALL"]}),
        ),
        (
            "DecreaseStreamRetentionPeriod",
            json!({"StreamName": "orders", "RetentionPeriodHours": 24}),
        ),
    ] {
        assert_eq!(
            kinesis.refusal(operation, request),
            "ResourceInUseException",
            "{operation}"
        );
    }
    kinesis.ok("PutRecord", put);
    wait(30).await;
    kinesis.ok(
        "DeleteStream",
        json!({"StreamName": "orders", "EnforceConsumerDeletion": true}),
    );
    let again = json!({"StreamName": "orders", "ShardCount": 1});
    assert_eq!(
        kinesis.refusal("CreateStream", again.clone()),
        "ResourceInUseException"
    );
    wait(15).await;
    kinesis.ok("CreateStream", again);
}

#[tokio::test(start_paused = true)]
async fn calls_have_a_rate_for_each_operation() {
    let kinesis = account_with(KinesisOptions::faithful());
    let limits = || {
        admitted(
            &kinesis,
            3,
            "DescribeLimits",
            &json!({}),
            "LimitExceededException",
        )
    };
    assert_eq!(limits(), 1);
    let list = || admitted(&kinesis, 9, "ListStreams", &json!({}), "LimitExceededException");
    assert_eq!(list(), 5);
    let (_, message) = kinesis.told("ListStreams", json!({}));
    assert_eq!(
        message,
        "Rate exceeded for ListStreams under account 000000000000."
    );
    wait(1).await;
    assert_eq!((limits(), list()), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_calls_can_be_set() {
    let quotas = Quotas {
        calls: [("ListStreams", 2)].into(),
        ..Quotas::default()
    };
    let kinesis = with_quotas(quotas);
    let list = admitted(&kinesis, 5, "ListStreams", &json!({}), "LimitExceededException");
    assert_eq!(list, 2);
    let limits = admitted(&kinesis, 5, "DescribeLimits", &json!({}), "");
    assert_eq!(limits, 5, "not named, not limited");
}

#[tokio::test(start_paused = true)]
async fn only_so_many_streams_are_created_at_a_time() {
    let kinesis = account_with(KinesisOptions {
        create_delay: Duration::from_secs(10),
        quotas: Quotas {
            streams_creating: Some(2),
            ..Quotas::default()
        },
        ..KinesisOptions::default()
    });
    let create = |name: &str| kinesis.ask("CreateStream", json!({"StreamName": name, "ShardCount": 1}));
    create("a").unwrap();
    create("b").unwrap();
    assert_eq!(create("c").unwrap_err().code, "LimitExceededException");
    wait(10).await;
    create("c").unwrap();
}

#[tokio::test(start_paused = true)]
async fn some_changes_can_be_made_only_so_often_in_a_day() {
    let kinesis = with_quotas(Quotas::of_the_service());
    let mode = |mode: &str| json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": mode}});
    kinesis.ok("UpdateStreamMode", mode("ON_DEMAND"));
    kinesis.ok("UpdateStreamMode", mode("PROVISIONED"));
    assert_eq!(
        kinesis.refusal("UpdateStreamMode", mode("ON_DEMAND")),
        "LimitExceededException"
    );

    let mut updates = 0;
    for number in 0..12 {
        wait(1).await;
        let count = if number % 2 == 0 { 4 } else { 2 };
        let update =
            json!({"StreamName": "orders", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING"});
        updates += admitted(&kinesis, 1, "UpdateShardCount", &update, "LimitExceededException");
    }
    assert_eq!(updates, 10);
    let start = json!({"StreamARN": ARN, "EncryptionType": "KMS", "KeyId": "alias/k"});
    let mut starts = 0;
    for _ in 0..30 {
        wait(1).await;
        starts += admitted(
            &kinesis,
            1,
            "StartStreamEncryption",
            &start,
            "LimitExceededException",
        );
    }
    assert_eq!(starts, 25);
    wait(24 * 60 * 60).await;
    kinesis.ok("UpdateStreamMode", mode("ON_DEMAND"));
}

#[tokio::test(start_paused = true)]
async fn iterators_of_a_shard_have_a_rate() {
    let kinesis = with_quotas(Quotas::of_the_service());
    let request =
        |shard: &str| json!({"StreamName": "orders", "ShardId": shard, "ShardIteratorType": "LATEST"});
    let code = "ProvisionedThroughputExceededException";
    let got = |shard| admitted(&kinesis, 9, "GetShardIterator", &request(shard), code);
    assert_eq!((got("shardId-0"), got("shardId-1")), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn listings_of_a_stream_have_a_rate() {
    let kinesis = with_quotas(Quotas::of_the_service());
    let list = json!({"StreamName": "orders"});
    assert_eq!(
        admitted(&kinesis, 1_010, "ListShards", &list, "LimitExceededException"),
        1_000
    );
    kinesis.ok("CreateStream", json!({"StreamName": "payments", "ShardCount": 1}));
    kinesis.ok("ListShards", json!({"StreamName": "payments"}));
}

#[tokio::test(start_paused = true)]
async fn what_a_shard_sustains_can_be_set() {
    let kinesis = account_with(KinesisOptions {
        enforce_limits: true,
        rates: ShardRates {
            records_in: 3,
            reads: 1,
            ..ShardRates::default()
        },
        ..KinesisOptions::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    let entry = json!({"PartitionKey": "k", "Data": ""});
    let put = json!({"StreamName": "orders", "Records": vec![entry; 5]});
    let answer = kinesis.ok("PutRecords", put);
    assert_eq!(answer["FailedRecordCount"], 2);
    assert_eq!(
        answer["Records"][4],
        json!({
            "ErrorCode": "ProvisionedThroughputExceededException",
            "ErrorMessage": "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000."
        })
    );
    let read = json!({"ShardIterator": kinesis.iterator(0, "TRIM_HORIZON")});
    let code = "ProvisionedThroughputExceededException";
    assert_eq!(admitted(&kinesis, 3, "GetRecords", &read, code), 1);
}

/// Shards of on-demand streams are split when they take more than 500 bytes a second for a minute.
fn reacting() -> KinesisOptions {
    KinesisOptions {
        on_demand_reaction: Some(Duration::from_secs(60)),
        rates: ShardRates {
            bytes_in: 1_000,
            ..ShardRates::default()
        },
        ..KinesisOptions::default()
    }
}

/// Puts `bytes` bytes into the shard of one key in each of `seconds` seconds.
async fn load(kinesis: &Kinesis, bytes: usize, seconds: u64) {
    let content = "a".repeat(bytes);
    for _ in 0..seconds {
        kinesis.put(&content);
        wait(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_on_demand_stream_splits_the_shard_that_is_written_to() {
    let kinesis = account_with(reacting());
    let mode = json!({"StreamMode": "ON_DEMAND"});
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "orders", "StreamModeDetails": mode}),
    );
    load(&kinesis, 100, 130).await;
    let open = || kinesis.shard_ids(json!({"StreamName": "orders", "ShardFilter": {"Type": "AT_LATEST"}}));
    assert_eq!(open().len(), 4, "a tenth of what a shard sustains");
    let old = kinesis.put("a")["ShardId"].clone();
    load(&kinesis, 900, 130).await;
    assert_eq!(open().len(), 6, "once for each minute of high load");
    let summary = kinesis.ok("DescribeStreamSummary", json!({"StreamName": "orders"}));
    assert_eq!(summary["StreamDescriptionSummary"]["StreamStatus"], "ACTIVE");
    assert_ne!(kinesis.put("a")["ShardId"], old);
}

#[tokio::test(start_paused = true)]
async fn a_provisioned_stream_keeps_its_shards_under_any_load() {
    let kinesis = account_with(reacting());
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    load(&kinesis, 900, 130).await;
    assert_eq!(kinesis.shard_ids(json!({"StreamName": "orders"})).len(), 1);
}
