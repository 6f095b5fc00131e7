//! The operation that a request names: in its `X-Amz-Target` header, in its path or in its body.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Request};

/// One of the services that this backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon Kinesis Data Streams.
    Kinesis,
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon CloudWatch: as much of it as those need who report numbers.
    CloudWatch,
    /// AWS Security Token Service: who a client is.
    Sts,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kinesis => "Kinesis",
            Self::DynamoDb => "DynamoDB",
            Self::CloudWatch => "CloudWatch",
            Self::Sts => "STS",
        })
    }
}

/// A service and the name of one of its operations; whether the operation exists is the service's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The service that the prefix names.
    pub service: Service,
    /// The operation, such as `PutRecord`.
    pub operation: &'a str,
}

impl<'a> Target<'a> {
    const PREFIXES: [(&'static str, Service); 3] = [
        ("Kinesis_20131202.", Service::Kinesis),
        ("DynamoDB_20120810.", Service::DynamoDb),
        ("GraniteServiceVersion20100801.", Service::CloudWatch),
    ];

    /// Where requests of the protocol RPC v2 CBOR go: behind this stands the operation.
    const PATHS: [(&'static str, Service); 1] = [(
        "/service/GraniteServiceVersion20100801/operation/",
        Service::CloudWatch,
    )];

    /// The versions of services that speak the query protocol, where the body names the operation.
    const VERSIONS: [(&'static str, Service); 2] =
        [("2010-08-01", Service::CloudWatch), ("2011-06-15", Service::Sts)];

    /// The target of a request, wherever it names it.
    pub fn of_request(request: &'a Request<Bytes>) -> Option<Self> {
        Self::of(request.headers())
            .or_else(|| Self::of_path(request.uri().path()))
            .or_else(|| Self::of_form(request.headers(), request.body()))
    }

    fn of_path(path: &'a str) -> Option<Self> {
        Self::PATHS.into_iter().find_map(|(prefix, service)| {
            let operation = path.strip_prefix(prefix)?;
            (!operation.is_empty()).then_some(Self { service, operation })
        })
    }

    fn of_form(headers: &HeaderMap, body: &'a Bytes) -> Option<Self> {
        if !is_form(headers) {
            return None;
        }
        let member = |wanted: &str| {
            let mut members = body.split(|byte| *byte == b'&');
            members.find_map(|member| member.strip_prefix(wanted.as_bytes()))
        };
        let (operation, version) = (member("Action=")?, member("Version=")?);
        let known = Self::VERSIONS.into_iter();
        let (_, service) = known.into_iter().find(|(known, _)| known.as_bytes() == version)?;
        let operation = std::str::from_utf8(operation).ok()?;
        Some(Self { service, operation })
    }

    /// The target of a request, if its header is there and starts with the prefix of a known service.
    pub fn of(headers: &'a HeaderMap) -> Option<Self> {
        let value = headers.get("x-amz-target")?.to_str().ok()?;
        Self::PREFIXES.into_iter().find_map(|(prefix, service)| {
            value
                .strip_prefix(prefix)
                .map(|operation| Self { service, operation })
        })
    }
}

/// Whether the body is a form, as in the query protocol.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(http::header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(target: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static("x-amz-target"),
            http::HeaderValue::from_static(target),
        )])
    }

    #[test]
    fn the_prefix_names_the_service() {
        let headers = headers("DynamoDB_20120810.PutItem");
        let target = Target::of(&headers).unwrap();
        assert_eq!(
            target,
            Target {
                service: Service::DynamoDb,
                operation: "PutItem"
            }
        );
    }

    #[test]
    fn a_path_or_a_form_names_an_operation_as_well() {
        let path = Request::post("/service/GraniteServiceVersion20100801/operation/PutMetricData");
        let path = path.body(Bytes::new()).unwrap();
        let named = Target::of_request(&path).unwrap();
        assert_eq!(
            (named.service, named.operation),
            (Service::CloudWatch, "PutMetricData")
        );

        let form = |body: &'static str| {
            Request::post("/")
                .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap()
        };
        let request = form("Action=GetCallerIdentity&Version=2011-06-15");
        let named = Target::of_request(&request).unwrap();
        assert_eq!(
            (named.service, named.operation),
            (Service::Sts, "GetCallerIdentity")
        );
        for body in [
            "",
            "Action=GetCallerIdentity",
            "Action=X&Version=1999-01-01",
            "Version=2011-06-15",
        ] {
            assert_eq!(Target::of_request(&form(body)), None, "{body}");
        }
    }

    #[test]
    fn other_api_versions_are_unknown() {
        assert_eq!(Target::of(&headers("Kinesis_20990101.PutRecord")), None);
        assert_eq!(Target::of(&headers("PutRecord")), None);
        assert_eq!(Target::of(&HeaderMap::new()), None);
    }
}
