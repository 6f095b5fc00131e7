//! A worker whose loops do not all run is none: it must not live on by half.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::watch;

/// A part of a worker that ended although nothing had told it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} ended unexpectedly: {reason}")]
pub struct Broken {
    part: &'static str,
    reason: String,
}

impl Broken {
    /// `part` returned.
    pub fn returned(part: &'static str) -> Self {
        let reason = "it returned, although the worker goes on".to_owned();
        Self { part, reason }
    }

    /// `part` panicked with this.
    pub fn panicked(part: &'static str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let reason = format!("it panicked: {}", text.unwrap_or("no message"));
        Self { part, reason }
    }
}

/// Runs a loop, and tells when it panics, or ends while it may not.
pub(super) async fn watched(
    part: &'static str,
    broken: watch::Sender<Option<Broken>>,
    may_end: impl Fn() -> bool,
    work: impl Future<Output = ()>,
) {
    let what = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(()) if may_end() => return,
        Ok(()) => Broken::returned(part),
        Err(panic) => Broken::panicked(part, &*panic),
    };
    tracing::error!(%what, "the worker cannot go on");
    broken.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert(what);
        is_first
    });
}
