//! What is answered to whom. Without I/O.

use std::fmt;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use kcl_core::WorkerHandle;

use crate::verdict::Verdict;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

type Render = dyn Fn() -> String + Send + Sync;

/// Everything that answers are made of.
#[derive(Clone)]
pub(crate) struct Answers {
    worker: WorkerHandle,
    metrics: Option<Arc<Render>>,
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) body: String,
}

impl Answers {
    pub(crate) fn new(worker: WorkerHandle) -> Self {
        Self {
            worker,
            metrics: None,
        }
    }

    pub(crate) fn with_metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Arc::new(render));
        self
    }

    pub(crate) fn answer(&self, method: &Method, path: &str) -> Answer {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return told(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered");
        }
        let verdict = || Verdict::of(&self.worker.status());
        match path {
            "/live" => judged(verdict(), |verdict| verdict.is_live),
            "/ready" => judged(verdict(), |verdict| verdict.is_ready),
            "/health" => judged(verdict(), |verdict| verdict.is_healthy),
            "/status" => json(StatusCode::OK, &self.worker.status()),
            "/metrics" => match &self.metrics {
                Some(render) => Answer {
                    status: StatusCode::OK,
                    kind: TEXT,
                    body: render(),
                },
                None => told(
                    StatusCode::NOT_FOUND,
                    "nobody said what to answer here: see HealthServer::metrics",
                ),
            },
            _ => told(
                StatusCode::NOT_FOUND,
                "there are /live, /ready, /health, /status and /metrics",
            ),
        }
    }
}

fn judged(verdict: Verdict, is_good: impl Fn(&Verdict) -> bool) -> Answer {
    let status = match is_good(&verdict) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    json(status, &verdict)
}

fn json(status: StatusCode, what: &impl serde::Serialize) -> Answer {
    match serde_json::to_string(what) {
        Ok(body) => Answer {
            status,
            kind: JSON,
            body,
        },
        Err(error) => told(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn told(status: StatusCode, text: &str) -> Answer {
    Answer {
        status,
        kind: TEXT,
        body: format!("{text}\n"),
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}
