//! Takes aggregates apart on their way to the processor, a batch at a time: a Kinesis record may hold a million user records.

use std::collections::VecDeque;

use bytestring::ByteString;
use kcl_aggregation::UserRecord;
use kcl_lease::HashRange;

use crate::record::{Record, RecordBatch, count_overhead};

/// Makes batches of user records.
#[derive(Debug)]
pub(super) struct Unpacking {
    max_records: usize,
    judge: Judge,
}

/// What is left of a batch that is taken apart.
#[derive(Debug)]
pub(super) struct Packed {
    /// Without its records.
    batch: RecordBatch,
    records: VecDeque<Record>,
    /// The user record in front of those that are left, if it is at hand.
    front: Option<Record>,
    is_first: bool,
}

/// The next batch of user records, and what there was beside.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) batch: RecordBatch,
    /// How many user records were left out that belong to other shards.
    pub(super) left_out: u64,
    pub(super) rest: Option<Packed>,
}

impl Packed {
    pub(super) fn new(mut batch: RecordBatch) -> Self {
        let (records, front) = batch.take_records();
        Self {
            batch,
            records: records.into(),
            front,
            is_first: true,
        }
    }
}

impl Unpacking {
    /// For a shard with this range of hash keys, as far as it is known: batches of so many user records.
    pub(super) fn new(max_records: u32, hash_range: Option<HashRange>) -> Self {
        Self {
            max_records: usize::try_from(max_records).unwrap_or(usize::MAX).max(1),
            judge: Judge {
                range: hash_range.filter(|range| *range != HashRange::FULL),
                last: None,
            },
        }
    }

    /// Takes out as many user records as a batch may have.
    pub(super) fn next(&mut self, mut packed: Packed) -> Unpacked {
        let (mut records, mut left_out) = (Vec::new(), 0);
        if packed.is_first {
            packed.front = packed.front.take().and_then(|front| self.last_inside(front));
        }
        while records.len() < self.max_records
            && let Some(record) = packed.records.front_mut()
        {
            if let Some(next) = record.look_at_next() {
                let belongs = self.judge.belongs(&next);
                left_out += u64::from(!belongs);
                records.extend(record.take_next(next, belongs));
            } else {
                let whole = packed.records.pop_front();
                records.extend(whole.filter(|record| !record.is_packed()));
            }
        }
        count_overhead(&records);
        while packed
            .records
            .front()
            .is_some_and(|record| record.is_packed() && record.look_at_next().is_none())
        {
            packed.records.pop_front();
        }
        let is_done = packed.records.is_empty();
        let is_last = is_done && packed.batch.is_last();
        let gap = packed.batch.gap().filter(|_| packed.is_first).cloned();
        let last = records
            .last()
            .filter(|record| !is_done && record.is_small())
            .map(Record::detach);
        let batch = packed
            .batch
            .with(records, is_last)
            .behind(gap)
            .after(packed.front.take());
        if is_done {
            // It is a slice of what was read, and would keep that in memory.
            self.judge.last = None;
        }
        packed.front = last;
        packed.is_first = false;
        Unpacked {
            batch,
            left_out,
            rest: (!is_done).then_some(packed),
        }
    }

    /// The last user record that belongs here of an aggregate, up to its position.
    fn last_inside(&mut self, mut whole: Record) -> Option<Record> {
        if !whole.is_packed() {
            return Some(whole);
        }
        let mut last = None;
        for _ in 0..=whole.sub_sequence_number() {
            let next = whole.look_at_next()?;
            let belongs = self.judge.belongs(&next);
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
    fn belongs(&mut self, record: &UserRecord) -> bool {
        let Some(range) = self.range else {
            return true;
        };
        if record.explicit_hash_key.is_some() {
            // A key that is none chose no shard.
            return record.hash_key().is_none_or(|key| range.contains(key));
        }
        if let Some((key, belongs)) = &self.last
            && *key == record.partition_key
        {
            return *belongs;
        }
        let belongs = record.hash_key().is_none_or(|key| range.contains(key));
        self.last = Some((record.partition_key.clone(), belongs));
        belongs
    }
}

#[cfg(test)]
mod tests;
