//! What can be asked of and done to a backend over HTTP, beside what clients of AWS ask: `/_kcl-local/...`.
//!
//! No client of AWS asks for such a path. Faults do not reach it. Who may ask is `guard`'s business.

mod clock;
mod guard;
mod page;
mod world;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Backend;
use crate::body::Body;
use crate::faults::PlanError;
pub(crate) use guard::Site;

/// What all of these addresses begin with.
const PREFIX: &str = "/_kcl-local";

/// Answers what is asked about the backend itself. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    backend: Backend,
    site: Arc<Site>,
}

/// Why something is refused: a status, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal(u16, String);

impl Refusal {
    fn bad(sentence: impl Into<String>) -> Self {
        Self(400, sentence.into())
    }
}

impl From<PlanError> for Refusal {
    fn from(error: PlanError) -> Self {
        let status = match error {
            PlanError::Taken(_) => 409,
            PlanError::Unknown(_) => 404,
            _ => 400,
        };
        Self(status, error.to_string())
    }
}

/// What there is at each address: the methods, and the path.
const ADDRESSES: [(&str, &str); 7] = [
    ("GET", "/_kcl-local/"),
    ("GET", "/_kcl-local/health"),
    ("GET, PUT, POST, DELETE", "/_kcl-local/faults"),
    ("GET, DELETE", "/_kcl-local/faults/NAME"),
    ("GET, PUT", "/_kcl-local/clock"),
    ("POST", "/_kcl-local/reset"),
    ("GET", "/_kcl-local/world"),
];

impl Admin {
    pub(crate) fn new(backend: Backend, site: Site) -> Self {
        let site = Arc::new(site);
        Self { backend, site }
    }

    /// Whether a request is for this, and not for AWS.
    pub(crate) fn is_asked(&self, request: &Request<Bytes>) -> bool {
        let path = request.uri().path();
        let below = path.strip_prefix(PREFIX);
        below.is_some_and(|below| below.is_empty() || below.starts_with('/')) || page::is_asked(request)
    }

    /// Whether a page sent this that came from here.
    pub(crate) fn is_page_from_here(&self, request: &Request<Bytes>, origin: &HeaderValue) -> bool {
        self.site.is_page_from_here(request, origin)
    }

    /// Answers one request.
    pub(crate) fn answer(&self, request: &Request<Bytes>) -> Response<Body> {
        let mut response = match self.site.check(request).and_then(|()| self.perform(request)) {
            Ok(response) => response,
            Err(Refusal(status, sentence)) => reply(status, &json!({ "error": sentence })),
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = allowed(request.uri().path());
            let allowed = allowed.and_then(|allowed| HeaderValue::from_str(allowed).ok());
            response
                .headers_mut()
                .extend(allowed.map(|allowed| (ALLOW, allowed)));
        }
        response
    }

    fn perform(&self, request: &Request<Bytes>) -> Result<Response<Body>, Refusal> {
        let (method, body) = (request.method(), request.body());
        let plan = self.backend.plan();
        let path = request.uri().path();
        if path == "/" {
            return Ok(page::page());
        }
        let below = path.strip_prefix(PREFIX).unwrap_or_default();
        match (method, below) {
            (&Method::GET, "" | "/") => Ok(page::page()),
            (&Method::GET, "/health") => Ok(reply(200, &self.health())),
            (&Method::GET, "/world") => Ok(reply(
                200,
                &world::world(&self.backend, request.uri().query().unwrap_or_default()),
            )),
            (&Method::GET, "/clock") => Ok(reply(200, &clock::reading(self.backend.clock()))),
            (&Method::PUT, "/clock") => {
                clock::set(self.backend.clock(), body)?;
                Ok(reply(200, &clock::reading(self.backend.clock())))
            }
            (&Method::POST, "/reset") => {
                if !body.trim_ascii().is_empty() && body.trim_ascii() != b"{}" {
                    return Err(Refusal::bad(
                        "reset takes no body: all goes back to where it began",
                    ));
                }
                let done = self.backend.reset();
                done.map_err(|error| Refusal(500, error.to_string()))?;
                Ok(reply(200, &self.health()))
            }
            (&Method::GET, "/faults") => Ok(self.listed(200)),
            (&Method::PUT, "/faults") => {
                plan.replace_from_json(body)?;
                Ok(self.listed(200))
            }
            (&Method::POST, "/faults") => {
                let added = plan.add_from_json(body)?;
                let rules = plan.list().into_iter();
                let rules =
                    rules.filter(|one| one.rule.name.as_ref().is_some_and(|name| added.contains(name)));
                Ok(reply(201, &json!({ "rules": rules.collect::<Vec<_>>() })))
            }
            (&Method::DELETE, "/faults") => {
                plan.clear();
                Ok(self.listed(200))
            }
            (method, below) => match below.strip_prefix("/faults/") {
                Some(name) if method == Method::GET => {
                    let mut rules = plan.list().into_iter();
                    let rule = rules.find(|one| one.rule.name.as_deref() == Some(name));
                    let rule = rule.ok_or_else(|| PlanError::Unknown(name.chars().take(100).collect()))?;
                    Ok(reply(200, &rule))
                }
                Some(name) if method == Method::DELETE => {
                    plan.remove(name)?;
                    Ok(self.listed(200))
                }
                _ if allowed(path).is_some() => {
                    let methods = allowed(path).unwrap_or_default();
                    Err(Refusal(405, format!("{path} takes {methods}, and not {method}")))
                }
                _ => {
                    let all = ADDRESSES.map(|(methods, path)| format!("{methods} {path}"));
                    let path: String = path.chars().take(100).collect();
                    Err(Refusal(
                        404,
                        format!("there is no {path}: there is {}", all.join("; ")),
                    ))
                }
            },
        }
    }

    fn listed(&self, status: u16) -> Response<Body> {
        reply(status, &json!({ "rules": self.backend.plan().list() }))
    }

    fn health(&self) -> Value {
        let kinesis = self.backend.kinesis();
        json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "services": { "kinesis": "running", "dynamodb": "running", "cloudwatch": "running", "sts": "running" },
            "region": kinesis.options().region,
            "account_id": kinesis.options().account_id,
            "streams": kinesis.summaries().len(),
            "tables": self.backend.dynamodb().tables().map_or(0, |tables| tables.len()),
            "faults": self.backend.plan().list().iter().filter(|rule| !rule.over).count(),
            "clock": clock::reading(self.backend.clock()),
        })
    }
}

/// The methods of an address, if there is such an address.
fn allowed(path: &str) -> Option<&'static str> {
    let path = if path == PREFIX || path == "/" {
        "/_kcl-local/"
    } else {
        path
    };
    let path = if path.starts_with("/_kcl-local/faults/") {
        "/_kcl-local/faults/NAME"
    } else {
        path
    };
    let (methods, _) = ADDRESSES.into_iter().find(|(_, known)| *known == path)?;
    Some(methods)
}

/// A value in JSON, with a line end for who looks at it in a terminal.
fn reply(status: u16, value: &impl Serialize) -> Response<Body> {
    let mut body = serde_json::to_vec_pretty(value).unwrap_or_default();
    body.push(b'\n');
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
