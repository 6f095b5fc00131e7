//! What an application asks of other services than Kinesis and DynamoDB when one endpoint is given to it for all.
//!
//! Who it is (STS), and that its numbers arrive (CloudWatch), are answered. Whatever else is asked for is said to be absent,
//! in the protocol of the one who asks.

mod cloudwatch;
mod form;
mod protocol;
mod shape;
mod sts;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Request, Response};

use bytes::Bytes;

use crate::body::Body;
use crate::clock::Clock;
use crate::wire::{Service, Target};
use cloudwatch::CloudWatch;
pub(crate) use protocol::Protocol;
use shape::Shape;

/// The other services. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    cloudwatch: CloudWatch,
    account: String,
}

/// A request to another service than Kinesis and DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken<'a> {
    /// Which of those that are served, and what is asked of it.
    target: Option<Target<'a>>,
    /// The service's name in the signature; empty if the request is not signed.
    signed_for: &'a str,
    /// In what it has to be answered.
    pub(crate) protocol: Protocol,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            code,
            message: message.into(),
        }
    }
}

impl<'a> Spoken<'a> {
    /// The request as one to another service, if it is one.
    pub(crate) fn of(request: &'a Request<Bytes>) -> Option<Self> {
        let target = Target::of_request(request);
        let signed_for = signed(request.headers(), 3);
        match target.map(|target| target.service) {
            Some(Service::Kinesis | Service::DynamoDb) => return None,
            Some(Service::CloudWatch | Service::Sts) => {}
            None if matches!(signed_for, "" | "kinesis" | "dynamodb") => return None,
            None => {}
        }
        Some(Self {
            target,
            signed_for,
            protocol: Protocol::of(request.headers(), signed_for),
        })
    }
}

impl Others {
    pub(crate) fn new(clock: Clock, account: String) -> Self {
        Self {
            cloudwatch: CloudWatch::new(clock),
            account,
        }
    }

    /// Forgets what was reported.
    pub(crate) fn clear(&self) {
        self.cloudwatch.clear();
    }

    /// Answers one request; whatever is wrong is told in the response.
    pub(crate) fn answer(
        &self,
        spoken: &Spoken<'_>,
        request: &Request<Bytes>,
        request_id: HeaderValue,
    ) -> Response<Body> {
        let protocol = spoken.protocol;
        match self.perform(spoken, request) {
            Ok((target, result)) => protocol.answer(target, &result, request_id),
            Err(Refusal {
                status,
                code,
                message,
            }) => protocol.refusal(status, code, &message, request_id),
        }
    }

    fn perform<'a>(
        &self,
        spoken: &Spoken<'a>,
        request: &Request<Bytes>,
    ) -> Result<(Target<'a>, Shape), Refusal> {
        let Some(target) = spoken.target else {
            let code = spoken.protocol.unknown();
            return Err(Refusal::new(code, absent(spoken.signed_for)));
        };
        if !request.headers().contains_key(AUTHORIZATION) {
            let code = "MissingAuthenticationToken";
            return Err(Refusal {
                status: 403,
                ..Refusal::new(code, "Request is missing Authentication Token")
            });
        }
        let result = match (target.service, target.operation) {
            (Service::Sts, "GetCallerIdentity") => {
                sts::caller_identity(signed(request.headers(), 0), &self.account)
            }
            (Service::CloudWatch, "PutMetricData") => self.cloudwatch.put(spoken.protocol.read(request)?)?,
            (Service::CloudWatch, "ListMetrics") => self.cloudwatch.list(&spoken.protocol.read(request)?)?,
            (Service::CloudWatch, "GetMetricStatistics") => {
                self.cloudwatch.statistics(&spoken.protocol.read(request)?)?
            }
            (service, operation) => {
                let served = match service {
                    Service::Sts => "GetCallerIdentity",
                    _ => "PutMetricData, ListMetrics and GetMetricStatistics",
                };
                let operation: String = operation.chars().take(100).collect();
                let message = format!("kcl-local serves {served} of {service}, and not {operation}.");
                return Err(Refusal::new(spoken.protocol.unknown(), message));
            }
        };
        Ok((target, result))
    }
}

/// A part of the scope that a request was signed for: 0 is the access key id, 3 the service.
fn signed(headers: &HeaderMap, part: usize) -> &str {
    let signature = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scope = signature.and_then(|signature| signature.split_once("Credential="));
    let scope = scope.map_or("", |(_, rest)| rest);
    let scope = scope.split([',', ' ']).next().unwrap_or_default();
    scope.split('/').nth(part).unwrap_or_default()
}

/// Says that a service is not here, and how to have its client ask elsewhere.
fn absent(signed_for: &str) -> String {
    // The variable is called after a name that some services do not sign with.
    let id = match signed_for {
        "events" => "EVENTBRIDGE".to_owned(),
        "logs" => "CLOUDWATCH_LOGS".to_owned(),
        "secretsmanager" => "SECRETS_MANAGER".to_owned(),
        "states" => "SFN".to_owned(),
        "email" => "SES".to_owned(),
        "execute-api" => "APIGATEWAYMANAGEMENTAPI".to_owned(),
        other => other.to_ascii_uppercase().replace(['-', '.'], "_"),
    };
    let name: String = signed_for.chars().take(50).collect();
    let id: String = id.chars().take(50).collect();
    format!(
        "kcl-local has no {name}: it serves Kinesis, DynamoDB, CloudWatch's numbers and STS's GetCallerIdentity. Give clients of \
         {name} another endpoint, for example by AWS_ENDPOINT_URL_{id}."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(service: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Bytes> {
        let signature =
            format!("AWS4-HMAC-SHA256 Credential=me/20261129/us-east-1/{service}/aws4_request, Signature=0");
        let mut request = Request::post("/").header("authorization", signature);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    }

    fn answer(request: &Request<Bytes>) -> (u16, String) {
        let others = Others::new(Clock::system(), "000000000000".to_owned());
        let spoken = Spoken::of(request).expect("a request to another service");
        let answer = others.answer(&spoken, request, HeaderValue::from_static("id"));
        let body = answer.body().whole().unwrap().clone();
        (
            answer.status().as_u16(),
            String::from_utf8_lossy(&body).into_owned(),
        )
    }

    #[test]
    fn what_is_asked_of_kinesis_and_dynamodb_is_left_to_them() {
        assert_eq!(Spoken::of(&request("kinesis", &[], "")), None);
        assert_eq!(
            Spoken::of(&request("dynamodb", &[("x-amz-target", "Odd.Fly")], "")),
            None
        );
        assert_eq!(Spoken::of(&Request::get("/").body(Bytes::new()).unwrap()), None);
    }

    #[tokio::test]
    async fn a_client_learns_who_it_is() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let body = "Action=GetCallerIdentity&Version=2011-06-15";
        let (status, said) = answer(&request("sts", &[form], body));
        assert_eq!(status, 200);
        assert!(
            said.contains("<Arn>arn:aws:iam::000000000000:user/me</Arn>"),
            "{said}"
        );
        let unsigned = Request::post("/").header(form.0, form.1);
        let (status, said) = answer(&unsigned.body(Bytes::from(body)).unwrap());
        assert_eq!(status, 403);
        assert!(said.contains("<Code>MissingAuthenticationToken</Code>"), "{said}");
    }

    #[tokio::test]
    async fn a_service_that_is_absent_is_named_in_the_protocol_of_its_client() {
        let json = [
            ("x-amz-target", "AmazonSQS.SendMessage"),
            ("content-type", "application/x-amz-json-1.0"),
        ];
        let (status, said) = answer(&request("sqs", &json, "{}"));
        assert_eq!(status, 400);
        assert!(
            said.starts_with(r#"{"__type":"UnknownOperationException""#),
            "{said}"
        );
        assert!(
            said.contains("no sqs") && said.contains("AWS_ENDPOINT_URL_SQS"),
            "{said}"
        );

        let form = ("content-type", "application/x-www-form-urlencoded");
        let (_, said) = answer(&request("sns", &[form], "Action=Publish&Version=2010-03-31"));
        assert!(
            said.contains("<Code>InvalidAction</Code>") && said.contains("no sns"),
            "{said}"
        );
        let (_, said) = answer(&request("ec2", &[form], "Action=DescribeVpcs&Version=2016-11-15"));
        assert!(
            said.starts_with("<?xml") && said.contains("<Response><Errors><Error>"),
            "{said}"
        );
        let (_, said) = answer(&request("s3", &[], ""));
        assert!(said.contains("<Error><Code>NotImplemented</Code>"), "{said}");
        let (_, said) = answer(&request("lambda", &[("content-type", "application/json")], "{}"));
        assert!(
            said.starts_with(r#"{"__type":"UnknownOperationException","message""#),
            "{said}"
        );
        let (_, said) = answer(&request("a<b>&", &[form], ""));
        assert!(said.contains("a&lt;b&gt;&amp;"), "{said}");
    }

    #[tokio::test]
    async fn an_operation_that_is_absent_is_named() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        let body = "Action=AssumeRole&Version=2011-06-15";
        let (status, said) = answer(&request("sts", &[form], body));
        assert_eq!(status, 400);
        assert!(said.contains("and not AssumeRole"), "{said}");
    }
}
