//! The batch at hand and, once it was cut because it failed, what is left of it. No I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use crate::config::{Failure, FailurePolicy, Reaction};
use crate::record::{Record, RecordBatch};

/// What came of the calls of a worker's processors, in the order in which it came. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes(Arc<Order>);

#[derive(Debug, Default)]
struct Order {
    last: AtomicU64,
    /// When records were processed last.
    success: AtomicU64,
}

/// A place in the order of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Outcomes {
    pub(crate) fn now(&self) -> Moment {
        Moment(self.0.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Records of some shard were processed.
    pub(crate) fn processed(&self) {
        let Moment(now) = self.now();
        self.0.success.fetch_max(now, Ordering::Relaxed);
    }

    fn last_success(&self) -> Moment {
        Moment(self.0.success.load(Ordering::Relaxed))
    }
}

/// What is left of a batch, and how its first piece fails.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// In order. Empty while the batch is whole.
    left: VecDeque<RecordBatch>,
    trouble: Trouble,
    /// The last record that was processed, if it is small enough to be kept.
    probe: Option<Record>,
}

/// How the first piece, as it is now cut, fails.
#[derive(Debug, Default, Clone, Copy)]
struct Trouble {
    attempts: u32,
    since: Option<Instant>,
    failed_at: Option<Moment>,
    /// The probe comes next.
    is_probing: bool,
    /// The probe succeeded since.
    is_probed: bool,
    is_proven: bool,
}

/// What to deliver now.
#[derive(Debug, Clone)]
pub(crate) enum Next<'a> {
    /// The first piece of what is left.
    Piece(&'a RecordBatch),
    /// A record that was processed before.
    Probe(RecordBatch),
}

impl Next<'_> {
    pub(crate) fn batch(&self) -> &RecordBatch {
        match self {
            Self::Piece(batch) => batch,
            Self::Probe(batch) => batch,
        }
    }

    pub(crate) fn is_probe(&self) -> bool {
        matches!(self, Self::Probe(_))
    }
}

impl Pieces {
    /// The largest record that is kept, one for each shard.
    const LARGEST_PROBE: u64 = 64 << 10;

    /// What to deliver now; `whole` is the batch at hand.
    pub(crate) fn next<'a>(&'a self, whole: &'a RecordBatch) -> Next<'a> {
        match &self.probe {
            Some(probe) if self.trouble.is_probing => Next::Probe(whole.with_only(probe.clone())),
            _ => Next::Piece(self.first(whole)),
        }
    }

    fn first<'a>(&'a self, whole: &'a RecordBatch) -> &'a RecordBatch {
        self.left.front().unwrap_or(whole)
    }

    /// The first piece is done, processed or not; whether nothing is left.
    pub(crate) fn done(&mut self, whole: &RecordBatch, is_processed: bool) -> bool {
        if is_processed && let Some(last) = self.first(whole).records().last() {
            self.probe = (last.weight() <= Self::LARGEST_PROBE).then(|| last.clone());
        }
        self.trouble = Trouble::default();
        self.left.pop_front();
        self.left.is_empty()
    }

    /// The record in front was delivered again.
    pub(crate) fn probed(&mut self, is_ok: bool) {
        if is_ok {
            self.trouble.is_probing = false;
            self.trouble.is_probed = true;
        } else {
            // It is not the record: what happened up to now says nothing.
            self.trouble = Trouble::default();
        }
    }

    /// A call with the first piece that began at a moment has failed now.
    pub(crate) fn failed(
        &mut self,
        whole: &RecordBatch,
        policy: FailurePolicy,
        outcomes: &Outcomes,
        began: Moment,
    ) -> Reaction {
        let now = Instant::now();
        let records = self.first(whole).len();
        let (is_cut, has_probe) = (!self.left.is_empty(), self.probe.is_some());
        let trouble = &mut self.trouble;
        let before = trouble.failed_at.replace(outcomes.now());
        let success = outcomes.last_success();
        // Failed, while others were processed, failed: the sink was not away.
        trouble.is_proven |= match has_probe {
            true => trouble.is_probed,
            false => before.is_some_and(|before| before < success && success < began),
        };
        trouble.attempts = trouble.attempts.saturating_add(1);
        let failure = Failure {
            records,
            is_cut,
            attempts: trouble.attempts,
            lasted: now.saturating_duration_since(*trouble.since.get_or_insert(now)),
            is_proven: trouble.is_proven,
            has_probe,
        };
        let reaction = policy.react(&failure);
        match reaction {
            Reaction::Halve => self.halve(whole),
            Reaction::Probe => trouble.is_probing = true,
            Reaction::Repeat | Reaction::AwaitProof | Reaction::Skip => {}
        }
        reaction
    }

    fn halve(&mut self, whole: &RecordBatch) {
        let (first, second) = self.first(whole).halves();
        self.left.pop_front();
        self.left.push_front(second);
        self.left.push_front(first);
        self.trouble = Trouble::default();
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests;
