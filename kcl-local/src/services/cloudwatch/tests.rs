use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::*;

/// Noon of a day, in seconds and in milliseconds.
const NOON: u64 = 1_764_417_600;

fn cloudwatch() -> CloudWatch {
    CloudWatch::new(Clock::starting_at(UNIX_EPOCH + Duration::from_secs(NOON)))
}

fn put(cloudwatch: &CloudWatch, data: Value) -> Result<Shape, Refusal> {
    let request = json!({ "Namespace": "App", "MetricData": data });
    cloudwatch.put(serde_json::from_value(request).unwrap())
}

fn statistics(cloudwatch: &CloudWatch, more: Value) -> Result<Value, Refusal> {
    let mut request = json!({
        "Namespace": "App", "MetricName": "Lag", "StartTime": NOON - 3600, "EndTime": NOON + 3600, "Period": 60,
        "Statistics": ["Sum", "Average", "SampleCount", "Minimum", "Maximum"],
    });
    for (name, value) in more.as_object().unwrap() {
        request[name] = value.clone();
    }
    let request = serde_json::from_value(request).unwrap();
    Ok(cloudwatch.statistics(&request)?.json()["Datapoints"].clone())
}

#[tokio::test(start_paused = true)]
async fn numbers_are_summed_up_by_periods() {
    let cloudwatch = cloudwatch();
    put(
        &cloudwatch,
        json!([{ "MetricName": "Lag", "Value": 1 }, { "MetricName": "Lag", "Value": 5.5 }]),
    )
    .unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let counted = json!([{ "MetricName": "Lag", "Values": [2, 4], "Counts": [3, 1] }]);
    put(&cloudwatch, counted).unwrap();
    let set = json!({ "SampleCount": 2, "Sum": 20, "Minimum": 5, "Maximum": 15 });
    put(
        &cloudwatch,
        json!([{ "MetricName": "Lag", "StatisticValues": set }]),
    )
    .unwrap();
    let point = |time: u64, count: f64, sum: f64, least: f64, most: f64| {
        json!({
            "Timestamp": time as f64, "Unit": "None", "SampleCount": count, "Average": sum / count, "Sum": sum,
            "Minimum": least, "Maximum": most,
        })
    };
    assert_eq!(
        statistics(&cloudwatch, json!({})).unwrap(),
        json!([
            point(NOON, 2.0, 6.5, 1.0, 5.5),
            point(NOON + 60, 6.0, 30.0, 2.0, 15.0)
        ])
    );
    let whole = statistics(&cloudwatch, json!({ "Period": 3600 })).unwrap();
    assert_eq!(whole, json!([point(NOON, 8.0, 36.5, 1.0, 15.0)]));
    let before = json!({ "EndTime": NOON });
    assert_eq!(statistics(&cloudwatch, before).unwrap(), json!([]));
}

#[tokio::test]
async fn metrics_are_told_apart_by_their_dimensions() {
    let cloudwatch = cloudwatch();
    let of = |stream: &str| json!([{ "Name": "Stream", "Value": stream }, { "Name": "App", "Value": "a" }]);
    put(
        &cloudwatch,
        json!([
            { "MetricName": "Lag", "Value": 1, "Dimensions": of("orders") },
            { "MetricName": "Lag", "Value": 2, "Dimensions": of("clicks") },
        ]),
    )
    .unwrap();
    let list = |request: Value| {
        let listed = cloudwatch
            .list(&serde_json::from_value(request).unwrap())
            .unwrap();
        listed.json()["Metrics"].as_array().unwrap().len()
    };
    assert_eq!(list(json!({})), 2);
    assert_eq!(list(json!({ "Dimensions": [{ "Name": "App" }] })), 2);
    assert_eq!(
        list(json!({ "Dimensions": [{ "Name": "Stream", "Value": "orders" }] })),
        1
    );
    assert_eq!(list(json!({ "Namespace": "Other" })), 0);
    let reversed = json!([{ "Name": "App", "Value": "a" }, { "Name": "Stream", "Value": "orders" }]);
    let points = statistics(&cloudwatch, json!({ "Dimensions": reversed })).unwrap();
    assert_eq!(points[0]["Sum"], json!(1.0));
    assert_eq!(statistics(&cloudwatch, json!({})).unwrap(), json!([]));
}

#[tokio::test]
async fn a_long_listing_goes_on_from_its_token() {
    let cloudwatch = cloudwatch();
    let data = |from: usize| {
        let all = from..from + 600;
        Value::from(
            all.map(|number| json!({ "MetricName": format!("m{number:04}"), "Value": 1 }))
                .collect::<Vec<_>>(),
        )
    };
    put(&cloudwatch, data(0)).unwrap();
    let list = |token: Option<&str>| {
        let request = serde_json::from_value(json!({ "NextToken": token })).unwrap();
        cloudwatch.list(&request).map(|listed| listed.json())
    };
    let first = list(None).unwrap();
    assert_eq!(first["Metrics"].as_array().unwrap().len(), 500);
    let second = list(first["NextToken"].as_str()).unwrap();
    assert_eq!(second["Metrics"].as_array().unwrap().len(), 100);
    assert!(second.get("NextToken").is_none());
    assert_eq!(list(Some("nonsense")).unwrap_err().code, "InvalidParameterValue");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_as_a_whole() {
    let cloudwatch = cloudwatch();
    for (datum, code) in [
        (json!({ "Value": 1 }), "MissingParameter"),
        (json!({ "MetricName": "Lag" }), "InvalidParameterCombination"),
        (
            json!({ "MetricName": "Lag", "Value": 1, "Values": [1] }),
            "InvalidParameterCombination",
        ),
        (
            json!({ "MetricName": "Lag", "Value": "NaN" }),
            "InvalidParameterValue",
        ),
        (
            json!({ "MetricName": "Lag", "Values": [1, 2], "Counts": [1] }),
            "InvalidParameterValue",
        ),
        (
            json!({ "MetricName": "x".repeat(2_000), "Value": 1 }),
            "InvalidParameterValue",
        ),
    ] {
        let good = json!({ "MetricName": "Lag", "Value": 1 });
        let refused = put(&cloudwatch, json!([good, datum])).unwrap_err();
        assert_eq!(refused.code, code, "{datum}");
    }
    assert_eq!(put(&cloudwatch, json!([])).unwrap_err().code, "MissingParameter");
    assert_eq!(statistics(&cloudwatch, json!({})).unwrap(), json!([]));
    for (more, code) in [
        (json!({ "Period": 7 }), "InvalidParameterValue"),
        (json!({ "Period": 1 }), "InvalidParameterCombination"),
        (json!({ "Statistics": ["Median"] }), "InvalidParameterValue"),
        (json!({ "Statistics": [] }), "MissingParameter"),
        (json!({ "ExtendedStatistics": ["p99"] }), "InvalidParameterValue"),
        (json!({ "EndTime": NOON - 7200 }), "InvalidParameterValue"),
    ] {
        assert_eq!(
            statistics(&cloudwatch, more.clone()).unwrap_err().code,
            code,
            "{more}"
        );
    }
}
