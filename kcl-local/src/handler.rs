//! The one request handler behind every transport: an HTTP request in, an HTTP response out.

mod events;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::body::Body;
use crate::dynamodb::DynamoDb;
use crate::faults::Past;
use crate::kinesis::{ApiError, Kinesis, Subscription};
use crate::services::{Others, Spoken};
use crate::wire::{Cbor, Encoding, Json, Service, Target, error_body, event_stream};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const CRC32: HeaderName = HeaderName::from_static("x-amz-crc32");

/// The largest request to Kinesis: PutRecords takes 10 MiB of records, which base64 and member names inflate.
const MAX_KINESIS_BODY: usize = 16 * 1024 * 1024;
/// The largest request to DynamoDB, as documented for BatchWriteItem.
const MAX_DYNAMODB_BODY: usize = 16 * 1024 * 1024;
/// The largest body that any request may have; a transport need not read further.
pub const MAX_BODY: usize = if MAX_KINESIS_BODY > MAX_DYNAMODB_BODY {
    MAX_KINESIS_BODY
} else {
    MAX_DYNAMODB_BODY
};

/// Answers requests to all services. Clones share the services.
#[derive(Debug, Clone)]
pub struct Handler {
    kinesis: Kinesis,
    dynamodb: DynamoDb,
    requests: Arc<AtomicU64>,
    past: Arc<Past>,
    others: Others,
}

/// A refusal by the handler itself, before a service sees the request.
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }
}

/// What a service answered, or the handler in its place.
struct Answer {
    status: u16,
    error: Option<String>,
    body: Content,
}

/// What an answer says: all of it, or the beginning of a subscription.
enum Content {
    Whole(Bytes),
    Events(Box<Subscription>),
}

impl Handler {
    /// A handler in front of two services.
    pub fn new(kinesis: Kinesis, dynamodb: DynamoDb) -> Self {
        let others = Others::new(kinesis.clock().clone(), kinesis.options().account_id.clone());
        Self {
            kinesis,
            dynamodb,
            requests: Arc::default(),
            past: Arc::default(),
            others,
        }
    }

    /// The Kinesis behind it.
    pub fn kinesis(&self) -> &Kinesis {
        &self.kinesis
    }

    /// The DynamoDB behind it.
    pub fn dynamodb(&self) -> &DynamoDb {
        &self.dynamodb
    }

    /// Empties the services.
    pub(crate) fn clear(&self) {
        self.kinesis.clear();
        if let Err(error) = self.dynamodb.clear() {
            tracing::error!(%error, "tables cannot be deleted; this is a defect of the local backend");
        }
        self.others.clear();
        self.past.clear();
    }

    /// What reads were answered a moment ago.
    pub(crate) fn past(&self) -> &Past {
        &self.past
    }

    /// Answers one request. Never fails: whatever is wrong is told in the response.
    ///
    /// The answer to a `SubscribeToShard` goes on until the subscription ends or the body is dropped.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Body> {
        self.answer(request, None)
    }

    /// The same, but a read of records is answered without any, with this lag.
    pub(crate) async fn empty_page(&self, request: Request<Bytes>, behind: Duration) -> Response<Body> {
        self.answer(request, Some(behind))
    }

    fn answer(&self, request: Request<Bytes>, empty_page: Option<Duration>) -> Response<Body> {
        if let Some(spoken) = Spoken::of(&request) {
            return self.others.answer(&spoken, &request, self.next_request_id());
        }
        if request.method() == Method::GET && request.uri().path() == "/" {
            return self.healthy();
        }
        let (parts, body) = request.into_parts();
        let encoding = Encoding::of(&parts.headers);
        let target = Target::of(&parts.headers);
        let service = target.map(|target| target.service);
        let answer = match admit(
            &parts.method,
            &parts.uri,
            &parts.headers,
            target,
            encoding,
            body.len(),
        ) {
            Ok((target, encoding)) => self
                .perform(target, encoding, &parts.headers, &body, empty_page)
                .unwrap_or_else(|refusal| refuse(encoding, refusal)),
            Err(refusal) => refuse(encoding.unwrap_or_else(|| usual(service)), refusal),
        };
        let mut response = self.respond(service, encoding.unwrap_or_else(|| usual(service)), answer);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }

    /// The response of a service that refuses this request.
    pub(crate) fn refusal(
        &self,
        request: &Request<Bytes>,
        status: u16,
        code: &str,
        message: &str,
    ) -> Response<Body> {
        if let Some(spoken) = Spoken::of(request) {
            return spoken
                .protocol
                .refusal(status, code, message, self.next_request_id());
        }
        let headers = request.headers();
        let service = Target::of(headers).map(|target| target.service);
        let encoding = Encoding::of(headers).unwrap_or_else(|| usual(service));
        let body = error_body(encoding, code, message);
        self.respond(
            service,
            encoding,
            Answer {
                status,
                error: Some(code.to_owned()),
                body: Content::Whole(body),
            },
        )
    }

    /// Lets the service perform the operation.
    fn perform(
        &self,
        target: Target<'_>,
        encoding: Encoding,
        headers: &HeaderMap,
        body: &Bytes,
        empty_page: Option<Duration>,
    ) -> Result<Answer, Refusal> {
        guarded(target, || match target.service {
            Service::DynamoDb => match self.dynamodb.call(target.operation, body) {
                Ok(body) => Answer {
                    status: 200,
                    error: None,
                    body: Content::Whole(body),
                },
                Err(error) => Answer {
                    status: error.status,
                    error: Some(error.code),
                    body: Content::Whole(error.body),
                },
            },
            // What is asked of others was answered before.
            _ => self.ask_kinesis(target.operation, encoding, headers, body, empty_page),
        })
    }

    fn ask_kinesis(
        &self,
        operation: &str,
        encoding: Encoding,
        headers: &HeaderMap,
        body: &Bytes,
        empty_page: Option<Duration>,
    ) -> Answer {
        let empty_page = empty_page.filter(|_| operation == "GetRecords");
        let signature = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let seen = self.kinesis.signed_for(signature.unwrap_or_default());
        let answer = seen.and_then(|kinesis| match (encoding, empty_page) {
            _ if operation == "SubscribeToShard" => subscribe(&kinesis, encoding, body),
            (Encoding::Cbor11, None) => kinesis.call(operation, body, &Cbor).map(Content::Whole),
            (Encoding::Cbor11, Some(behind)) => kinesis.empty_page(body, &Cbor, behind).map(Content::Whole),
            (_, None) => kinesis.call(operation, body, &Json).map(Content::Whole),
            (_, Some(behind)) => kinesis.empty_page(body, &Json, behind).map(Content::Whole),
        });
        match answer {
            Ok(body) => Answer {
                status: 200,
                error: None,
                body,
            },
            Err(ApiError {
                code,
                message,
                status,
            }) => Answer {
                status,
                error: Some(code.to_owned()),
                body: Content::Whole(error_body(encoding, code, &message)),
            },
        }
    }

    fn respond(&self, service: Option<Service>, encoding: Encoding, answer: Answer) -> Response<Body> {
        let (body, content_type, checksum) = match answer.body {
            Content::Whole(body) => {
                let checksum = (service == Some(Service::DynamoDb)).then(|| crc32fast::hash(&body));
                (Body::from(body), encoding.content_type(), checksum)
            }
            Content::Events(subscription) => {
                let messages = events::events(*subscription, encoding);
                (Body::messages(messages), event_stream::CONTENT_TYPE, None)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(REQUEST_ID, self.next_request_id());
        let now = DateTime::from_millis(i64::try_from(self.kinesis.clock().now_millis()).unwrap_or(i64::MAX));
        let now = now.fmt(Format::HttpDate).ok();
        headers.extend(
            now.and_then(|now| HeaderValue::try_from(now).ok())
                .map(|now| (DATE, now)),
        );
        if let Some(error) = answer.error {
            let name = error.rsplit('#').next().unwrap_or_default();
            headers.extend(HeaderValue::from_str(name).ok().map(|name| (ERROR_TYPE, name)));
        }
        // The service sends it, and the AWS SDK for Java and botocore check it.
        headers.extend(checksum.map(|checksum| (CRC32, HeaderValue::from(checksum))));
        response
    }

    /// Request ids count up, so that the same run has the same ids.
    fn next_request_id(&self) -> HeaderValue {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("00000000-0000-4000-8000-{number:012x}"))
            .unwrap_or_else(|_| HeaderValue::from_static("00000000-0000-4000-8000-000000000000"))
    }

    fn healthy(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(Bytes::from_static(
            b"kcl-local is running: Kinesis and DynamoDB\n",
        )));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        response.headers_mut().insert(REQUEST_ID, self.next_request_id());
        response
    }
}

fn subscribe(kinesis: &Kinesis, encoding: Encoding, body: &Bytes) -> Result<Content, ApiError> {
    let subscription = match encoding {
        Encoding::Cbor11 => kinesis.subscribe(body, &Cbor),
        Encoding::Json10 | Encoding::Json11 | Encoding::PlainJson => kinesis.subscribe(body, &Json),
    };
    subscription.map(Box::new).map(Content::Events)
}

/// A panic in an operation is told as an internal error and ends only this request.
fn guarded(target: Target<'_>, perform: impl FnOnce() -> Answer) -> Result<Answer, Refusal> {
    catch_unwind(AssertUnwindSafe(perform)).map_err(|_| {
        let Target { service, operation } = target;
        tracing::error!(%service, operation, "the operation panicked");
        let code = match service {
            Service::DynamoDb => "InternalServerError",
            _ => "InternalFailure",
        };
        Refusal::new(
            500,
            code,
            format!("{operation} panicked; this is a defect of the local backend"),
        )
    })
}

/// Checks what both services check before they look at the body, in their order.
fn admit<'a>(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    target: Option<Target<'a>>,
    encoding: Option<Encoding>,
    length: usize,
) -> Result<(Target<'a>, Encoding), Refusal> {
    if method != Method::POST {
        return Err(Refusal::new(
            405,
            "AccessDeniedException",
            format!("{method} is not allowed: use POST."),
        ));
    }
    let Some(target) = target else {
        return Err(Refusal::new(
            400,
            "UnknownOperationException",
            "X-Amz-Target names no operation of Kinesis or DynamoDB.",
        ));
    };
    let served = match target.service {
        Service::DynamoDb => encoding.filter(|encoding| *encoding != Encoding::Cbor11),
        _ => encoding,
    };
    let Some(encoding) = served else {
        return Err(Refusal::new(
            404,
            "UnknownOperationException",
            format!("{} does not speak this Content-Type.", target.service),
        ));
    };
    if !is_signed(uri, headers) {
        return Err(Refusal::new(
            400,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ));
    }
    let limit = match target.service {
        Service::DynamoDb => MAX_DYNAMODB_BODY,
        _ => MAX_KINESIS_BODY,
    };
    if length > limit {
        return Err(too_large(limit));
    }
    Ok((target, encoding))
}

/// Any signature will do, in the header or in the query, as long as there is one.
fn is_signed(uri: &Uri, headers: &HeaderMap) -> bool {
    let header = headers.get(AUTHORIZATION).is_some_and(|value| !value.is_empty());
    let presigned = || {
        uri.query().unwrap_or_default().split('&').any(|parameter| {
            parameter
                .split_once('=')
                .is_some_and(|(name, value)| name == "X-Amz-Signature" && !value.is_empty())
        })
    };
    header || presigned()
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        413,
        "RequestEntityTooLargeException",
        format!("The request body exceeds {limit} bytes."),
    )
}

/// The encoding of an error about a request that names none.
fn usual(service: Option<Service>) -> Encoding {
    match service {
        Some(Service::DynamoDb) => Encoding::Json10,
        _ => Encoding::Json11,
    }
}

fn refuse(encoding: Encoding, refusal: Refusal) -> Answer {
    Answer {
        status: refusal.status,
        body: Content::Whole(error_body(encoding, refusal.code, &refusal.message)),
        error: Some(refusal.code.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_internal_error() {
        for (service, code) in [
            (Service::Kinesis, "InternalFailure"),
            (Service::DynamoDb, "InternalServerError"),
        ] {
            let target = Target {
                service,
                operation: "Fly",
            };
            let refusal = guarded(target, || panic!("a panic on purpose")).err().unwrap();
            assert_eq!((refusal.status, refusal.code), (500, code));
        }
    }
}
