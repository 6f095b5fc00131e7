//! The batch at hand and, once it was cut because it failed, what is left of it. No I/O.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::config::{FailedCall, Failure, FailurePolicy, Piece, Reaction};
use crate::record::{Record, RecordBatch};

/// What is left of a batch, and how its first piece fails.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// In order. Empty while the batch is whole.
    left: VecDeque<RecordBatch>,
    trouble: Trouble,
    /// The last record that was processed and is small enough to be kept.
    probe: Option<Record>,
}

/// How the first piece, as it is now cut, fails.
#[derive(Debug, Default, Clone, Copy)]
struct Trouble {
    attempts: u32,
    since: Option<Instant>,
    /// Since when, even if the probe failed meanwhile.
    since_ever: Option<Instant>,
    /// The probe comes next.
    is_probing: bool,
    /// How often the probe succeeded, and the piece failed after it.
    proofs: u32,
    /// The probe was the last that was delivered, and succeeded.
    is_probed: bool,
}

/// What to deliver now.
#[derive(Debug, Clone)]
pub(crate) enum Next<'a> {
    /// The first piece of what is left.
    Piece(&'a RecordBatch),
    /// A record that was processed before.
    Probe(Box<RecordBatch>),
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
    /// What to deliver now; `whole` is the batch at hand.
    pub(crate) fn next<'a>(&'a self, whole: &'a RecordBatch) -> Next<'a> {
        match self.probe.as_ref().or(whole.front()) {
            Some(probe) if self.trouble.is_probing => Next::Probe(Box::new(whole.with_only(probe.clone()))),
            _ => Next::Piece(self.first(whole)),
        }
    }

    fn first<'a>(&'a self, whole: &'a RecordBatch) -> &'a RecordBatch {
        self.left.front().unwrap_or(whole)
    }

    /// The first piece is done, processed or not; whether nothing is left.
    pub(crate) fn done(&mut self, whole: &RecordBatch, is_processed: bool) -> bool {
        if is_processed {
            let mut backwards = self.first(whole).iter().rev();
            let last = backwards.find(|record| record.is_small()).map(Record::detach);
            self.probe = last.or_else(|| self.probe.take());
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
            self.trouble = Trouble {
                since_ever: self.trouble.since_ever,
                ..Trouble::default()
            };
        }
    }

    /// A call with the first piece failed now.
    pub(crate) fn failed(&mut self, whole: &RecordBatch, policy: &FailurePolicy) -> Reaction {
        let now = Instant::now();
        let records = self.first(whole).len();
        let is_cut = !self.left.is_empty();
        let has_probe = self.probe.is_some() || whole.front().is_some();
        let trouble = &mut self.trouble;
        trouble.attempts = trouble.attempts.saturating_add(1);
        trouble.proofs += u32::from(std::mem::take(&mut trouble.is_probed));
        let failure = Failure {
            call: FailedCall::ProcessRecords(Piece {
                records,
                is_cut,
                lasted_in_all: now.saturating_duration_since(*trouble.since_ever.get_or_insert(now)),
                proofs: trouble.proofs,
                has_probe,
            }),
            attempts: trouble.attempts,
            lasted: now.saturating_duration_since(*trouble.since.get_or_insert(now)),
        };
        let reaction = policy.react(&failure);
        match reaction {
            Reaction::Halve => self.halve(whole),
            Reaction::Probe | Reaction::ProbeAgain => trouble.is_probing = true,
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
