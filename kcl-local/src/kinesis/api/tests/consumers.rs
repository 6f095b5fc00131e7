use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

fn register(kinesis: &Kinesis, name: &str) -> Result<Value, ApiError> {
    kinesis.ask(
        "RegisterStreamConsumer",
        json!({"StreamARN": ARN, "ConsumerName": name}),
    )
}

fn status(kinesis: &Kinesis, name: &str) -> Result<String, &'static str> {
    let request = json!({"StreamARN": ARN, "ConsumerName": name});
    let answer = kinesis.ask("DescribeStreamConsumer", request);
    let answer = answer.map_err(|error| error.code)?;
    Ok(answer["ConsumerDescription"]["ConsumerStatus"]
        .as_str()
        .unwrap()
        .to_owned())
}

fn slow_account() -> Kinesis {
    let kinesis = account_with(KinesisOptions {
        consumer_delay: Duration::from_secs(10),
        ..KinesisOptions::default()
    });
    kinesis.ok("CreateStream", json!({"StreamName": "orders", "ShardCount": 1}));
    kinesis
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_created_becomes_active_and_goes() {
    let kinesis = slow_account();
    let consumer = register(&kinesis, "billing").unwrap()["Consumer"].clone();
    assert_eq!(
        consumer,
        json!({
            "ConsumerName": "billing", "ConsumerARN": format!("{ARN}/consumer/billing:1700000000"),
            "ConsumerStatus": "CREATING", "ConsumerCreationTimestamp": 1_700_000_000.0
        })
    );
    wait(10).await;
    let arn = &consumer["ConsumerARN"];
    let described = kinesis.ok("DescribeStreamConsumer", json!({"ConsumerARN": arn}));
    let described = &described["ConsumerDescription"];
    assert_eq!(
        (&described["ConsumerStatus"], &described["StreamARN"]),
        (&json!("ACTIVE"), &json!(ARN))
    );
    let summary = kinesis.ok("DescribeStreamSummary", json!({"StreamName": "orders"}));
    assert_eq!(summary["StreamDescriptionSummary"]["ConsumerCount"], 1);
    kinesis.ok("DeregisterStreamConsumer", json!({"ConsumerARN": arn}));
    assert_eq!(status(&kinesis, "billing").as_deref(), Ok("DELETING"));
    assert_eq!(
        register(&kinesis, "billing").unwrap_err().code,
        "ResourceInUseException"
    );
    wait(10).await;
    assert_eq!(status(&kinesis, "billing"), Err("ResourceNotFoundException"));

    register(&kinesis, "billing").unwrap();
    let refusal = kinesis.refusal("DescribeStreamConsumer", json!({"ConsumerARN": arn}));
    assert_eq!(
        refusal, "ResourceNotFoundException",
        "the ARN is that of the former one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_twenty_consumers_of_which_five_are_being_created() {
    let kinesis = slow_account();
    for number in 0..20 {
        register(&kinesis, &format!("consumer-{number:02}")).unwrap();
        if number % 5 == 4 {
            let refused = register(&kinesis, "one-more").unwrap_err();
            assert_eq!(refused.code, "LimitExceededException", "five are being created");
            wait(10).await;
        }
    }
    let refused = register(&kinesis, "one-more").unwrap_err();
    assert_eq!(refused.code, "LimitExceededException");
    let one = json!({"StreamARN": ARN, "ConsumerName": "consumer-07"});
    kinesis.ok("DeregisterStreamConsumer", one);
    wait(10).await;
    register(&kinesis, "one-more").unwrap();
}

#[tokio::test(start_paused = true)]
async fn consumers_are_listed_page_by_page() {
    let kinesis = account_with_stream(1);
    for name in ["c", "a", "b"] {
        register(&kinesis, name).unwrap();
    }
    let names = |answer: &Value| -> Vec<String> {
        let consumers = answer["Consumers"].as_array().unwrap().iter();
        consumers
            .map(|consumer| consumer["ConsumerName"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = kinesis.ok("ListStreamConsumers", json!({"StreamARN": ARN, "MaxResults": 2}));
    assert_eq!(names(&first), ["a", "b"]);
    let token = &first["NextToken"];
    let second = kinesis.ok(
        "ListStreamConsumers",
        json!({"StreamARN": ARN, "NextToken": token}),
    );
    assert_eq!(names(&second), ["c"]);
    assert!(second.get("NextToken").is_none());
    let at = |seconds: f64| json!({"StreamARN": ARN, "StreamCreationTimestamp": seconds});
    assert_eq!(
        names(&kinesis.ok("ListStreamConsumers", at(1_700_000_000.0))).len(),
        3
    );
    let refusal = kinesis.refusal("ListStreamConsumers", at(1_600_000_000.0));
    assert_eq!(refusal, "ResourceNotFoundException", "a stream of another time");
}

#[tokio::test(start_paused = true)]
async fn what_names_no_consumer_is_refused() {
    let kinesis = account_with_stream(1);
    register(&kinesis, "billing").unwrap();
    assert_eq!(
        register(&kinesis, "billing").unwrap_err().code,
        "ResourceInUseException"
    );
    let own = format!("{ARN}/consumer/billing:1700000000");
    for (request, code) in [
        (json!({}), "InvalidArgumentException"),
        (json!({"StreamARN": ARN}), "InvalidArgumentException"),
        (json!({"ConsumerARN": ARN}), "ValidationException"),
        (
            json!({"ConsumerARN": format!("{ARN}/consumer/billing")}),
            "ValidationException",
        ),
        (
            json!({"ConsumerARN": own, "ConsumerName": "other"}),
            "InvalidArgumentException",
        ),
        (
            json!({"ConsumerARN": own.replace("orders", "payments")}),
            "ResourceNotFoundException",
        ),
        (
            json!({"StreamARN": ARN, "ConsumerName": "other"}),
            "ResourceNotFoundException",
        ),
        (
            json!({"StreamARN": ARN, "ConsumerName": "a b"}),
            "ValidationException",
        ),
    ] {
        let refusal = kinesis.refusal("DescribeStreamConsumer", request.clone());
        assert_eq!(refusal, code, "{request}");
    }
    for request in [
        json!({"StreamARN": ARN}),
        json!({"ConsumerName": "x"}),
        json!({"StreamARN": ARN, "ConsumerName": "x", "Tags": {}}),
    ] {
        assert_eq!(
            kinesis.refusal("RegisterStreamConsumer", request),
            "ValidationException"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_consumers_is_deleted_only_with_them() {
    let kinesis = account_with_stream(1);
    register(&kinesis, "billing").unwrap();
    let refusal = kinesis.refusal("DeleteStream", json!({"StreamName": "orders"}));
    assert_eq!(refusal, "ResourceInUseException");
    let enforced = json!({"StreamName": "orders", "EnforceConsumerDeletion": true});
    kinesis.ok("DeleteStream", enforced);
    assert_eq!(status(&kinesis, "billing"), Err("ResourceNotFoundException"));
}
