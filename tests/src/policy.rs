//! The permissions that the documentation asks for: whatever else a worker asks of the servers is refused.

use std::collections::BTreeSet;

use kcl_local::faults::{Call, Fault, FaultInjector, FaultScript};
use kcl_local::wire::Service;
use serde::Deserialize;

const POLICY: &str = include_str!("../../docs/iam-policy.json");

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    statement: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: BTreeSet<String>,
    resource: BTreeSet<String>,
}

/// What a request is about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Subject {
    table_name: Option<String>,
    index_name: Option<String>,
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
}

/// Refuses workers what the policy does not grant; what it grants meets the script's faults.
#[derive(Debug)]
pub(crate) struct Policed {
    policy: Policy,
    faults: FaultScript,
}

impl Policed {
    pub(crate) fn new(application: &str, stream: &str, faults: FaultScript) -> Self {
        let text = POLICY
            .replace("APPLICATION", application)
            .replace("STREAM", stream);
        Self {
            policy: serde_json::from_str(&text).expect("a policy"),
            faults,
        }
    }

    fn grants(&self, call: &Call<'_>) -> bool {
        let service = match call.service {
            Some(Service::Kinesis) => "kinesis",
            Some(Service::DynamoDb) => "dynamodb",
            _ => return false,
        };
        let action = format!("{service}:{}", call.operation);
        let resource = resource(call);
        self.policy.statement.iter().any(|statement| {
            let is_covered = |resource: &String| {
                let mut covered = statement.resource.iter().map(|arn| of_arn(arn));
                covered.any(|name| match name.strip_suffix('*') {
                    Some(beginning) => resource.starts_with(beginning),
                    None => name == resource,
                })
            };
            statement.action.contains(&action) && resource.as_ref().is_none_or(is_covered)
        })
    }
}

/// What of an ARN names the resource in its account.
fn of_arn(arn: &str) -> &str {
    arn.splitn(6, ':').last().unwrap_or_default()
}

/// The last part of the resource's ARN; none if the request names none, because a token stands for it.
fn resource(call: &Call<'_>) -> Option<String> {
    let subject: Subject = serde_json::from_slice(call.body).ok()?;
    if let Some(arn) = subject.consumer_arn.or(subject.stream_arn) {
        return Some(of_arn(&arn).to_owned());
    }
    if let Some(stream) = subject.stream_name {
        return Some(format!("stream/{stream}"));
    }
    let table = subject.table_name?;
    Some(match subject.index_name {
        Some(index) => format!("table/{table}/index/{index}"),
        None => format!("table/{table}"),
    })
}

impl FaultInjector for Policed {
    fn decide(&self, call: &Call<'_>) -> Fault {
        // The tests themselves may do everything.
        if call.client.is_empty() || self.grants(call) {
            return self.faults.decide(call);
        }
        Fault::respond(400, "AccessDeniedException")
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::bytes::Bytes;

    use super::*;

    #[test]
    fn what_the_policy_does_not_grant_is_refused() {
        let policed = Policed::new("app", "clicks", FaultScript::new());
        let is_granted = |service, operation, body: &'static str| {
            let call = Call {
                client: "w1",
                service: Some(service),
                operation,
                body: &Bytes::from_static(body.as_bytes()),
            };
            policed.grants(&call)
        };
        let dynamodb = |operation, body| is_granted(Service::DynamoDb, operation, body);
        assert!(dynamodb("Scan", r#"{"TableName":"app"}"#));
        assert!(!dynamodb("Scan", r#"{"TableName":"other"}"#));
        assert!(!dynamodb("DeleteTable", r#"{"TableName":"app"}"#));
        assert!(!dynamodb("Query", r#"{"TableName":"app"}"#));
        assert!(dynamodb(
            "Query",
            r#"{"TableName":"app","IndexName":"LeaseOwnerToLeaseKeyIndex"}"#
        ));
        let kinesis = |operation, body| is_granted(Service::Kinesis, operation, body);
        assert!(kinesis("ListShards", r#"{"StreamName":"clicks"}"#));
        assert!(kinesis("ListShards", r#"{"NextToken":"t"}"#));
        assert!(!kinesis("ListShards", r#"{"StreamName":"other"}"#));
        assert!(!kinesis("PutRecords", r#"{"StreamName":"clicks"}"#));
    }
}
