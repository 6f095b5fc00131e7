//! How pages become batches: how large one may be, and how long it waits for more. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::unpacking::{Opened, Unpacking};
use crate::config::{ProcessingOptions, RetrievalOptions};
use crate::record::{Gap, Record, RecordBatch, count_overhead};

/// The most that a batch may be, and how long it may wait to become that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    pub(super) records: usize,
    /// Of payloads and partition keys. A record that is larger comes alone.
    pub(super) bytes: u64,
    /// Since the first record of the batch was there.
    pub(super) window: Duration,
    /// What a batch that waits may hold of the shard's buffer, in bytes: no more would come to fill it if that were full.
    held: u64,
}

impl BatchLimits {
    pub(crate) fn new(retrieval: &RetrievalOptions, processing: &ProcessingOptions) -> Self {
        let records = processing.max_batch_records.unwrap_or(retrieval.max_records);
        let bytes = processing.max_batch_bytes.unwrap_or(u64::MAX);
        Self {
            records: usize::try_from(records).unwrap_or(usize::MAX).max(1),
            bytes,
            window: processing.batch_window,
            held: retrieval.prefetch_bytes_per_shard / 2,
        }
    }

    /// Whether these are not too many bytes.
    pub(super) fn holds(&self, records: &[Record]) -> bool {
        self.bytes == u64::MAX || records.iter().map(Record::size).sum::<u64>() <= self.bytes
    }
}

/// A batch that is being filled.
#[derive(Debug)]
pub(super) struct Filling {
    records: Vec<Record>,
    bytes: u64,
    held: u64,
    /// The page that came last, without its records: what it says of the shard is the latest.
    page: RecordBatch,
    gap: Option<Gap>,
    front: Option<Record>,
    since: Instant,
    is_full: bool,
}

impl Filling {
    /// Begins with a page, with what may be missing before it, and with the record in front of it.
    pub(super) fn new(opened: &Opened, gap: Option<Gap>, front: Option<Record>, now: Instant) -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
            held: 0,
            page: opened.page().with(Vec::new(), false),
            gap,
            front,
            since: now,
            is_full: false,
        }
    }

    /// Takes over what there is room for.
    pub(super) fn take(&mut self, opened: &mut Opened, unpacking: &mut Unpacking, limits: &BatchLimits) {
        self.page = opened.page().with(Vec::new(), false);
        loop {
            let (records, bytes) = (self.records.len(), self.bytes);
            let fits = |next: &Record| {
                records == 0 || records < limits.records && bytes.saturating_add(next.size()) <= limits.bytes
            };
            let Some(next) = unpacking.next_if(opened, fits) else {
                break;
            };
            self.bytes += next.size();
            self.held += next.weight();
            self.records.push(next);
        }
        self.is_full = !Unpacking::is_exhausted(opened)
            || self.records.len() >= limits.records
            || self.bytes >= limits.bytes
            || self.held >= limits.held;
    }

    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Until when it waits for more.
    pub(super) fn deadline(&self, limits: &BatchLimits) -> Instant {
        self.since + limits.window
    }

    /// The batch; and the record in front of the next one, if that is to come from what is left of the page.
    pub(super) fn finish(self, is_last: bool, more_follows: bool) -> (RecordBatch, Option<Record>) {
        count_overhead(&self.records);
        let last = self.records.last().filter(|last| more_follows && last.is_small());
        let last = last.map(Record::detach);
        let batch = self.page.with(self.records, is_last);
        (batch.behind(self.gap).after(self.front), last)
    }
}
