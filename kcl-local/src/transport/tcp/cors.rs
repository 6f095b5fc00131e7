//! Which pages in a browser may ask the services: what a browser asks first, and what it has to be told with each answer.
//!
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};

use crate::body::Body;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What a script may see of an answer, as with the services.
const EXPOSED: &str = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-crc32,x-amzn-query-error,Date";
/// For how many seconds a browser need not ask again: two days, as with the services.
const MAX_AGE: &str = "172800";

/// Which origins may ask.
#[derive(Debug)]
pub(super) struct Cors {
    all: bool,
    origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(origins: &[String]) -> Self {
        Self {
            all: origins.iter().any(|origin| origin == "*"),
            origins: origins.to_vec(),
        }
    }

    /// The answer to a browser that asks whether a page may ask, if this is that.
    pub(super) fn preflight(&self, request: &Request<Bytes>) -> Option<Response<Body>> {
        let headers = request.headers();
        let origin = headers.get(ORIGIN)?;
        if request.method() != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = Response::new(Body::from(Bytes::new()));
        self.show(Some(origin), &mut response);
        if response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            let wanted = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            let network = headers.contains_key(REQUEST_PRIVATE_NETWORK);
            let told = response.headers_mut();
            told.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
            told.extend(wanted.map(|wanted| (ACCESS_CONTROL_ALLOW_HEADERS, wanted)));
            told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
            if network {
                told.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
            }
        }
        Some(response)
    }

    /// Lets the script of a page see an answer, if the page is one of those that may ask.
    pub(super) fn show(&self, origin: Option<&HeaderValue>, answer: &mut Response<Body>) {
        let Some(origin) = origin.filter(|origin| self.may_ask(origin)) else {
            return;
        };
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }

    /// Whether the scripts of a page may ask.
    pub(super) fn may_ask(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.all || self.origins.iter().any(|one| one == origin) || is_on_this_machine(origin)
    }
}

/// Whether a page came from a server on this machine, such as the one that somebody develops it with.
fn is_on_this_machine(origin: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme().is_some() && (host == "localhost" || host.ends_with(".localhost") || is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cors: &Cors, origin: &str) -> Option<Response<Body>> {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri("/")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,x-amz-target")
            .body(Bytes::new());
        cors.preflight(&request.unwrap())
    }

    #[test]
    fn pages_on_this_machine_may_ask() {
        let cors = Cors::new(&[]);
        for origin in [
            "http://localhost:3000",
            "https://app.localhost",
            "http://127.0.0.1:5173",
            "http://[::1]",
        ] {
            let answer = asked(&cors, origin).unwrap();
            let headers = answer.headers();
            assert_eq!(answer.status(), 200);
            assert_eq!(headers["access-control-allow-origin"], origin);
            assert_eq!(
                headers["access-control-allow-headers"],
                "authorization,x-amz-target"
            );
            assert_eq!(headers["access-control-allow-methods"], "POST");
        }
    }

    #[test]
    fn pages_from_elsewhere_may_ask_if_they_were_named() {
        let elsewhere = "https://app.example";
        for origin in [
            elsewhere,
            "null",
            "http://localhost.evil.example",
            "",
            "localhost",
        ] {
            let answer = asked(&Cors::new(&[]), origin).unwrap();
            assert!(
                !answer.headers().contains_key("access-control-allow-origin"),
                "{origin}"
            );
        }
        for named in [elsewhere, "*"] {
            let answer = asked(&Cors::new(&[named.to_owned()]), elsewhere).unwrap();
            assert_eq!(answer.headers()["access-control-allow-origin"], elsewhere);
        }
    }

    #[test]
    fn what_is_no_such_question_is_left_to_the_services() {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri("/")
            .body(Bytes::new());
        assert!(Cors::new(&[]).preflight(&request.unwrap()).is_none());
    }
}
