use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

/// A stream and one of its consumers, by ARN.
fn resources(kinesis: &Kinesis) -> [String; 2] {
    let consumer = kinesis.ok(
        "RegisterStreamConsumer",
        json!({"StreamARN": ARN, "ConsumerName": "billing", "Tags": {"team": "blue"}}),
    );
    let arn = consumer["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
    [ARN.to_owned(), arn]
}

fn tags(kinesis: &Kinesis, arn: &str) -> Value {
    kinesis.ok("ListTagsForResource", json!({"ResourceARN": arn}))["Tags"].clone()
}

#[tokio::test(start_paused = true)]
async fn streams_and_consumers_have_tags_of_their_own() {
    let kinesis = account();
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": 1, "Tags": {"team": "red"}}),
    );
    let [stream, consumer] = resources(&kinesis);
    assert_eq!(tags(&kinesis, &stream), json!([{"Key": "team", "Value": "red"}]));
    assert_eq!(
        tags(&kinesis, &consumer),
        json!([{"Key": "team", "Value": "blue"}])
    );
    for arn in [&stream, &consumer] {
        kinesis.ok(
            "TagResource",
            json!({"ResourceARN": arn, "Tags": {"team": "green", "cost": "7"}}),
        );
        let both = json!([{"Key": "cost", "Value": "7"}, {"Key": "team", "Value": "green"}]);
        assert_eq!(tags(&kinesis, arn), both);
        kinesis.ok(
            "UntagResource",
            json!({"ResourceARN": arn, "TagKeys": ["team", "colour"]}),
        );
        assert_eq!(tags(&kinesis, arn), json!([{"Key": "cost", "Value": "7"}]));
    }
    let by_name = kinesis.ok("ListTagsForStream", json!({"StreamName": "orders"}));
    assert_eq!(by_name["Tags"], json!([{"Key": "cost", "Value": "7"}]));
}

#[tokio::test(start_paused = true)]
async fn tags_that_break_the_rules_are_refused() {
    let kinesis = account_with_stream(1);
    let [stream, consumer] = resources(&kinesis);
    for arn in [&stream, &consumer] {
        let tag = |tags: Value| kinesis.told("TagResource", json!({"ResourceARN": arn, "Tags": tags}));
        for (key, words) in [
            ("a;b", "Some tags contain invalid characters."),
            ("a\tb", "Some tags contain invalid characters."),
            ("a%b", "some tags contained illegal characters."),
        ] {
            let (code, message) = tag(json!({key: "v"}));
            assert_eq!(code, "InvalidArgumentException");
            assert!(message.contains(words), "{message}");
        }
        let many: serde_json::Map<_, _> = (0..51).map(|n| (format!("t{n}"), json!("v"))).collect();
        assert_eq!(tag(Value::Object(many)).0, "InvalidArgumentException");
        assert_eq!(tag(json!({})).0, "ValidationException");
        kinesis.ok(
            "TagResource",
            json!({"ResourceARN": arn, "Tags": {"ü0 _.": "/=+-@:"}}),
        );
    }
}

#[tokio::test(start_paused = true)]
async fn streams_and_consumers_have_policies() {
    let kinesis = account_with_stream(1);
    for arn in resources(&kinesis) {
        let get = json!({"ResourceARN": arn});
        assert_eq!(
            kinesis.refusal("GetResourcePolicy", get.clone()),
            "ResourceNotFoundException"
        );
        let policy = r#"{"Version": "2012-10-17", "Statement": []}"#;
        let put = |policy: &str| json!({"ResourceARN": arn, "Policy": policy});
        kinesis.ok("PutResourcePolicy", put(policy));
        assert_eq!(kinesis.ok("GetResourcePolicy", get.clone())["Policy"], policy);
        for wrong in [
            "",
            "[]",
            "{",
            &format!("{{\"a\": \"{}\"}}", "b".repeat(20 * 1024)),
        ] {
            assert_eq!(
                kinesis.refusal("PutResourcePolicy", put(wrong)),
                "InvalidArgumentException",
                "{wrong:.20}"
            );
        }
        assert_eq!(kinesis.ok("GetResourcePolicy", get.clone())["Policy"], policy);
        kinesis.ok("DeleteResourcePolicy", get.clone());
        assert_eq!(
            kinesis.refusal("DeleteResourcePolicy", get),
            "ResourceNotFoundException"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn resources_that_there_are_not_are_not_found() {
    let kinesis = account_with_stream(1);
    for rest in [
        "stream/payments",
        "stream/orders/consumer/audit:17",
        "queue/orders",
        "channel/orders",
    ] {
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:{rest}");
        let list = json!({"ResourceARN": arn});
        assert_eq!(
            kinesis.refusal("ListTagsForResource", list),
            "ResourceNotFoundException",
            "{rest}"
        );
    }
    let elsewhere = json!({"ResourceARN": ARN.replace("us-east-1", "eu-west-1")});
    assert_eq!(
        kinesis.refusal("ListTagsForResource", elsewhere),
        "ResourceNotFoundException"
    );
    assert_eq!(
        kinesis.refusal("ListTagsForResource", json!({"ResourceARN": "orders"})),
        "ValidationException"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_being_created_keeps_its_tags_as_they_are() {
    let kinesis = account_with(KinesisOptions {
        create_delay: Duration::from_secs(10),
        ..KinesisOptions::default()
    });
    kinesis.ok(
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": 1, "Tags": {"team": "red"}}),
    );
    assert_eq!(tags(&kinesis, ARN), json!([{"Key": "team", "Value": "red"}]));
    let tag = json!({"ResourceARN": ARN, "Tags": {"team": "blue"}});
    assert_eq!(
        kinesis.refusal("TagResource", tag.clone()),
        "ResourceInUseException"
    );
    let add = json!({"StreamName": "orders", "Tags": {"team": "blue"}});
    assert_eq!(kinesis.refusal("AddTagsToStream", add), "ResourceInUseException");
    wait(10).await;
    kinesis.ok("TagResource", tag);
}
