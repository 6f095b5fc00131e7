use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::clock::Clock;

fn admin() -> Admin {
    let clock = Clock::starting_at(UNIX_EPOCH + Duration::from_secs(1_764_417_600));
    let site = Site {
        scheme: "http",
        ..Site::default()
    };
    Admin::new(Backend::builder().clock(clock).build(), site)
}

fn ask(admin: &Admin, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let body = match body {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost:4567")
        .header("content-type", "application/json")
        .body(body);
    let answer = admin.answer(&request.unwrap());
    let body = answer.body().whole().unwrap();
    (answer.status().as_u16(), serde_json::from_slice(body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_put_added_to_listed_and_cleared() {
    let admin = admin();
    let plan =
        json!({ "seed": 3, "rules": [{ "name": "slow", "operation": "GetRecords", "delay": "200ms" }] });
    let (status, listed) = ask(&admin, Method::PUT, "/_kcl-local/faults", &plan);
    assert_eq!(status, 200);
    assert_eq!(
        listed["rules"][0],
        json!({ "name": "slow", "operation": "GetRecords", "delay": "200ms", "matched": 0, "hits": 0, "over": false })
    );
    let (status, added) = ask(
        &admin,
        Method::POST,
        "/_kcl-local/faults",
        &json!({ "fault": "throttle" }),
    );
    assert_eq!((status, &added["rules"][0]["name"]), (201, &json!("rule-1")));
    let (status, taken) = ask(
        &admin,
        Method::POST,
        "/_kcl-local/faults",
        &json!({ "name": "slow", "fault": "cut" }),
    );
    assert_eq!(status, 409, "{taken}");

    let (status, one) = ask(&admin, Method::GET, "/_kcl-local/faults/slow", &Value::Null);
    assert_eq!((status, &one["delay"]), (200, &json!("200ms")));
    let (status, left) = ask(&admin, Method::DELETE, "/_kcl-local/faults/slow", &Value::Null);
    assert_eq!((status, left["rules"].as_array().unwrap().len()), (200, 1));
    assert_eq!(
        ask(&admin, Method::DELETE, "/_kcl-local/faults/slow", &Value::Null).0,
        404
    );
    let (_, none) = ask(&admin, Method::DELETE, "/_kcl-local/faults", &Value::Null);
    assert_eq!(none, json!({ "rules": [] }));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_explained() {
    let admin = admin();
    for (method, path, body, status, said) in [
        (
            Method::PUT,
            "/faults",
            json!({ "rule": [] }),
            400,
            "expected `seed` or `rules`",
        ),
        (
            Method::POST,
            "/faults",
            json!({ "fault": "throttel" }),
            400,
            "expected one of `error`",
        ),
        (
            Method::PUT,
            "/faults/x",
            json!({}),
            405,
            "takes GET, DELETE, and not PUT",
        ),
        (Method::GET, "/reset", Value::Null, 405, "takes POST, and not GET"),
        (
            Method::POST,
            "/reset",
            json!({ "keep": 1 }),
            400,
            "reset takes no body",
        ),
        (
            Method::GET,
            "/fault",
            Value::Null,
            404,
            "GET, PUT, POST, DELETE /_kcl-local/faults",
        ),
        (
            Method::PUT,
            "/clock",
            json!({}),
            400,
            "give pace, advance or advance_to",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "pace": "fast" }),
            400,
            "\\\"real\\\", \\\"paused\\\"",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "pace": -1 }),
            400,
            "0 (paused) to 10000 times",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "advance": 5 }),
            400,
            "a duration with its unit",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "advance_to": "2020-01-01T00:00:00Z" }),
            400,
            "time does not go back",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "advance_to": "tomorrow" }),
            400,
            "2026-12-01T08:00:00Z",
        ),
        (
            Method::PUT,
            "/clock",
            json!({ "step": "1h" }),
            400,
            "expected one of `pace`, `advance`, `advance_to`",
        ),
    ] {
        let (answered, error) = ask(&admin, method.clone(), &format!("/_kcl-local{path}"), &body);
        assert_eq!(answered, status, "{method} {path} {body}: {error}");
        let error = error["error"].to_string();
        assert!(error.contains(said), "{method} {path} {body}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_is_paused_moved_on_and_made_fast() {
    let admin = admin();
    let (_, paused) = ask(
        &admin,
        Method::PUT,
        "/_kcl-local/clock",
        &json!({ "pace": "paused", "advance": "25h" }),
    );
    assert_eq!(paused["now"], "2025-11-30T13:00:00.000Z");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        ask(&admin, Method::GET, "/_kcl-local/clock", &Value::Null).1,
        paused
    );
    let to = json!({ "advance_to": "2025-12-01T00:00:00Z", "pace": 60 });
    ask(&admin, Method::PUT, "/_kcl-local/clock", &to);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let (_, later) = ask(&admin, Method::GET, "/_kcl-local/clock", &Value::Null);
    assert_eq!(later["now"], "2025-12-01T01:00:00.000Z");
    assert_eq!(later["pace"], 60.0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_time_leaves_the_clock_alone() {
    let admin = admin();
    let (_, before) = ask(&admin, Method::GET, "/_kcl-local/clock", &Value::Null);
    let (status, _) = ask(
        &admin,
        Method::PUT,
        "/_kcl-local/clock",
        &json!({ "advance": "1h", "pace": 1e9 }),
    );
    assert_eq!(status, 400);
    assert_eq!(
        ask(&admin, Method::GET, "/_kcl-local/clock", &Value::Null).1,
        before
    );
}

#[tokio::test(start_paused = true)]
async fn a_reset_brings_back_what_it_began_with() {
    let admin = admin();
    let backend = admin.backend.clone();
    backend.begin_with_stream("orders", 2).unwrap();
    let plan = serde_json::from_value(json!({ "rules": [{ "name": "slow", "delay": "1s" }] }));
    backend.begin_with_plan(plan.unwrap()).unwrap();
    let kinesis = backend.kinesis();
    let call =
        |operation, body: Value| kinesis.call(operation, &Bytes::from(body.to_string()), &crate::wire::Json);
    call("CreateStream", json!({ "StreamName": "clicks", "ShardCount": 1 })).unwrap();
    call(
        "PutRecord",
        json!({ "StreamName": "orders", "PartitionKey": "k", "Data": "aGk=" }),
    )
    .unwrap();
    backend
        .dynamodb()
        .ask::<Value>(
            "CreateTable",
            json!({
                "TableName": "leases", "BillingMode": "PAY_PER_REQUEST", "DeletionProtectionEnabled": true,
                "AttributeDefinitions": [{ "AttributeName": "leaseKey", "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": "leaseKey", "KeyType": "HASH" }],
            }),
        )
        .unwrap();
    ask(
        &admin,
        Method::POST,
        "/_kcl-local/faults",
        &json!({ "fault": "cut" }),
    );
    let (_, health) = ask(&admin, Method::GET, "/_kcl-local/health", &Value::Null);
    assert_eq!(
        (&health["streams"], &health["tables"], &health["faults"]),
        (&json!(2), &json!(1), &json!(2))
    );

    let (status, health) = ask(&admin, Method::POST, "/_kcl-local/reset", &Value::Null);
    assert_eq!(status, 200, "{health}");
    assert_eq!(
        (&health["streams"], &health["tables"], &health["faults"]),
        (&json!(1), &json!(0), &json!(1))
    );
    let (_, world) = ask(
        &admin,
        Method::GET,
        "/_kcl-local/world?stream=orders",
        &Value::Null,
    );
    assert_eq!(world["stream"]["shards"].as_array().unwrap().len(), 2);
    assert_eq!(world["streams"][0]["records"], 0);
}

#[tokio::test(start_paused = true)]
async fn the_world_shows_records_and_rows() {
    let admin = admin();
    let backend = admin.backend.clone();
    backend.begin_with_stream("orders", 1).unwrap();
    for data in ["aGVsbG8=", "/wA="] {
        let put = json!({ "StreamName": "orders", "PartitionKey": "k", "Data": data });
        let put = Bytes::from(put.to_string());
        backend
            .kinesis()
            .call("PutRecord", &put, &crate::wire::Json)
            .unwrap();
    }
    let (_, world) = ask(
        &admin,
        Method::GET,
        "/_kcl-local/world?stream=orders&table=none",
        &Value::Null,
    );
    let shard = &world["stream"]["shards"][0];
    assert_eq!(
        (&shard["id"], &shard["put"]),
        (&json!("shardId-000000000000"), &json!(2))
    );
    assert_eq!(shard["ending_hash_key"], u128::MAX.to_string());
    assert_eq!(shard["newest"][0]["text"], "hello");
    assert_eq!(
        (&shard["newest"][1]["text"], &shard["newest"][1]["base64"]),
        (&Value::Null, &json!("/wA="))
    );
    assert_eq!(world["table"], Value::Null);
}

#[tokio::test]
async fn a_browser_gets_a_page_and_others_do_not() {
    let admin = admin();
    let request = |path: &str, accept: &str| {
        let request = Request::get(path).header("host", "localhost:4567");
        request.header("accept", accept).body(Bytes::new()).unwrap()
    };
    for (path, accept) in [
        ("/", "text/html,*/*;q=0.8"),
        ("/_kcl-local/", "*/*"),
        ("/_kcl-local", "*/*"),
    ] {
        let answer = admin.answer(&request(path, accept));
        assert_eq!(
            answer.headers()["content-type"],
            "text/html; charset=utf-8",
            "{path}"
        );
    }
    assert!(!admin.is_asked(&request("/", "*/*")));
    assert!(!admin.is_asked(&request("/_kcl-locale", "text/html")));
}
