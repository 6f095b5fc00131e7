//! Newtypes for the names that identify leases, workers and terms of ownership.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name as it is stored.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            /// The name as it is stored.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// The primary key of a lease: for one stream the shard id (`shardId-000000000003`).
    LeaseKey
}

name! {
    /// The unique name of a worker: lease owner, lock owner and key of the worker's own row.
    WorkerId
}

name! {
    /// One run of a worker: two processes that were given the same worker id, or one before and after its restart, differ in
    /// it.
    ProcessId
}

impl ProcessId {
    /// The run of a worker that a random name tells from its other runs.
    pub fn of(worker: &WorkerId, run: &str) -> Self {
        Self::from(format!("{worker}#{run}"))
    }

    /// Whether this is a run of that worker.
    pub fn is_of(&self, worker: &WorkerId) -> bool {
        let run = self.as_str().strip_prefix(worker.as_str());
        run.and_then(|run| run.strip_prefix('#'))
            .is_some_and(|run| !run.contains('#'))
    }
}

/// A number that grows with every change of a lease's owner.
///
/// It is the lease counter at the moment of acquisition. A sink that remembers the greatest token seen for a shard
/// and refuses smaller ones cannot be written to by a stale owner.
///
/// An owner lifts the counter to the present time, in milliseconds since the Unix epoch, if it was below. So tokens go on to
/// grow when the lease table is made anew or restored from a backup, as far as the owners' clocks agree: within one table they
/// grow whatever the clocks say. A token is at most some 2.5 · 10¹⁴ (the year 9999), which JSON and doubles hold exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(u64);

impl FencingToken {
    /// A token from the lease counter at acquisition.
    pub fn new(counter: u64) -> Self {
        Self(counter)
    }

    /// The token as a number, for storing it next to the data it guards.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
