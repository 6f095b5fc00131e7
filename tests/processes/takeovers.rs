//! How long shards stand still when their owner is disturbed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::timeline::note;

/// What happened to the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    Killed,
    /// Killed, and started again under the same name.
    Restarted,
    Frozen,
    ToldToLeave,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed",
            Self::Restarted => "restarted",
            Self::Frozen => "frozen",
            Self::ToldToLeave => "told to leave",
        })
    }
}

/// Measures from the disturbance of a shard's owner to the first batch of the next one.
#[derive(Debug, Default)]
pub(crate) struct TakeOvers {
    owners: BTreeMap<String, (String, u64)>,
    waiting: BTreeMap<String, Waiting>,
    times: BTreeMap<Cause, Vec<Duration>>,
}

#[derive(Debug)]
struct Waiting {
    worker: String,
    token: u64,
    cause: Cause,
    since: Instant,
    /// Whether the owner may go on where it was.
    may_recover: bool,
}

impl TakeOvers {
    pub(crate) fn began(&mut self, worker: &str, shard: &str, token: u64) {
        let owner = self.owners.entry(shard.to_owned()).or_default();
        if owner.1 < token {
            *owner = (worker.to_owned(), token);
        }
    }

    pub(crate) fn entered(&mut self, worker: &str, shard: &str, token: u64, at: Instant) {
        let Some(waiting) = self.waiting.get(shard) else {
            return;
        };
        if token > waiting.token {
            let time = at.saturating_duration_since(waiting.since);
            note(&format!(
                "{worker} goes on with {shard} {:.1} s after {} was {}",
                time.as_secs_f64(),
                waiting.worker,
                waiting.cause
            ));
            self.times.entry(waiting.cause).or_default().push(time);
            self.waiting.remove(shard);
        } else if waiting.may_recover && token == waiting.token {
            self.waiting.remove(shard);
        }
    }

    pub(crate) fn ended(&mut self, shard: &str) {
        self.owners.remove(shard);
        self.waiting.remove(shard);
    }

    /// Something happened to a worker. A shard that waits for a new owner already goes on waiting.
    pub(crate) fn disturbed(&mut self, worker: &str, cause: Cause, since: Instant) {
        for (shard, (owner, token)) in &self.owners {
            if owner == worker {
                self.waiting.entry(shard.clone()).or_insert_with(|| Waiting {
                    worker: worker.to_owned(),
                    token: *token,
                    cause,
                    since,
                    may_recover: false,
                });
            }
        }
    }

    /// A frozen worker may go on; perhaps nobody has taken its shards.
    pub(crate) fn thawed(&mut self, worker: &str) {
        let frozen = self
            .waiting
            .values_mut()
            .filter(|waiting| waiting.worker == worker && waiting.cause == Cause::Frozen);
        frozen.for_each(|waiting| waiting.may_recover = true);
    }

    /// All times of a cause, sorted.
    pub(crate) fn times(&self, cause: Cause) -> Vec<Duration> {
        let mut times = self.times.get(&cause).cloned().unwrap_or_default();
        times.sort();
        times
    }
}
