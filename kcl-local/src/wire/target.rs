//! The operation that a request names in its `X-Amz-Target` header.

use std::fmt;

use http::HeaderMap;

/// One of the two services that this backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Amazon Kinesis Data Streams.
    Kinesis,
    /// Amazon DynamoDB.
    DynamoDb,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kinesis => "Kinesis",
            Self::DynamoDb => "DynamoDB",
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
    const PREFIXES: [(&'static str, Service); 2] = [
        ("Kinesis_20131202.", Service::Kinesis),
        ("DynamoDB_20120810.", Service::DynamoDb),
    ];

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
    fn other_api_versions_are_unknown() {
        assert_eq!(Target::of(&headers("Kinesis_20990101.PutRecord")), None);
        assert_eq!(Target::of(&headers("PutRecord")), None);
        assert_eq!(Target::of(&HeaderMap::new()), None);
    }
}
