//! How a worker stopped, and what became of its shards.

use std::fmt;

use kcl_lease::{HeldLease, HeldState, LossReason, WorkerId};
use serde::Serialize;

/// How a worker stopped: what the `run` methods of a [`Worker`](super::Worker) return.
///
/// ```no_run
/// # async fn stop(worker: kcl_core::Worker) -> Result<(), kcl_core::Error> {
/// let stopped = worker.run_until_signal().await?;
/// for departure in &stopped.shards {
///     println!("{departure:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Stopped {
    /// The shards that it was processing when it was told to stop, in the order in which it was done with them.
    pub shards: Vec<Departure>,
    /// Whether it was told a second time, and so ended at once.
    pub is_cut_short: bool,
}

impl Stopped {
    /// Whether every shard is processed to its end or free for another worker, and no call of a processor goes on.
    pub fn is_orderly(&self) -> bool {
        let is_well = |departure: &Departure| departure.fate != Fate::Kept && !departure.is_busy;
        !self.is_cut_short && self.shards.iter().all(is_well)
    }
}

/// What became of one shard of a worker that stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Departure {
    /// The shard.
    pub shard_id: String,
    /// Who has it now.
    pub fate: Fate,
    /// Its last checkpoint that is known here: a sequence number (with `:` and a sub-sequence number) or a sentinel.
    pub checkpoint: String,
    /// Whether a call of its processor had not returned. It runs on until it returns or the process ends, without a lease:
    /// what it does then, another worker does again.
    pub is_busy: bool,
}

/// Who has a shard's lease after a worker stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fate {
    /// It was handed on to this worker.
    HandedOn {
        /// The next owner.
        to: String,
    },
    /// Nobody: the leader assigns it.
    Released,
    /// Nobody needs it any more: the shard was processed to its end.
    Ended,
    /// It had been lost before it could be given up.
    Lost {
        /// Why.
        reason: String,
    },
    /// Still this worker, because it could not be given up in time: others take it after the fail-over time.
    Kept,
}

impl Departure {
    pub(super) fn of(held: &HeldLease, me: &WorkerId, is_busy: bool) -> Self {
        let lease = held.lease();
        let fate = match held.held_state() {
            _ if lease.has_ended() => Fate::Ended,
            HeldState::Lost(LossReason::GivenUp) => match &lease.owner {
                Some(owner) if owner == me => Fate::Kept,
                Some(owner) => Fate::HandedOn {
                    to: owner.to_string(),
                },
                None => Fate::Released,
            },
            HeldState::Lost(reason) => Fate::Lost {
                reason: reason.to_string(),
            },
            _ => Fate::Kept,
        };
        Self {
            shard_id: held.key().to_string(),
            fate,
            checkpoint: lease.checkpoint.to_string(),
            is_busy,
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            shard_id, checkpoint, ..
        } = self;
        match &self.fate {
            Fate::HandedOn { to } => write!(f, "{shard_id} handed on to {to} at {checkpoint}")?,
            Fate::Released => write!(f, "{shard_id} released at {checkpoint}")?,
            Fate::Ended => write!(f, "{shard_id} processed to its end")?,
            Fate::Lost { reason } => write!(f, "{shard_id} lost at {checkpoint} ({reason})")?,
            Fate::Kept => write!(f, "{shard_id} not given up at {checkpoint}; its lease expires")?,
        }
        f.write_str(if self.is_busy { ", a call goes on" } else { "" })
    }
}
