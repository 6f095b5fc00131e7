//! The protocols that AWS's services speak, as far as it takes to answer and to refuse.
//!
//! <https://smithy.io/2.0/aws/protocols/index.html>, <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>

use std::fmt::Write as _;
use std::io::Read as _;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::shape::{Shape, escape};
use super::{Refusal, form};
use crate::body::Body;
use crate::wire::{Encoding, Service, Target, error_body, is_form};

const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const RPC_V2_CBOR: HeaderValue = HeaderValue::from_static("rpc-v2-cbor");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The largest request that CloudWatch takes: a PutMetricData.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const LARGEST: u64 = 1024 * 1024;

/// How a client asks, and has to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `awsJson1_0` and `awsJson1_1`.
    Json(Encoding),
    /// `awsQuery`: forms, answered in XML.
    Query,
    /// `ec2Query`.
    Ec2Query,
    /// `rpcv2Cbor`.
    RpcCbor,
    /// `restXml`.
    RestXml,
    /// `restJson1`.
    RestJson,
}

impl Protocol {
    /// The protocol of a request that was signed for this service.
    pub(super) fn of(headers: &HeaderMap, signed_for: &str) -> Self {
        if headers.get(SMITHY_PROTOCOL) == Some(&RPC_V2_CBOR) {
            Self::RpcCbor
        } else if is_form(headers) {
            if signed_for == "ec2" {
                Self::Ec2Query
            } else {
                Self::Query
            }
        } else if headers.contains_key("x-amz-target") {
            Self::Json(Encoding::of(headers).unwrap_or(Encoding::Json10))
        } else if matches!(signed_for, "s3" | "s3express" | "route53" | "cloudfront") {
            Self::RestXml
        } else {
            Self::RestJson
        }
    }

    /// What an error is called that says that an operation is not served.
    pub(super) fn unknown(self) -> &'static str {
        match self {
            Self::Json(_) | Self::RpcCbor | Self::RestJson => "UnknownOperationException",
            Self::Query | Self::Ec2Query => "InvalidAction",
            Self::RestXml => "NotImplemented",
        }
    }

    /// Reads a request, which may be compressed.
    pub(super) fn read<T: DeserializeOwned>(self, request: &Request<Bytes>) -> Result<T, Refusal> {
        let unreadable = |error: String| Refusal::new("InvalidParameterValue", error);
        let body = inflated(request)?;
        match self {
            Self::RpcCbor => {
                let members: ciborium::Value =
                    ciborium::from_reader(&body[..]).map_err(|error| unreadable(error.to_string()))?;
                let members = untagged(members).deserialized();
                members.map_err(|error| unreadable(error.to_string()))
            }
            Self::Query | Self::Ec2Query => {
                let members = form::read(&body).map_err(unreadable)?;
                serde_json::from_value(members).map_err(|error| unreadable(error.to_string()))
            }
            Self::Json(_) | Self::RestXml | Self::RestJson => {
                let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
                serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))
            }
        }
    }

    /// The answer to an operation.
    pub(super) fn answer(
        self,
        target: Target<'_>,
        result: &Shape,
        request_id: HeaderValue,
    ) -> Response<Body> {
        let body = match self {
            Self::RpcCbor => cbor(&result.cbor()),
            Self::Json(_) | Self::RestJson => Bytes::from(result.json().to_string()),
            Self::Query | Self::Ec2Query | Self::RestXml => {
                Bytes::from(document(target, result, &request_id))
            }
        };
        self.respond(200, body, request_id)
    }

    /// The answer that tells an error.
    pub(crate) fn refusal(
        self,
        status: u16,
        code: &str,
        message: &str,
        request_id: HeaderValue,
    ) -> Response<Body> {
        let whose = if status < 500 { "Sender" } else { "Receiver" };
        let body = match self {
            Self::RpcCbor => error_body(Encoding::Cbor11, code, message),
            Self::Json(_) | Self::RestJson => error_body(Encoding::Json10, code, message),
            Self::Query | Self::Ec2Query | Self::RestXml => {
                let (mut said, id) = (String::new(), request_id.to_str().unwrap_or_default());
                let mut name = String::new();
                escape(code, &mut name);
                escape(message, &mut said);
                let error = format!("<Code>{name}</Code><Message>{said}</Message>");
                Bytes::from(match self {
                    Self::Ec2Query => format!(
                        "{HEAD}<Response><Errors><Error>{error}</Error></Errors><RequestID>{id}</RequestID></Response>"
                    ),
                    Self::RestXml => format!("{HEAD}<Error>{error}<RequestId>{id}</RequestId></Error>"),
                    _ => format!(
                        "{HEAD}<ErrorResponse><Error><Type>{whose}</Type>{error}</Error><RequestId>{id}</RequestId></ErrorResponse>"
                    ),
                })
            }
        };
        let mut response = self.respond(status, body, request_id);
        let headers = response.headers_mut();
        headers.extend(HeaderValue::from_str(code).ok().map(|code| (ERROR_TYPE, code)));
        if matches!(self, Self::Json(_) | Self::RpcCbor) {
            let query_error = HeaderValue::from_str(&format!("{code};{whose}")).ok();
            headers.extend(query_error.map(|error| (QUERY_ERROR, error)));
        }
        response
    }

    fn respond(self, status: u16, body: Bytes, request_id: HeaderValue) -> Response<Body> {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let content_type = match self {
            Self::Json(encoding) => encoding.content_type(),
            Self::RpcCbor => "application/cbor",
            Self::RestJson => "application/json",
            Self::Query => "text/xml",
            Self::Ec2Query => "text/xml;charset=UTF-8",
            Self::RestXml => "application/xml",
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(REQUEST_ID, request_id);
        if self == Self::RpcCbor {
            headers.insert(SMITHY_PROTOCOL, RPC_V2_CBOR);
        }
        response
    }
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A result in XML, as the query protocol wraps it.
fn document(target: Target<'_>, result: &Shape, request_id: &HeaderValue) -> String {
    let namespace = match target.service {
        Service::Sts => "https://sts.amazonaws.com/doc/2011-06-15/",
        _ => "http://monitoring.amazonaws.com/doc/2010-08-01/",
    };
    let (operation, id) = (target.operation, request_id.to_str().unwrap_or_default());
    let mut xml = format!("{HEAD}<{operation}Response xmlns=\"{namespace}\"><{operation}Result>");
    result.write_xml(&mut xml);
    let _ = write!(
        xml,
        "</{operation}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></{operation}Response>"
    );
    xml
}

/// The same without tags: that a number is a time is known without them.
fn untagged(value: ciborium::Value) -> ciborium::Value {
    use ciborium::Value;
    match value {
        Value::Tag(_, value) => untagged(*value),
        Value::Array(values) => Value::Array(values.into_iter().map(untagged).collect()),
        Value::Map(members) => {
            let members = members.into_iter();
            Value::Map(members.map(|(name, value)| (name, untagged(value))).collect())
        }
        other => other,
    }
}

fn cbor(value: &ciborium::Value) -> Bytes {
    let mut body = Vec::new();
    // A buffer in memory takes all.
    let _ = ciborium::into_writer(value, &mut body);
    Bytes::from(body)
}

/// The body, unpacked if it was compressed: SDKs compress what is large.
fn inflated(request: &Request<Bytes>) -> Result<Bytes, Refusal> {
    let too_large = || Refusal {
        status: 413,
        ..Refusal::new(
            "RequestEntityTooLarge",
            format!("The request exceeds {LARGEST} bytes."),
        )
    };
    let body = request.body();
    let length = body.len() as u64;
    match request.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => (length <= LARGEST).then(|| body.clone()).ok_or_else(too_large),
        Some(b"gzip") => {
            let mut inflated = Vec::new();
            let mut unpacking = flate2::read::GzDecoder::new(&body[..]).take(LARGEST + 1);
            unpacking
                .read_to_end(&mut inflated)
                .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
            if inflated.len() as u64 > LARGEST {
                return Err(too_large());
            }
            Ok(Bytes::from(inflated))
        }
        Some(_) => Err(Refusal::new(
            "SerializationException",
            "Content-Encoding is gzip or none.",
        )),
    }
}
