//! Who may ask: programs, and the browser's pages that came from here. No page of another site.
//!
//! A page that somebody looks at elsewhere can make the browser send requests to this machine. It is told by `Origin` and
//! `Sec-Fetch-Site`, which pages cannot forge; by a `Content-Type` that a form cannot send; and, where a name of its own
//! was made to mean this machine, by `Host`.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request};

use super::Refusal;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where the server stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Site {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// Names by which it is reached besides those of every machine for itself.
    pub(crate) names: Vec<String>,
    /// Whether other machines can reach it, which call it by names such as `kcl-local` in a network of containers.
    pub(crate) is_remote: bool,
}

impl Site {
    /// Refuses what a page of another site may have sent.
    pub(super) fn check(&self, request: &Request<Bytes>) -> Result<(), Refusal> {
        let authority = authority(request)
            .ok_or_else(|| Refusal::bad("a request needs a Host, so that it is known whom it is for"))?;
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        if !self.is_ours(&host) {
            let said = format!(
                "{host} is no name of this server: ask by its address, as localhost, or by a name that it was given \
                 (--allow-host)"
            );
            return Err(Refusal(403, said));
        }
        let headers = request.headers();
        if headers
            .get(ORIGIN)
            .is_some_and(|origin| !self.is_origin(&authority, origin))
        {
            return Err(Refusal(
                403,
                "a page of another origin may not ask this".to_owned(),
            ));
        }
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        // Whoever follows a link sees the page, and the page that has the link does not.
        let is_visit = request.method() == Method::GET && super::page::is_asked(request);
        if !matches!(site, None | Some(b"same-origin" | b"none")) && !is_visit {
            return Err(Refusal(403, "a page of another site may not ask this".to_owned()));
        }
        let content_type = headers
            .get(CONTENT_TYPE)
            .map(|value| value.to_str().unwrap_or_default());
        let is_json = |value: &str| {
            let media_type = value.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("application/json")
        };
        let is_good = match content_type {
            Some(value) => is_json(value),
            None => request.body().is_empty(),
        };
        if request.method() != Method::GET && !is_good {
            return Err(Refusal(
                415,
                "a body is JSON: send Content-Type: application/json".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether a page sent this that came from here.
    pub(crate) fn is_page_from_here(&self, request: &Request<Bytes>, origin: &HeaderValue) -> bool {
        authority(request).is_some_and(|authority| {
            let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
            self.is_ours(&host) && self.is_origin(&authority, origin)
        })
    }

    fn is_origin(&self, authority: &Authority, origin: &HeaderValue) -> bool {
        let ours = format!("{}://{authority}", self.scheme);
        origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes())
    }

    fn is_ours(&self, host: &str) -> bool {
        host == "localhost"
            || host.ends_with(".localhost")
            // Whoever asks for an address was not sent here by a name.
            || host.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
            || (self.is_remote && !host.contains('.'))
    }
}

/// Whom the request is for: in HTTP/2 a part of its target, in HTTP/1.1 a header.
fn authority(request: &Request<Bytes>) -> Option<Authority> {
    let target = request.uri().authority().cloned();
    target.or_else(|| request.headers().get(HOST)?.to_str().ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(site: &Site, method: &str, headers: &[(&str, &str)], body: &'static str) -> u16 {
        let mut request = Request::builder().method(method).uri("/_kcl-local/faults");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        site.check(&request)
            .map_or_else(|Refusal(status, _)| status, |()| 200)
    }

    fn here() -> Site {
        Site {
            scheme: "http",
            ..Site::default()
        }
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4567");
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn programs_may_ask() {
        assert_eq!(verdict(&here(), "GET", &[HOST], ""), 200);
        assert_eq!(verdict(&here(), "DELETE", &[HOST], ""), 200);
        assert_eq!(verdict(&here(), "PUT", &[HOST, JSON], "{}"), 200);
    }

    #[test]
    fn a_page_from_here_may_ask() {
        let origin = ("origin", "http://127.0.0.1:4567");
        let same = ("sec-fetch-site", "same-origin");
        assert_eq!(verdict(&here(), "PUT", &[HOST, JSON, origin, same], "{}"), 200);
    }

    #[test]
    fn a_page_from_elsewhere_may_not() {
        for origin in [
            "http://evil.example",
            "null",
            "http://127.0.0.1:8080",
            "https://127.0.0.1:4567",
            "",
        ] {
            let origin = ("origin", origin);
            assert_eq!(
                verdict(&here(), "PUT", &[HOST, JSON, origin], "{}"),
                403,
                "{origin:?}"
            );
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                verdict(&here(), "GET", &[HOST, ("sec-fetch-site", site)], ""),
                403,
                "{site}"
            );
        }
    }

    #[test]
    fn a_form_cannot_send_what_is_asked_for() {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let kind = ("content-type", kind);
            assert_eq!(verdict(&here(), "POST", &[HOST, kind], "{}"), 415, "{kind:?}");
            assert_eq!(verdict(&here(), "POST", &[HOST, kind], ""), 415, "{kind:?}");
        }
        assert_eq!(verdict(&here(), "POST", &[HOST], "{}"), 415, "no type at all");
    }

    #[test]
    fn a_name_that_was_made_to_mean_this_machine_is_not_ours() {
        let host = |site: &Site, name: &str| verdict(site, "GET", &[("host", name)], "");
        for name in [
            "localhost",
            "LOCALHOST:4567",
            "app.localhost:1",
            "[::1]:4567",
            "192.0.2.7:4567",
        ] {
            assert_eq!(host(&here(), name), 200, "{name}");
        }
        for name in ["evil.example:4567", "localhost.evil.example", "kcl-local:4567"] {
            assert_eq!(host(&here(), name), 403, "{name}");
        }
        assert_eq!(verdict(&here(), "GET", &[], ""), 400);
        let open = Site {
            names: vec!["kinesis.test".to_owned()],
            is_remote: true,
            ..here()
        };
        assert_eq!(host(&open, "kcl-local:4567"), 200);
        assert_eq!(host(&open, "kinesis.test"), 200);
        assert_eq!(host(&open, "evil.example"), 403);
    }
}
