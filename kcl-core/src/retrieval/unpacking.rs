//! Takes the records of a page out, one after the other, and user records out of aggregates. Pure.

use std::collections::VecDeque;

use bytestring::ByteString;
use kcl_aggregation::UserRecord;
use kcl_lease::HashRange;

use crate::record::{Record, RecordBatch};

/// What is left of a page that was read.
#[derive(Debug)]
pub(super) struct Opened {
    /// Without its records.
    page: RecordBatch,
    records: VecDeque<Record>,
    /// The next record, taken out already.
    ahead: Option<Record>,
    /// User records that were left out and not counted yet.
    left_out: u64,
}

impl Opened {
    /// The page, without its records.
    pub(super) fn page(&self) -> &RecordBatch {
        &self.page
    }

    /// How many user records were left out since this was asked last.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

/// Knows which user records belong to the shard.
#[derive(Debug)]
pub(super) struct Unpacking {
    judge: Judge,
}

impl Unpacking {
    /// For a shard with this range of hash keys, as far as it is known.
    pub(super) fn new(hash_range: Option<HashRange>) -> Self {
        Self {
            judge: Judge {
                range: hash_range.filter(|range| *range != HashRange::FULL),
                last: None,
            },
        }
    }

    /// Opens a page; and the record in front of it, if that is at hand.
    pub(super) fn open(&mut self, mut page: RecordBatch) -> (Opened, Option<Record>) {
        let (records, front) = page.take_records();
        let front = front.and_then(|front| self.last_inside(front));
        let mut opened = Opened {
            page,
            records: records.into(),
            ahead: None,
            left_out: 0,
        };
        self.look_ahead(&mut opened);
        (opened, front)
    }

    /// The next record, if there is one and it is wanted.
    pub(super) fn next_if(
        &mut self,
        opened: &mut Opened,
        is_wanted: impl FnOnce(&Record) -> bool,
    ) -> Option<Record> {
        let next = opened.ahead.take_if(|next| is_wanted(next))?;
        self.look_ahead(opened);
        Some(next)
    }

    /// Whether nothing is left.
    pub(super) fn is_exhausted(opened: &Opened) -> bool {
        opened.ahead.is_none()
    }

    fn look_ahead(&mut self, opened: &mut Opened) {
        while let Some(record) = opened.records.front_mut() {
            if !record.is_packed() {
                opened.ahead = opened.records.pop_front();
                return;
            }
            let Some(next) = record.look_at_next() else {
                opened.records.pop_front();
                continue;
            };
            let belongs = self.judge.belongs(record.partition_key(), &next);
            opened.ahead = record.take_next(next, belongs);
            if opened.ahead.is_some() {
                return;
            }
            opened.left_out += 1;
        }
        // It is a slice of what was read, and would keep that in memory.
        self.judge.last = None;
    }

    /// The last user record that belongs here of an aggregate, up to its position.
    fn last_inside(&mut self, mut whole: Record) -> Option<Record> {
        if !whole.is_packed() {
            return Some(whole);
        }
        let mut last = None;
        for _ in 0..=whole.sub_sequence_number() {
            let next = whole.look_at_next()?;
            let belongs = self.judge.belongs(whole.partition_key(), &next);
            last = whole.take_next(next, belongs).or(last);
        }
        last.map(|last| last.detach())
    }
}

/// Whether user records belong to the shard. One that a producer put together with others for a shard that was split meanwhile
/// may not: the Kinesis Producer Library puts it once more, where it belongs.
#[derive(Debug)]
struct Judge {
    range: Option<HashRange>,
    /// The partition key that was judged last, without an explicit hash key.
    last: Option<(ByteString, bool)>,
}

impl Judge {
    fn belongs(&mut self, aggregate_key: &str, record: &UserRecord) -> bool {
        let Some(range) = self.range else {
            return true;
        };
        // Only streams that choose shards without keys take records without one.
        if aggregate_key.is_empty() {
            return true;
        }
        // A hash key that is none chose no shard.
        let judge = || record.hash_key().is_none_or(|key| range.contains(key));
        if record.explicit_hash_key.is_some() {
            return judge();
        }
        if let Some((key, belongs)) = &self.last
            && *key == record.partition_key
        {
            return *belongs;
        }
        let belongs = judge();
        self.last = Some((record.partition_key.clone(), belongs));
        belongs
    }
}

#[cfg(test)]
mod tests;
