//! What is done about calls of processors that fail: the policy, the application's own decisions, and where records end that are given
//! up.

mod handler;
mod shard;

use std::sync::Arc;

use kcl_lease::WorkerId;
use tokio::sync::mpsc;

pub(crate) use self::handler::Handler;
pub use self::handler::{Decision, FailedRecords, FailureHandler};
pub(crate) use self::shard::ShardFailures;
use crate::config::FailurePolicy;
use crate::dead_letters::DeadLetters;
use crate::error::Error;

/// The same for all shards of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    pub(crate) policy: FailurePolicy,
    pub(crate) handler: Handler,
    pub(crate) dead_letters: Option<Arc<dyn DeadLetters>>,
    /// Whose dead letters they are.
    pub(crate) application: String,
    pub(crate) worker: WorkerId,
    /// Stops the worker, for this reason.
    pub(crate) fatal: mpsc::UnboundedSender<Error>,
}
