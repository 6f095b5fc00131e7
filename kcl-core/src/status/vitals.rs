//! What works and what fails in one shard.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// What is done for a shard, each of which may fail for a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// Reading records from Kinesis.
    Reading,
    /// Making the processor, and its `initialize`.
    Initializing,
    /// The processor's other calls, and what ends a shard.
    Processing,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Reading, Self::Initializing, Self::Processing];

    /// What a worker that cannot do it cannot do.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Reading => "read its shards",
            Self::Initializing => "initialize its processors",
            Self::Processing => "process its records",
        }
    }
}

/// A run of failures without a success between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// When the first attempt that failed began or ended.
    pub(crate) since: Instant,
    /// When the last one ended.
    pub(crate) until: Instant,
    /// How many there were.
    pub(crate) attempts: u32,
    /// Why the last one failed.
    pub(crate) error: String,
}

/// One shard's health, kind of work by kind of work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vitals {
    /// Nothing is tried at present: it waits for its parents, or is being given up.
    pub(crate) is_idle: bool,
    failing: BTreeMap<Work, Failure>,
    /// What another worker is to try, as the failure policy says.
    given_up: Option<Work>,
    succeeded_at: BTreeMap<Work, Instant>,
}

impl Failure {
    /// An attempt that failed just now.
    pub(crate) fn now(error: String) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            until: now,
            attempts: 1,
            error,
        }
    }
}

impl Vitals {
    pub(crate) fn succeeded(&mut self, work: Work, at: Instant) {
        self.recovered(work);
        self.succeeded_at.insert(work, at);
    }

    /// What failed is over, though nothing shows yet that it works.
    pub(crate) fn recovered(&mut self, work: Work) {
        self.failing.remove(&work);
        self.given_up.take_if(|given_up| *given_up == work);
    }

    pub(crate) fn failed(&mut self, work: Work, failure: Failure) {
        let run = self.failing.get(&work);
        let failure = Failure {
            since: run.map_or(failure.since, |run| run.since),
            attempts: failure.attempts + run.map_or(0, |run| run.attempts),
            ..failure
        };
        self.failing.insert(work, failure);
    }

    pub(crate) fn gives_up(&mut self, work: Work) {
        self.given_up = Some(work);
    }

    /// Whether it has failed for long enough, however long that is.
    pub(crate) fn is_given_up(&self, work: Work) -> bool {
        self.given_up == Some(work)
    }

    pub(crate) fn failure(&self, work: Work) -> Option<&Failure> {
        self.failing.get(&work).filter(|_| !self.is_idle)
    }

    pub(crate) fn succeeded_at(&self, work: Work) -> Option<Instant> {
        self.succeeded_at.get(&work).copied()
    }

    /// Whether nothing fails, and something was done.
    pub(crate) fn is_well(&self) -> bool {
        self.failing.is_empty() && !self.succeeded_at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_so_until_it_works_whatever_else_fails() {
        let failure = || Failure::now("no".to_owned());
        let mut vitals = Vitals::default();
        vitals.failed(Work::Processing, failure());
        vitals.gives_up(Work::Processing);
        vitals.failed(Work::Reading, failure());
        assert!(vitals.is_given_up(Work::Processing) && !vitals.is_given_up(Work::Reading));
        vitals.succeeded(Work::Processing, Instant::now());
        assert!(!vitals.is_given_up(Work::Processing) && vitals.failure(Work::Reading).is_some());
    }
}
