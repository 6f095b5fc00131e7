//! What a worker may do with a lease that it acquired, and how it loses one.

use std::fmt;

use crate::ids::WorkerId;
use crate::store::StoreError;

/// What a worker may do with a lease that it acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldState {
    /// It is ours.
    Held,
    /// It is ours until we give it up, which we are asked to do soon: finish what is under way, then
    /// [`HeldLease::give_up`](crate::HeldLease::give_up).
    Draining {
        /// The next owner, if one is named.
        to: Option<WorkerId>,
    },
    /// It is no longer ours.
    Lost(LossReason),
}

/// Why a lease is no longer held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossReason {
    /// The table names another owner. If it names this worker, the lease was somebody else's meanwhile, or the row was edited.
    TakenBy(WorkerId),
    /// The table names no owner.
    Unowned,
    /// It could not be renewed within the fail-over time: others may own it now.
    Expired,
    /// Another process was started under this worker's id, and has the lease now.
    Superseded,
    /// The row is gone.
    Deleted,
    /// This worker gave it up.
    GivenUp,
}

impl LossReason {
    /// Its name in numbers, which does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TakenBy(_) => "taken",
            Self::Unowned => "unowned",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Deleted => "deleted",
            Self::GivenUp => "given-up",
        }
    }
}

impl fmt::Display for LossReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakenBy(owner) => write!(f, "taken by {owner}"),
            Self::Unowned => f.write_str("released by someone else"),
            Self::Expired => f.write_str("not renewed within the fail-over time"),
            Self::Superseded => f.write_str("taken by another process that uses this worker's id"),
            Self::Deleted => f.write_str("row deleted"),
            Self::GivenUp => f.write_str("given up"),
        }
    }
}

/// Why a write to a held lease failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseWriteError {
    /// The lease is no longer held; writing is over for good.
    #[error("the lease is no longer held by this worker: {0}; stop processing the shard")]
    Lost(LossReason),
    /// The table could not be written; the lease is still held. Try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LeaseWriteError {
    /// Its name in numbers, which does not change.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Lost(reason) => reason.code(),
            Self::Store(error) => error.kind().code(),
        }
    }
}
