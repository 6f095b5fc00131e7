//! The batch at hand and, once it was cut because it failed, what is left of it. No I/O.

use std::collections::VecDeque;

use kcl_lease::ExtendedSequenceNumber;
use tokio::time::Instant;

use crate::config::{FailedCall, Failure, Piece, Reaction};
use crate::record::{Record, RecordBatch};

/// What is left of a batch, and how its first piece fails.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// In order. Empty while the batch is whole.
    left: VecDeque<RecordBatch>,
    /// Whether the batch was cut to find the record at fault.
    is_cut: bool,
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
    /// The processor says that it is the first record that fails.
    is_the_first: bool,
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
            let last = probe_in(self.first(whole).records());
            self.probe = last.or_else(|| self.probe.take());
        }
        self.trouble = Trouble::default();
        self.left.pop_front();
        self.is_cut &= !self.left.is_empty();
        self.left.is_empty()
    }

    /// The processor says that it is done with everything in the first piece before the record at this position, and failed with that
    /// one. Returns what it is done with, if it is anything; `None` also if there is no such record.
    pub(crate) fn failed_at(
        &mut self,
        whole: &RecordBatch,
        position: &ExtendedSequenceNumber,
    ) -> Option<RecordBatch> {
        let first = self.first(whole);
        let index = first.iter().position(|record| record.position() == position)?;
        if index == 0 {
            self.trouble.is_the_first = true;
            return None;
        }
        let (done, rest) = first.split_at(index);
        self.left.pop_front();
        self.left.push_front(rest);
        self.probe = probe_in(done.records()).or_else(|| self.probe.take());
        self.trouble = Trouble {
            is_the_first: true,
            ..Trouble::default()
        };
        Some(done)
    }

    /// The record in front was delivered again.
    pub(crate) fn probed(&mut self, is_ok: bool) {
        if is_ok {
            self.trouble.is_probing = false;
            self.trouble.is_probed = true;
        } else {
            self.excused();
        }
    }

    /// It is not the record that fails: what happened up to now says nothing.
    pub(crate) fn excused(&mut self) {
        self.trouble = Trouble {
            since_ever: self.trouble.since_ever,
            ..Trouble::default()
        };
    }

    /// A call with the first piece failed now. [`react`](Self::react) follows.
    pub(crate) fn failed(&mut self, whole: &RecordBatch) -> Failure {
        let now = Instant::now();
        let records = self.first(whole).len();
        let has_probe = self.probe.is_some() || whole.front().is_some();
        let trouble = &mut self.trouble;
        trouble.attempts = trouble.attempts.saturating_add(1);
        trouble.proofs += u32::from(std::mem::take(&mut trouble.is_probed));
        Failure {
            call: FailedCall::ProcessRecords(Piece {
                records,
                is_cut: self.is_cut,
                lasted_in_all: now.saturating_duration_since(*trouble.since_ever.get_or_insert(now)),
                proofs: trouble.proofs,
                has_probe,
            }),
            attempts: trouble.attempts,
            lasted: now.saturating_duration_since(*trouble.since.get_or_insert(now)),
        }
    }

    /// Makes of the first piece what is to be delivered next.
    pub(crate) fn react(&mut self, whole: &RecordBatch, reaction: Reaction) {
        match reaction {
            Reaction::Halve => self.cut(whole),
            Reaction::Probe | Reaction::ProbeAgain => self.trouble.is_probing = true,
            Reaction::Repeat
            | Reaction::AwaitProof
            | Reaction::Skip
            | Reaction::DeadLetter
            | Reaction::Release
            | Reaction::Stop => {}
        }
    }

    fn cut(&mut self, whole: &RecordBatch) {
        let piece = self.first(whole);
        let at = if self.trouble.is_the_first {
            1
        } else {
            piece.len().div_ceil(2)
        };
        let (first, second) = piece.split_at(at);
        self.left.pop_front();
        self.left.push_front(second);
        self.left.push_front(first);
        self.is_cut = true;
        self.trouble = Trouble::default();
    }

    /// Forgets what is left.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The last record that is small enough to be kept.
fn probe_in(records: &[Record]) -> Option<Record> {
    let mut backwards = records.iter().rev();
    backwards.find(|record| record.is_small()).map(Record::detach)
}

#[cfg(test)]
mod tests;
