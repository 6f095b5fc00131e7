//! A page for the browser: what is there, and forms to change it.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response};

use crate::body::Body;

const PAGE: &str = include_str!("page.html");

/// Nothing but what the page brings itself, and no page around it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a browser asks for a page, at its own address or at the root.
pub(super) fn is_asked(request: &Request<Bytes>) -> bool {
    let path = request.uri().path();
    let accepts = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let is_browser = accepts.is_some_and(|accept| accept.contains("text/html"));
    let is_ours = matches!(path, "/_kcl-local" | "/_kcl-local/")
        || (path == "/" && is_browser && !request.headers().contains_key(AUTHORIZATION));
    request.method() == Method::GET && is_ours
}

pub(super) fn page() -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(PAGE.as_bytes())));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
