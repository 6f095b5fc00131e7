//! The lease: who may process a shard, how far it got, and where it lies in the shard graph.

use std::collections::BTreeSet;
use std::fmt;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, PendingCheckpoint};
use crate::ids::{LeaseKey, ProcessId, WorkerId};

/// An inclusive range of hash keys, 0 to 2^128 - 1.
///
/// ```
/// use kcl_lease::HashRange;
///
/// assert_eq!(HashRange::new(0, 99).to_string(), "0..=99");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HashRange {
    /// First key.
    pub start: u128,
    /// Last key.
    pub end: u128,
}

impl HashRange {
    /// Every hash key there is.
    pub const FULL: Self = Self {
        start: 0,
        end: u128::MAX,
    };

    /// The keys from `start` to `end`, both included.
    pub fn new(start: u128, end: u128) -> Self {
        Self { start, end }
    }

    /// Whether a hash key lies in it.
    ///
    /// ```
    /// use kcl_lease::HashRange;
    ///
    /// assert!(HashRange::FULL.contains(u128::MAX));
    /// ```
    pub fn contains(&self, hash_key: u128) -> bool {
        (self.start..=self.end).contains(&hash_key)
    }
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

/// Which stream and shard a lease stands for, when its key alone does not say (several streams in one table).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamShard {
    /// The serialized stream identifier, `account:stream:creationEpoch`.
    pub stream: String,
    /// The shard.
    pub shard_id: String,
}

impl StreamShard {
    /// A shard of the stream with this serialized identifier.
    pub fn new(stream: impl Into<String>, shard_id: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            shard_id: shard_id.into(),
        }
    }
}

/// A stream, also after another one was made under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamIdentity {
    /// Its name.
    pub name: String,
    /// When it was created, in seconds since the Unix epoch, if the service tells it.
    pub created_at: Option<u64>,
}

impl StreamIdentity {
    /// A stream of this name, created at this time if it is known.
    pub fn new(name: impl Into<String>, created_at: Option<u64>) -> Self {
        Self {
            name: name.into(),
            created_at,
        }
    }

    /// Whether both may be the same stream: what is not known of one of them does not tell them apart.
    pub fn may_be(&self, other: &Self) -> bool {
        let times = self.created_at.zip(other.created_at);
        self.name == other.name && times.is_none_or(|(a, b)| a == b)
    }
}

impl fmt::Display for StreamIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.created_at {
            Some(seconds) => {
                let at = DateTime::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
                // A year that has no date is told as it is stored.
                match at.fmt(Format::DateTime) {
                    Ok(date) => write!(f, "{} (created {date})", self.name),
                    Err(_) => write!(f, "{} (created {seconds} s after 1970)", self.name),
                }
            }
            None => f.write_str(&self.name),
        }
    }
}

/// One row of the lease table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lease {
    /// Primary key.
    pub key: LeaseKey,
    /// The owner; during a hand-off the *next* owner.
    pub owner: Option<WorkerId>,
    /// During a hand-off the worker that still processes and may checkpoint.
    pub checkpoint_owner: Option<WorkerId>,
    /// The process that last began with it, if that was one of ours: a worker id may be given to two of them by mistake.
    /// (The Java KCL has no such attribute and leaves it alone.)
    pub process: Option<ProcessId>,
    /// Heartbeat and optimistic lock: grows with every write that concerns ownership or progress.
    pub counter: u64,
    /// Changes of owner since the last checkpoint.
    pub owner_switches_since_checkpoint: u64,
    /// How far the shard was processed.
    pub checkpoint: Checkpoint,
    /// A prepared checkpoint.
    pub pending_checkpoint: Option<PendingCheckpoint>,
    /// When the first reader of a lease at `LATEST` began, in milliseconds since the Unix epoch: whoever continues
    /// before the first checkpoint starts there. (The Java KCL has no such attribute and leaves it alone.)
    pub reading_since: Option<u64>,
    /// Since when the shard is paused, in milliseconds since the Unix epoch, whoever owns it; absent if it is not. (The Java KCL has no
    /// such attribute: it leaves it alone, and does not heed it.)
    pub paused_since: Option<u64>,
    /// An operator's order to process the shard anew from there. It stands until an owner begins with the lease: that one begins
    /// there, and whoever has the lease before gives it up. (The Java KCL has no such attribute: it leaves it alone, and does not
    /// heed it.)
    pub rewind_to: Option<Checkpoint>,
    /// Shard ids of the parents (0 to 2).
    pub parents: BTreeSet<String>,
    /// Shard ids of the children; known once the shard has ended.
    pub children: BTreeSet<String>,
    /// The shard's hash keys.
    pub hash_range: Option<HashRange>,
    /// Smoothed throughput of the shard in KB/s.
    pub throughput_kbps: Option<f64>,
    /// Set when several streams share the table.
    pub stream_shard: Option<StreamShard>,
}

impl Lease {
    /// A new lease without owner.
    pub fn new(key: impl Into<LeaseKey>, checkpoint: Checkpoint) -> Self {
        Self {
            key: key.into(),
            owner: None,
            checkpoint_owner: None,
            process: None,
            counter: 0,
            owner_switches_since_checkpoint: 0,
            checkpoint,
            pending_checkpoint: None,
            reading_since: None,
            paused_since: None,
            rewind_to: None,
            parents: BTreeSet::new(),
            children: BTreeSet::new(),
            hash_range: None,
            throughput_kbps: None,
            stream_shard: None,
        }
    }

    /// Names the owner.
    #[must_use]
    pub fn owned_by(mut self, owner: WorkerId) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Adds the parents' shard ids.
    #[must_use]
    pub fn with_parents<S: Into<String>>(mut self, parents: impl IntoIterator<Item = S>) -> Self {
        self.parents = parents.into_iter().map(Into::into).collect();
        self
    }

    /// Adds the hash range.
    #[must_use]
    pub fn with_hash_range(mut self, range: HashRange) -> Self {
        self.hash_range = Some(range);
        self
    }

    /// What it says of progress, without those who made it.
    #[must_use]
    pub fn without_owner(&self) -> Self {
        Self {
            owner: None,
            checkpoint_owner: None,
            process: None,
            ..self.clone()
        }
    }

    /// The worker that may process and checkpoint now: the checkpoint owner during a hand-off, else the owner.
    pub fn actual_owner(&self) -> Option<&WorkerId> {
        self.checkpoint_owner.as_ref().or(self.owner.as_ref())
    }

    /// Whether a hand-off is under way.
    pub fn is_in_hand_off(&self) -> bool {
        self.checkpoint_owner.is_some()
    }

    /// Whether the shard has been processed to its end, and is not to be processed anew.
    pub fn has_ended(&self) -> bool {
        self.checkpoint.is_shard_end() && self.rewind_to.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_with_the_date_of_its_creation() {
        let created = |created_at| {
            let name = "clicks".to_owned();
            StreamIdentity { name, created_at }.to_string()
        };
        assert_eq!(created(None), "clicks");
        assert_eq!(
            created(Some(1_800_000_000)),
            "clicks (created 2027-01-15T08:00:00Z)"
        );
        assert!(created(Some(u64::MAX)).starts_with("clicks (created "));
    }
}
