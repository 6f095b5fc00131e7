//! One shard: a hash range, and records in the order in which they arrived.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::encryption::Encryption;
use super::hash::HashRange;
use super::limits::ShardLimits;
use super::load::Load;
use super::sequence::{SequenceNumber, SequenceOrigin};
use super::shard_id::ShardId;
use super::subscribers::Subscribers;
use super::time::EpochMillis;
use crate::kinesis::ShardRates;

/// A place between two records of a shard, named by the counter of the record after it.
///
/// The records of a shard are counted from one without gaps, and trimming does not renumber them, so a position
/// keeps its meaning for as long as its shard lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) u64);

/// A record as its producer gave it.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    /// Decides the shard, through its hash.
    pub(crate) partition_key: Arc<str>,
    /// The content.
    pub(crate) data: Bytes,
}

impl Payload {
    /// What the service's limits count: content and partition key, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// A record as consumers get it. Shares its memory with the stored one.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its position.
    pub(crate) sequence_number: SequenceNumber,
    /// When it was written.
    pub(crate) arrived: EpochMillis,
    /// What was written.
    pub(crate) payload: Payload,
    /// Whether it counts as encrypted.
    pub(crate) encrypted: bool,
}

#[derive(Debug)]
struct Stored {
    arrived: EpochMillis,
    payload: Payload,
}

/// How a shard ended.
#[derive(Debug, Clone)]
pub(crate) struct Closure {
    /// When.
    pub(crate) at: EpochMillis,
    /// The shards that took over its hash range.
    pub(crate) children: Vec<ShardId>,
}

/// How much a read may return.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimit {
    /// The greatest number of records.
    pub(crate) records: usize,
    /// The greatest sum of [`Payload::size`]; the first record is returned even if it alone exceeds this.
    pub(crate) bytes: usize,
}

/// Consecutive records of a shard.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The records, oldest first.
    pub(crate) records: Vec<Record>,
    /// The sum of their sizes.
    pub(crate) bytes: usize,
    /// Where to read on.
    pub(crate) next: Position,
    /// The age of the record at `next` in milliseconds, or zero if there is none.
    pub(crate) millis_behind_latest: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) origin: SequenceOrigin,
    pub(crate) range: HashRange,
    /// The shard split, or the shards merged, to make this one. They may be gone already.
    pub(crate) parents: Vec<ShardId>,
    /// Set once, when the shard stops taking records.
    pub(crate) closure: Option<Closure>,
    pub(crate) limits: ShardLimits,
    pub(crate) load: Load,
    pub(crate) subscribers: Subscribers,
    /// Wakes subscriptions that wait: there is a record, the shard has ended, or they have.
    pub(crate) news: Arc<Notify>,
    records: VecDeque<Stored>,
    /// Where the next record will be.
    tip: Position,
    encryption: Encryption,
}

impl Shard {
    /// A shard without parents and records. Its sequence numbers tell that it opened at `at`, but not before
    /// `earliest_second`.
    pub(crate) fn first(
        id: ShardId,
        range: HashRange,
        rates: ShardRates,
        earliest_second: u64,
        at: EpochMillis,
    ) -> Self {
        Self::new(id, range, &[], rates, earliest_second, at)
    }

    /// A shard that takes over from others. Its sequence numbers tell that it opened at `at`, but at least a second
    /// after `parents`.
    pub(crate) fn child(
        id: ShardId,
        range: HashRange,
        parents: &[&Shard],
        rates: ShardRates,
        at: EpochMillis,
    ) -> Self {
        let after_parents = parents.iter().map(|parent| parent.origin.opened_second + 1).max();
        Self::new(id, range, parents, rates, after_parents.unwrap_or(0), at)
    }

    fn new(
        id: ShardId,
        range: HashRange,
        parents: &[&Shard],
        rates: ShardRates,
        earliest_second: u64,
        at: EpochMillis,
    ) -> Self {
        let opened_second = at.seconds().max(earliest_second);
        Self {
            origin: SequenceOrigin {
                opened_second,
                shard: id,
            },
            range,
            parents: parents.iter().map(|parent| parent.id()).collect(),
            closure: None,
            limits: ShardLimits::new(rates, at),
            load: Load::new(at),
            subscribers: Subscribers::default(),
            news: Arc::default(),
            records: VecDeque::new(),
            tip: Position(1),
            encryption: Encryption::default(),
        }
    }

    pub(crate) fn id(&self) -> ShardId {
        self.origin.shard
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closure.is_none()
    }

    /// Whether the shard took records at `time` or later.
    pub(crate) fn lived_at_or_after(&self, time: EpochMillis) -> bool {
        self.closure.as_ref().is_none_or(|closure| closure.at >= time)
    }

    /// The number before the shard's first record.
    pub(crate) fn starting_sequence_number(&self) -> SequenceNumber {
        self.origin.starting()
    }

    /// A number greater than any record's, once the shard is closed.
    pub(crate) fn ending_sequence_number(&self) -> Option<SequenceNumber> {
        self.closure
            .as_ref()
            .map(|closure| self.origin.ending(closure.at.seconds()))
    }

    /// Adds a record. `now` is not before the arrival of any earlier record.
    pub(crate) fn append(&mut self, payload: Payload, now: EpochMillis) -> SequenceNumber {
        let number = self.origin.number(self.tip.0, now.seconds());
        self.records.push_back(Stored {
            arrived: now,
            payload,
        });
        self.tip.0 += 1;
        self.news.notify_waiters();
        number
    }

    /// Records count as encrypted from now on, or not any more.
    pub(crate) fn encrypt(&mut self, is_on: bool) {
        self.encryption.set(is_on, self.tip, self.trim_horizon());
    }

    /// The oldest record that is left, or the tip.
    pub(crate) fn trim_horizon(&self) -> Position {
        Position(self.tip.0 - self.records.len() as u64)
    }

    /// Behind the newest record.
    pub(crate) fn tip(&self) -> Position {
        self.tip
    }

    /// The first record that arrived at `time` or later, or the tip.
    pub(crate) fn position_at_time(&self, time: EpochMillis) -> Position {
        let older = self.records.partition_point(|record| record.arrived < time);
        Position(self.trim_horizon().0 + older as u64)
    }

    /// The position of the first record whose number is not less than `number`, or `None` if this shard has not issued it.
    /// Numbers of trimmed records, [continuations](Self::continuation) and both ends of the shard's range count as issued.
    pub(crate) fn position_of(&self, number: SequenceNumber) -> Option<Position> {
        let counter = number.counter();
        let issued = number.origin() == self.origin
            && (counter < self.tip.0 || self.ending_sequence_number().is_some_and(|end| number <= end));
        let stored = || {
            let index = counter.checked_sub(self.trim_horizon().0)?;
            self.records.get(usize::try_from(index).ok()?)
        };
        let follows = |stored: &Stored| self.origin.number(counter, stored.arrived.seconds()) < number;
        let counter = counter + u64::from(issued && stored().is_some_and(follows));
        issued.then(|| Position(counter.min(self.tip.0)))
    }

    /// The position behind a sequence number, or `None` if this shard has not issued it.
    pub(crate) fn position_after(&self, number: SequenceNumber) -> Option<Position> {
        self.position_of(number)?;
        Some(Position((number.counter() + 1).min(self.tip.0)))
    }

    /// A number between those of the records before and after `position`, which grows with time.
    pub(crate) fn continuation(&self, position: Position, now: EpochMillis) -> SequenceNumber {
        let second = now.seconds().max(self.origin.opened_second);
        self.origin.number(position.0.saturating_sub(1), second)
    }

    /// Drops records that arrived before `horizon`.
    pub(crate) fn trim(&mut self, horizon: EpochMillis) {
        while self
            .records
            .front()
            .is_some_and(|record| record.arrived < horizon)
        {
            self.records.pop_front();
        }
        if self.records.is_empty() && self.records.capacity() > 0 && !self.is_open() {
            self.records = VecDeque::new();
        }
    }

    /// How many records there are.
    pub(crate) fn record_count(&self) -> usize {
        self.records.len()
    }

    /// The newest records, oldest of them first.
    pub(crate) fn newest(&self, records: usize, now: EpochMillis) -> Vec<Record> {
        let from = Position(self.tip.0.saturating_sub(records as u64));
        let bytes = usize::MAX;
        self.read(from, ReadLimit { records, bytes }, now).records
    }

    /// Copies records out, sharing their payloads. A position before the trim horizon reads from the horizon.
    pub(crate) fn read(&self, position: Position, limit: ReadLimit, now: EpochMillis) -> Batch {
        let from = position.clamp(self.trim_horizon(), self.tip);
        let skipped = usize::try_from(from.0 - self.trim_horizon().0).unwrap_or(usize::MAX);
        let mut records = Vec::with_capacity((self.records.len() - skipped).min(limit.records));
        let mut bytes = 0;
        let mut next = from;
        for stored in self.records.range(skipped..).take(limit.records) {
            let size = stored.payload.size();
            if !records.is_empty() && bytes + size > limit.bytes {
                break;
            }
            bytes += size;
            records.push(Record {
                sequence_number: self.origin.number(next.0, stored.arrived.seconds()),
                arrived: stored.arrived,
                payload: stored.payload.clone(),
                encrypted: self.encryption.is_on_at(next),
            });
            next.0 += 1;
        }
        let unread = self.records.get(skipped + records.len());
        let behind = unread.map_or(0, |stored| now.get().saturating_sub(stored.arrived.get()));
        Batch {
            records,
            bytes,
            next,
            millis_behind_latest: behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: ReadLimit = ReadLimit {
        records: 10_000,
        bytes: 10 << 20,
    };

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(1_700_000_000_000 + millis)
    }

    fn shard() -> Shard {
        let range = HashRange::divide(1).next().unwrap();
        Shard::first(ShardId::new(0), range, ShardRates::default(), 0, at(0))
    }

    fn payload(content: &str) -> Payload {
        Payload {
            partition_key: "k".into(),
            data: Bytes::copy_from_slice(content.as_bytes()),
        }
    }

    fn shard_with(arrivals: &[u64]) -> Shard {
        let mut shard = shard();
        for millis in arrivals {
            shard.append(payload(&millis.to_string()), at(*millis));
        }
        shard
    }

    fn contents(batch: &Batch) -> Vec<u64> {
        let content = |record: &Record| {
            std::str::from_utf8(&record.payload.data)
                .unwrap()
                .parse()
                .unwrap()
        };
        batch.records.iter().map(content).collect()
    }

    #[test]
    fn sequence_numbers_grow_while_time_stands_still() {
        let mut shard = shard();
        let numbers: Vec<_> = (0..5).map(|_| shard.append(payload(""), at(0))).collect();
        assert!(shard.starting_sequence_number() < numbers[0]);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_read_shares_the_stored_bytes() {
        let mut shard = shard();
        let data = Bytes::from(vec![1; 100]);
        shard.append(
            Payload {
                partition_key: "k".into(),
                data: data.clone(),
            },
            at(0),
        );
        let batch = shard.read(shard.trim_horizon(), ALL, at(0));
        assert_eq!(batch.records[0].payload.data.as_ptr(), data.as_ptr());
    }

    #[test]
    fn a_read_stops_at_its_number_of_records_and_says_how_old_the_next_one_is() {
        let shard = shard_with(&[0, 10, 20]);
        let batch = shard.read(shard.trim_horizon(), ReadLimit { records: 2, ..ALL }, at(100));
        assert_eq!(contents(&batch), [0, 10]);
        assert_eq!(batch.millis_behind_latest, 80);
        let rest = shard.read(batch.next, ALL, at(100));
        assert_eq!(contents(&rest), [20]);
        assert_eq!(rest.millis_behind_latest, 0);
        assert_eq!(rest.next, shard.tip());
    }

    #[test]
    fn a_read_stops_before_its_number_of_bytes_but_returns_at_least_one_record() {
        let shard = shard_with(&[100, 200, 300]);
        let read = |bytes| contents(&shard.read(shard.trim_horizon(), ReadLimit { bytes, ..ALL }, at(300)));
        assert_eq!(read(1), [100]);
        assert_eq!(read(7), [100]);
        assert_eq!(read(8), [100, 200]);
    }

    #[test]
    fn a_position_survives_trimming() {
        let mut shard = shard_with(&[0, 10, 20, 30]);
        let second = shard
            .read(shard.trim_horizon(), ReadLimit { records: 1, ..ALL }, at(30))
            .next;
        let third = shard.read(second, ReadLimit { records: 1, ..ALL }, at(30)).next;
        shard.trim(at(20));
        assert_eq!(contents(&shard.read(third, ALL, at(30))), [20, 30]);
        assert_eq!(
            contents(&shard.read(second, ALL, at(30))),
            [20, 30],
            "reads from the horizon"
        );
        shard.trim(at(1_000));
        let batch = shard.read(second, ALL, at(1_000));
        assert!(batch.records.is_empty());
        assert_eq!(batch.next, shard.tip());
    }

    #[test]
    fn a_time_leads_to_the_first_record_that_is_not_older() {
        let shard = shard_with(&[10, 20, 20, 30]);
        let from = |millis| contents(&shard.read(shard.position_at_time(at(millis)), ALL, at(50)));
        assert_eq!(from(0), [10, 20, 20, 30]);
        assert_eq!(from(20), [20, 20, 30]);
        assert_eq!(from(21), [30]);
        assert!(from(31).is_empty());
    }

    #[test]
    fn only_numbers_that_the_shard_issued_have_a_position() {
        let mut shard = shard_with(&[0, 10]);
        let origin = shard.origin;
        let next = origin.number(3, 0);
        assert_eq!(
            shard.position_of(shard.starting_sequence_number()),
            Some(Position(0))
        );
        assert_eq!(shard.position_of(origin.number(2, 0)), Some(Position(2)));
        assert_eq!(shard.position_of(next), None, "not issued yet");
        let other = SequenceOrigin {
            shard: ShardId::new(1),
            ..origin
        };
        assert_eq!(shard.position_of(other.number(1, 0)), None, "another shard's");
        let earlier = SequenceOrigin {
            opened_second: origin.opened_second - 1,
            ..origin
        };
        assert_eq!(shard.position_of(earlier.number(1, 0)), None, "another stream's");

        shard.closure = Some(Closure {
            at: at(10),
            children: vec![],
        });
        let end = shard.ending_sequence_number().unwrap();
        assert_eq!(shard.position_of(end), Some(shard.tip()));
    }

    #[test]
    fn a_continuation_stands_between_two_records() {
        let mut shard = shard_with(&[0, 10]);
        let place = shard.tip();
        let before = shard.continuation(place, at(10));
        let continuation = shard.continuation(place, at(60_000));
        let first = shard.origin.number(2, at(10).seconds());
        let second = shard.append(payload("60000"), at(60_000));
        assert!(before < continuation && first < continuation && continuation < second);
        assert_eq!(shard.position_of(continuation), Some(place));
        assert_eq!(shard.position_after(continuation), Some(place));
        assert_eq!(shard.position_of(first), Some(Position(2)));
        assert_eq!(shard.position_after(first), Some(place));
        shard.trim(at(60_000));
        assert_eq!(
            shard.position_after(continuation),
            Some(place),
            "its record is trimmed"
        );
        shard.trim(at(90_000));
        assert_eq!(shard.position_after(continuation), Some(place));
    }

    #[test]
    fn a_child_starts_above_all_numbers_of_its_parents_even_in_the_same_instant() {
        let mut parent = shard_with(&[0, 0, 0]);
        parent.closure = Some(Closure {
            at: at(0),
            children: vec![ShardId::new(16)],
        });
        // Sixteen shards apart, the numbers differ only in the second of opening and in the counter at first.
        let child = Shard::child(
            ShardId::new(16),
            parent.range,
            &[&parent],
            ShardRates::default(),
            at(0),
        );
        assert!(parent.ending_sequence_number().unwrap() < child.starting_sequence_number());
    }
}
