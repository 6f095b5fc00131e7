//! What a probe, an alarm or a human is to make of a status. Pure.

use kcl_core::{WorkerPhase, WorkerStatus};
use serde::Serialize;

/// How a worker is.
///
/// ```no_run
/// # fn judged(handle: &kcl_core::WorkerHandle) {
/// let verdict = kcl_health::Verdict::of(&handle.status());
/// if !verdict.is_healthy {
///     println!("not healthy because {}", verdict.because.join("; "));
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// It has not ended. Whoever has is to be started again; nothing else that may be wrong is mended by that.
    pub is_live: bool,
    /// It is a member of its fleet, and is given leases.
    pub is_ready: bool,
    /// Nothing is wrong.
    pub is_healthy: bool,
    /// What is wrong, or why it is not ready.
    pub because: Vec<String>,
}

impl Verdict {
    /// That of a status.
    pub fn of(status: &WorkerStatus) -> Self {
        let phase = match status.phase {
            WorkerPhase::Running => None,
            WorkerPhase::Starting => Some("it prepares the lease table and joins the fleet"),
            WorkerPhase::Stopping => Some("it hands its leases on"),
            WorkerPhase::Stopped => Some("it has ended"),
            _ => Some("it is in a phase that is not known here"),
        };
        let problems = status
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.code, problem.text));
        let shards = status.shards.iter().filter_map(|shard| {
            let problem = shard.stalled.as_ref().or(shard.problem.as_ref())?;
            Some(format!("{}: {}: {}", shard.shard_id, problem.code, problem.text))
        });
        let wrong: Vec<_> = problems.chain(shards).collect();
        Self {
            is_live: status.phase != WorkerPhase::Stopped,
            is_ready: status.phase == WorkerPhase::Running,
            is_healthy: wrong.is_empty() && status.phase != WorkerPhase::Stopped,
            because: phase.map(str::to_owned).into_iter().chain(wrong).collect(),
        }
    }
}
