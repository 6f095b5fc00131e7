use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::faults::{Call, Fault, FaultInjector, Interruption, Loss, Outcome};
use crate::wire::Service;

fn plan(rules: Value) -> Result<FaultPlan, PlanError> {
    let plan = FaultPlan::default();
    plan.replace_from_json(json!({ "rules": rules }).to_string().as_bytes())?;
    Ok(plan)
}

fn fate(plan: &FaultPlan, client: &str, operation: &str, body: &Value) -> Fault {
    plan.script().decide(&Call {
        client,
        service: Some(Service::Kinesis),
        operation,
        body: &Bytes::from(body.to_string()),
    })
}

/// What a request of anybody meets under one rule.
fn met(rule: Value, operation: &str) -> Fault {
    let plan = plan(json!([rule])).unwrap();
    fate(&plan, "", operation, &json!({}))
}

#[test]
fn every_kind_of_trouble_can_be_written_down() {
    for (fault, operation, expected) in [
        (json!("throttle"), "PutItem", Fault::throttled()),
        (json!("internal_error"), "PutItem", Fault::internal_error()),
        (
            json!("expired_iterator"),
            "GetRecords",
            Fault::respond(400, "ExpiredIteratorException"),
        ),
        (
            json!({"error": {"code": "LimitExceededException"}}),
            "PutItem",
            Fault::respond(400, "LimitExceededException"),
        ),
        (
            json!({"error": {"code": "InternalFailure"}}),
            "PutItem",
            Fault::respond(500, "InternalFailure"),
        ),
        (
            json!({"error": {"code": "Odd", "status": 418}}),
            "PutItem",
            Fault::respond(418, "Odd"),
        ),
        (
            json!({"drop_request": "reset"}),
            "PutItem",
            Fault::drop_request(Loss::Reset),
        ),
        (
            json!({"drop_answer": "hang"}),
            "PutItem",
            Fault::drop_answer(Loss::Hang),
        ),
        (
            json!({"stale": "2s"}),
            "Query",
            Fault::stale(Duration::from_secs(2)),
        ),
        (
            json!({"empty_page": "1m 30s"}),
            "GetRecords",
            Fault::empty_page(Duration::from_secs(90)),
        ),
        (
            json!({"interrupt": {"after": "1s", "how": {"exception": "InternalFailureException"}}}),
            "SubscribeToShard",
            Fault::interrupted(
                Duration::from_secs(1),
                Interruption::exception("InternalFailureException"),
            ),
        ),
        (json!("cut"), "PutItem", Fault::unreachable()),
        (
            json!("aws:kinesis:inject-api-provisioned-throughput-exception"),
            "PutRecords",
            Fault::throttled(),
        ),
        (
            json!("aws:fis:inject-api-unavailable-error"),
            "PutRecords",
            Fault::respond(503, "ServiceUnavailable"),
        ),
    ] {
        assert_eq!(met(json!({ "fault": fault }), operation), expected, "{fault}");
    }
    let frozen = met(json!({ "fault": "freeze" }), "PutItem");
    assert!(matches!(frozen.outcome, Outcome::Freeze(_)));
    let slow = met(
        json!({ "delay": "200ms", "answer_delay": "1s", "bytes_per_second": 10 }),
        "PutItem",
    );
    assert_eq!(slow.delay_before, Duration::from_millis(200));
    assert_eq!(slow.delay_after, Duration::from_secs(1));
    assert_eq!(slow.bytes_per_second.map(u64::from), Some(10));
}

#[test]
fn a_fault_is_for_the_operations_that_can_meet_it() {
    let expired = json!({ "fault": "expired_iterator" });
    assert_eq!(met(expired.clone(), "PutRecord"), Fault::none());
    let injected = json!({ "fault": "aws:kinesis:inject-api-provisioned-throughput-exception" });
    assert_eq!(met(injected, "DescribeStream"), Fault::none());
    let mut stray = expired;
    stray["operation"] = json!("PutRecord");
    assert_eq!(
        plan(json!([stray])).unwrap_err().to_string(),
        "rule 1: this fault is for GetRecords, and not for PutRecord"
    );
}

#[test]
fn a_rule_is_for_whom_and_what_it_names() {
    let plan = plan(json!([{
        "operation": ["GetRecords", "PutRecord"], "resource": "orders", "client": "a", "service": "kinesis",
        "skip": 1, "count": 1, "fault": "throttle"
    }]))
    .unwrap();
    let orders = json!({ "StreamName": "orders" });
    assert_eq!(fate(&plan, "b", "PutRecord", &orders), Fault::none());
    assert_eq!(fate(&plan, "a", "PutRecords", &orders), Fault::none());
    assert_eq!(
        fate(&plan, "a", "PutRecord", &json!({ "StreamName": "clicks" })),
        Fault::none()
    );
    assert_eq!(fate(&plan, "a", "PutRecord", &orders), Fault::none(), "skipped");
    assert_eq!(fate(&plan, "a", "GetRecords", &orders), Fault::throttled());
    assert_eq!(
        fate(&plan, "a", "PutRecord", &orders),
        Fault::none(),
        "one is enough"
    );
    let [rule] = &plan.list()[..] else {
        panic!("one rule")
    };
    assert_eq!((rule.matched, rule.hits, rule.over), (2, 1, true));
}

#[test]
fn what_is_unknown_is_refused_with_what_is_allowed() {
    for (rule, said) in [
        (
            json!({ "opperation": "GetRecords", "fault": "cut" }),
            "expected one of `name`, `operation`",
        ),
        (
            json!({ "operation": "GetRecord", "fault": "cut" }),
            "did you mean GetRecords?",
        ),
        (json!({ "operation": [], "fault": "cut" }), "leave it out for all"),
        (
            json!({ "operation": 7, "fault": "cut" }),
            "the name of an operation, or a list of names",
        ),
        (
            json!({ "fault": "throttel" }),
            "expected one of `error`, `throttle`",
        ),
        (
            json!({ "fault": { "error": { "code": "X", "kode": 1 } } }),
            "expected one of `code`, `status`, `message`",
        ),
        (
            json!({ "fault": { "error": { "code": "no name" } } }),
            "code is the name of an error",
        ),
        (
            json!({ "fault": { "error": { "code": "X", "status": 200 } } }),
            "400 to 599",
        ),
        (
            json!({ "fault": { "drop_request": "politely" } }),
            "expected `reset` or `hang`",
        ),
        (json!({ "fault": { "stale": 2 } }), "a duration with its unit"),
        (json!({ "delay": "soon" }), "such as \"200ms\""),
        (json!({ "delay": "20000y" }), "ten years at most"),
        (
            json!({ "service": "sqs", "fault": "cut" }),
            "expected one of `kinesis`, `dynamodb`",
        ),
        (json!({ "probability": 1.5, "fault": "cut" }), "0 to 1"),
        (json!({ "count": 0, "fault": "cut" }), "leave the rule out"),
        (json!({ "count": -1, "fault": "cut" }), "u64"),
        (json!({ "name": "", "fault": "cut" }), "name has 1 to 64"),
        (
            json!({ "operation": "GetRecords" }),
            "a rule needs a fault, a delay",
        ),
    ] {
        let refused = plan(json!([rule])).unwrap_err().to_string();
        assert!(refused.contains(said), "{rule}: {refused}");
    }
    let deep = "[".repeat(100_000);
    assert!(FaultPlan::default().add_from_json(deep.as_bytes()).is_err());
}

#[test]
fn what_is_refused_changes_nothing() {
    let plan = plan(json!([{ "name": "one", "fault": "throttle" }])).unwrap();
    let half_good = br#"{"rules": [{"fault": "cut"}, {"name": "one", "fault": "cut"}]}"#;
    let taken = plan.add_from_json(half_good).unwrap_err();
    assert_eq!(taken, PlanError::Taken("one".to_owned()));
    let bad = br#"{"rules": [{"fault": "cut"}, {}]}"#;
    assert!(plan.replace_from_json(bad).is_err());
    assert_eq!(plan.list().len(), 1);
    assert_eq!(fate(&plan, "", "Scan", &json!({})), Fault::throttled());
}

#[test]
fn rules_come_and_go_by_their_names() {
    let plan = plan(json!([{ "name": "rule-1", "fault": "throttle" }])).unwrap();
    assert_eq!(plan.add_from_json(br#"{"fault": "cut"}"#).unwrap(), ["rule-2"]);
    plan.remove("rule-1").unwrap();
    assert_eq!(
        plan.remove("rule-1"),
        Err(PlanError::Unknown("rule-1".to_owned()))
    );
    assert_eq!(fate(&plan, "", "Scan", &json!({})), Fault::unreachable());
    plan.clear();
    assert_eq!(fate(&plan, "", "Scan", &json!({})), Fault::none());
    assert!(plan.list().is_empty());
}

#[test]
fn what_is_listed_can_be_put_back() {
    let rules = json!([
        { "name": "a", "operation": "GetRecords", "probability": 0.5, "seed": 3, "delay": "200ms" },
        { "name": "b", "operation": ["Query", "Scan"], "index": "ByOwner", "for": "1m 30s", "fault": { "stale": "2s" } },
        { "name": "c", "fault": { "interrupt": { "after": "1s", "how": "stall" } } },
        { "name": "d", "fault": "aws:kinesis:inject-api-expired-iterator-exception" },
    ]);
    let first = plan(rules.clone()).unwrap();
    let listed: Vec<RuleForm> = first.list().into_iter().map(|planned| planned.rule).collect();
    assert_eq!(serde_json::to_value(&listed).unwrap(), rules);
    let second = FaultPlan::default();
    second.add(listed).unwrap();
    assert_eq!(second.list(), first.list());
}

#[test]
fn rules_that_share_a_seed_pick_different_requests() {
    let half = json!({ "probability": 0.5, "fault": "throttle", "operation": "Scan" });
    let other = json!({ "probability": 0.5, "fault": "throttle", "operation": "Query" });
    let plan = plan(json!([half, other])).unwrap();
    let picked = |operation| {
        (0..64)
            .map(|_| fate(&plan, "", operation, &json!({})) == Fault::throttled())
            .collect::<Vec<_>>()
    };
    assert_ne!(picked("Scan"), picked("Query"));
}
