//! What the request handler refuses before a service sees the request, and how it words errors.

use bytes::Bytes;
use http::{Method, Request, Response};
use kcl_local::Backend;

struct Asking {
    method: Method,
    uri: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Bytes,
}

/// A well-formed signed request that the service will refuse for what it asks; tests change one thing at a time.
fn asking(target: &'static str, content_type: &'static str) -> Asking {
    Asking {
        method: Method::POST,
        uri: "/",
        headers: vec![
            ("x-amz-target", target),
            ("content-type", content_type),
            ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c"),
        ],
        body: Bytes::from_static(b"{}"),
    }
}

impl Asking {
    fn without(mut self, header: &str) -> Self {
        self.headers.retain(|(name, _)| *name != header);
        self
    }

    fn body(self, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    async fn answer(self) -> Response<Bytes> {
        let mut request = Request::builder().method(self.method).uri(self.uri);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let backend = Backend::start();
        let answer = backend.handler().handle(request.body(self.body).unwrap()).await;
        answer.map(|body| body.whole().unwrap().clone())
    }

    /// Status, error name from the header, and error name from a JSON body.
    async fn refusal(self) -> (u16, String, String) {
        let answer = self.answer().await;
        let name = answer.headers()["x-amzn-errortype"].to_str().unwrap().to_owned();
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let named = body["__type"]
            .as_str()
            .unwrap()
            .rsplit('#')
            .next()
            .unwrap()
            .to_owned();
        assert!(answer.headers().contains_key("x-amzn-requestid"));
        (answer.status().as_u16(), name, named)
    }
}

fn refused(status: u16, name: &str) -> (u16, String, String) {
    (status, name.to_owned(), name.to_owned())
}

const KINESIS: &str = "Kinesis_20131202.DescribeStream";
const DYNAMODB: &str = "DynamoDB_20120810.DescribeTable";
const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";
const CBOR_1_1: &str = "application/x-amz-cbor-1.1";

#[tokio::test]
async fn unsigned_requests_are_refused() {
    for (target, content_type) in [(KINESIS, JSON_1_1), (DYNAMODB, JSON_1_0)] {
        let refusal = asking(target, content_type)
            .without("authorization")
            .refusal()
            .await;
        assert_eq!(refusal, refused(400, "MissingAuthenticationTokenException"));
    }
}

#[tokio::test]
async fn a_presigned_request_is_signed() {
    let mut presigned = asking(DYNAMODB, JSON_1_0).without("authorization");
    presigned.uri = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0";
    assert_eq!(presigned.refusal().await, refused(400, "ValidationException"));
}

#[tokio::test]
async fn an_unknown_operation_is_refused() {
    for target in [
        "Kinesis_20131202.Fly",
        "DynamoDB_20120810.Fly",
        "Kinesis_20990101.PutRecord",
        "PutRecord",
        "",
    ] {
        let refusal = asking(target, JSON_1_1).refusal().await;
        assert_eq!(refusal, refused(400, "UnknownOperationException"), "{target}");
    }
    let refusal = asking(KINESIS, JSON_1_1).without("x-amz-target").refusal().await;
    assert_eq!(refusal, refused(400, "UnknownOperationException"));
}

#[tokio::test]
async fn an_unknown_content_type_is_refused() {
    for (target, content_type) in [
        (KINESIS, "text/xml"),
        (DYNAMODB, "text/xml"),
        (DYNAMODB, CBOR_1_1),
    ] {
        let refusal = asking(target, content_type);
        let answer = refusal.answer().await;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["x-amzn-errortype"], "UnknownOperationException");
    }
}

#[tokio::test]
async fn only_post_is_allowed_except_for_a_look_at_the_root() {
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS, Method::HEAD] {
        let mut request = asking(KINESIS, JSON_1_1);
        request.method = method;
        let answer = request.answer().await;
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "POST");
    }
    let mut look = asking(KINESIS, JSON_1_1).without("authorization");
    look.method = Method::GET;
    assert_eq!(look.answer().await.status(), 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let body = Bytes::from(vec![b' '; 17 * 1024 * 1024]);
    for (target, content_type) in [(KINESIS, JSON_1_1), (DYNAMODB, JSON_1_0)] {
        let refusal = asking(target, content_type).body(body.clone()).refusal().await;
        assert_eq!(refusal, refused(413, "RequestEntityTooLargeException"));
    }
}

#[tokio::test]
async fn unreadable_bodies_are_serialization_exceptions() {
    let nested = "[".repeat(1_000_000);
    for body in ["{", "{} x", r#"{"TableName": 1}"#, "[]", "\u{0}", &nested] {
        let refusal = asking(DYNAMODB, JSON_1_0).body(body.to_owned()).refusal().await;
        assert_eq!(refusal, refused(400, "SerializationException"), "{:.20}", body);
    }
}

#[tokio::test]
async fn deeply_nested_attribute_values_are_refused() {
    let value = format!(
        "{}{{\"S\":\"x\"}}{}",
        "{\"L\":[".repeat(100_000),
        "]}".repeat(100_000)
    );
    let body = format!("{{\"TableName\":\"leases\",\"Item\":{{\"leaseKey\":{value}}}}}");
    let answer = asking("DynamoDB_20120810.PutItem", JSON_1_0)
        .body(body)
        .answer()
        .await;
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn a_cbor_request_gets_a_cbor_error() {
    let answer = asking("Kinesis_20131202.Fly", CBOR_1_1)
        .body(vec![0xa0])
        .answer()
        .await;
    assert_eq!(answer.headers()["content-type"], CBOR_1_1);
    let body: ciborium::Value = ciborium::from_reader(&answer.body()[..]).unwrap();
    let members = body.into_map().unwrap();
    assert_eq!(members[0], ("__type".into(), "UnknownOperationException".into()));
    assert_eq!(members[1].0, "message".into());
}

#[tokio::test]
async fn dynamodb_answers_carry_a_checksum() {
    let answer = asking("DynamoDB_20120810.ListTables", JSON_1_0).answer().await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], JSON_1_0);
    let checksum: u32 = answer.headers()["x-amz-crc32"].to_str().unwrap().parse().unwrap();
    assert_eq!(checksum, crc32fast::hash(answer.body()));
}
