//! A request that arrives after its sender has given it up.

use bytes::Bytes;
use http::Request;
use kcl_local::faults::Call;

/// The same request of DynamoDB again.
pub(super) fn request(call: &Call<'_>) -> Request<Bytes> {
    let mut request = Request::new(call.body.clone());
    *request.method_mut() = http::Method::POST;
    let headers = request.headers_mut();
    let target = format!("DynamoDB_20120810.{}", call.operation);
    let lines = [
        ("x-amz-target", target.as_str()),
        ("content-type", "application/x-amz-json-1.0"),
        ("authorization", "late"),
    ];
    for (name, value) in lines {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            headers.insert(http::HeaderName::from_static(name), value);
        }
    }
    request
}
