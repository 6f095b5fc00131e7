//! Records and batches of records, as a processor sees them.

#[cfg(feature = "testing")]
pub(crate) mod builder;

mod inside;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_kinesis::types as sdk;
use bytes::Bytes;
use bytestring::ByteString;
use kcl_lease::{ExtendedSequenceNumber, InvalidSequenceNumber, SequenceNumber};

use self::inside::Inside;
pub(crate) use self::inside::count_overhead;
use crate::memory::{Holding, Share};

/// How Kinesis stored a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// In plain text.
    None,
    /// Encrypted at rest with a key of AWS KMS.
    Kms,
}

/// What a record takes beside its payload and its key, in bytes.
const OVERHEAD: u64 = 192;

/// One record of a shard, or one user record of an aggregate that was in the shard. Clones share the payload.
///
/// The payload and the keys of a user record are slices of the record that it came in, which stays in memory as long as any of
/// them is held.
///
/// A payload is a slice of the answer that it came in, up to 10 MiB and more, unless reads are made in JSON
/// ([`read_encoding`](crate::WorkerBuilder::read_encoding)). Whoever holds a record or a clone of it holds all of that, and it counts as
/// long in the memory that the worker has for records
/// ([`prefetch_bytes_per_worker`](crate::WorkerBuilder::prefetch_bytes_per_worker)): what is kept for longer than a call should be
/// [detached](Self::detach). A payload that is kept without its record takes as much, and does not count.
///
/// ```
/// let record = kcl_core::testing::record("payload").partition_key("customer-7").build();
/// assert_eq!(record.data().as_ref(), b"payload");
/// assert_eq!(record.partition_key(), "customer-7");
/// let kept = record.detach(); // a copy of its own, to be kept for long
/// assert_eq!(kept.data(), record.data());
/// ```
#[derive(Clone)]
pub struct Record {
    position: ExtendedSequenceNumber,
    data: Bytes,
    partition_key: ByteString,
    explicit_hash_key: Option<ByteString>,
    approximate_arrival: Option<SystemTime>,
    encryption: Option<Encryption>,
    is_user_record: bool,
    /// Of an aggregate that is to be taken apart: what is in it.
    inside: Option<Box<Inside>>,
    /// Its part of the worker's memory; none for one that never was read, or is kept for long.
    holding: Option<Holding>,
}

impl Record {
    /// The payload. Cloning it copies no bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The key that the producer gave; its MD5 digest chose the shard unless an explicit hash key did. It is empty where the producer
    /// gave none, as it may for a stream whose record distribution strategy is `AUTO`.
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }

    /// The hash key that the producer gave; known for aggregated records only.
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// The Kinesis record's number: unique and ascending inside its shard.
    pub fn sequence_number(&self) -> &SequenceNumber {
        &self.position.sequence
    }

    /// The index of the user record inside its aggregate; 0 for a plain record. An aggregate that is not taken apart
    /// ([`deaggregate`](crate::WorkerBuilder::deaggregate)) has the index of its last user record: it is done when that one is.
    pub fn sub_sequence_number(&self) -> u64 {
        self.position.sub_sequence
    }

    /// Whether it was in an aggregate, together with others.
    pub fn is_aggregated(&self) -> bool {
        self.is_user_record
    }

    /// Sequence and sub-sequence number together: the record's place in its shard.
    pub fn position(&self) -> &ExtendedSequenceNumber {
        &self.position
    }

    /// When Kinesis received the record, to the millisecond.
    pub fn approximate_arrival(&self) -> Option<SystemTime> {
        self.approximate_arrival
    }

    /// How Kinesis stored the record, if it said so.
    pub fn encryption(&self) -> Option<Encryption> {
        self.encryption
    }

    /// A copy with a payload and keys of its own, which does not count as the worker's memory: to be kept for long.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self {
            position: self.position.clone(),
            data: Bytes::copy_from_slice(&self.data),
            partition_key: self.partition_key.to_string().into(),
            explicit_hash_key: self.explicit_hash_key.as_ref().map(|key| key.to_string().into()),
            approximate_arrival: self.approximate_arrival,
            encryption: self.encryption,
            is_user_record: self.is_user_record,
            inside: None,
            holding: None,
        }
    }

    /// Takes a copy in its place, which counts as the worker's memory by itself, if it is a slice of an answer: it may be kept for
    /// long, and the rest of the answer would be kept with it.
    pub(crate) fn set_apart(&mut self) {
        let Some(share) = self.holding.as_ref().map(Holding::share) else {
            return;
        };
        if share.is_block() {
            let mut copy = self.detach();
            let weight = copy.weight();
            copy.holding = Some(Holding::of(&share.apart(weight), weight));
            *self = copy;
        }
    }

    /// A record as Kinesis has it.
    pub(crate) fn of_kinesis(
        sequence: SequenceNumber,
        data: Bytes,
        partition_key: ByteString,
        approximate_arrival: Option<SystemTime>,
        encryption: Option<Encryption>,
    ) -> Self {
        Self {
            position: ExtendedSequenceNumber::new(sequence, 0),
            data,
            partition_key,
            explicit_hash_key: None,
            approximate_arrival,
            encryption,
            is_user_record: false,
            inside: None,
            holding: None,
        }
    }

    /// A record that was given up, and is delivered once more.
    pub(crate) fn of_letter(
        position: ExtendedSequenceNumber,
        data: Bytes,
        partition_key: ByteString,
        explicit_hash_key: Option<ByteString>,
        approximate_arrival: Option<SystemTime>,
        is_user_record: bool,
    ) -> Self {
        Self {
            position,
            data,
            partition_key,
            explicit_hash_key,
            approximate_arrival,
            encryption: None,
            is_user_record,
            inside: None,
            holding: None,
        }
    }

    /// Takes over a record of the SDK without copying its payload.
    pub(crate) fn from_sdk(record: sdk::Record) -> Result<Self, InvalidSequenceNumber> {
        let sequence = SequenceNumber::parse(record.sequence_number)?;
        // Boxed: a vector with spare capacity would cost another allocation.
        let data = Bytes::from(record.data.into_inner().into_boxed_slice());
        let arrival = record.approximate_arrival_timestamp;
        let encryption = record.encryption_type.and_then(|kind| match kind {
            sdk::EncryptionType::None => Some(Encryption::None),
            sdk::EncryptionType::Kms => Some(Encryption::Kms),
            _ => None,
        });
        Ok(Self::of_kinesis(
            sequence,
            data,
            record.partition_key.unwrap_or_default().into(),
            arrival.and_then(|at| SystemTime::try_from(at).ok()),
            encryption,
        ))
    }

    /// Whether it may be kept beside the bytes that are counted, one for each shard.
    pub(crate) fn is_small(&self) -> bool {
        self.weight() <= 64 << 10
    }

    /// What the record costs in memory, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.size() + OVERHEAD + self.inside.as_ref().map_or(0, |inside| inside.overhead())
    }

    /// What the service's limits count: payload and partition key, in bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.data.len() + self.partition_key.len()) as u64
    }

    /// A checkpoint named a user record of this record that is not known here.
    pub(crate) fn raise_sub_sequence(&mut self, to: u64) {
        self.position.sub_sequence = self.position.sub_sequence.max(to);
    }
}

impl fmt::Debug for Record {
    /// Shows everything but the payload, of which only the length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("position", &format_args!("{}", self.position))
            .field("partition_key", &self.partition_key)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// Consecutive records of one shard, in order.
///
/// ```
/// let batch = kcl_core::testing::batch(["a", "b"]);
/// assert_eq!(batch.len(), 2);
/// for record in &batch {
///     println!("{} {:?}", record.sequence_number(), record.data());
/// }
/// ```
#[derive(Debug, Clone)]
pub struct RecordBatch {
    records: Vec<Record>,
    weight: u64,
    millis_behind_latest: Option<u64>,
    is_last: bool,
    received_at: SystemTime,
    gap: Option<Gap>,
    /// The record in front of these, if it was read with them.
    front: Option<Record>,
    /// The bytes of which all records are slices, if they are.
    block: Option<u64>,
}

/// Records may be missing between two places of a shard: Kinesis trimmed them, as the stream's retention period says,
/// before they were read.
///
/// Whether there were any cannot be known. What is known is that the last record that this application read is no longer
/// in the stream, nor any before it: it was away for longer than the retention period. At the end of a shard that left
/// the stream altogether, shards between it and the next ones may be missing, too.
///
/// ```
/// use kcl_core::RecordBatch;
///
/// fn look(batch: &RecordBatch) {
///     if let Some(gap) = batch.gap() {
///         eprintln!("records behind {:?} may have been trimmed", gap.after);
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The last record that was read; what came next may be missing. `None` if nothing had been read.
    pub after: Option<SequenceNumber>,
}

impl RecordBatch {
    pub(crate) fn new(
        records: Vec<Record>,
        millis_behind_latest: Option<u64>,
        is_last: bool,
        received_at: SystemTime,
    ) -> Self {
        Self {
            weight: records.iter().map(Record::weight).sum(),
            records,
            millis_behind_latest,
            is_last,
            received_at,
            gap: None,
            front: None,
            block: None,
        }
    }

    /// The same, with the record in front if that is small enough to be kept.
    pub(crate) fn after(mut self, front: Option<Record>) -> Self {
        self.front = front.filter(Record::is_small);
        self
    }

    /// The same, of records that are slices of one block of so many bytes.
    pub(crate) fn of_block(mut self, block: Option<u64>) -> Self {
        self.block = block.filter(|_| !self.records.is_empty());
        self
    }

    pub(crate) fn is_block(&self) -> bool {
        self.block.is_some()
    }

    /// What the batch takes in memory, in bytes.
    pub(crate) fn footprint(&self) -> u64 {
        match self.block {
            Some(block) => block + size_of_val(self.records.as_slice()) as u64,
            None => self.weight,
        }
    }

    /// The records hold the share of the memory that was claimed for them, each its part.
    pub(crate) fn hold(&mut self, share: &Arc<Share>) {
        for record in &mut self.records {
            record.holding = Some(Holding::of(share, record.weight()));
        }
    }

    /// The record in front of these, if it was read with them: it was processed before.
    pub(crate) fn front(&self) -> Option<&Record> {
        self.front.as_ref()
    }

    pub(crate) fn behind(mut self, gap: Option<Gap>) -> Self {
        self.gap = gap;
        self
    }

    /// Whether records may be missing directly before this batch; if it is empty, before the end of the shard.
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// The records, in the order of the shard.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records, in the order of the shard.
    pub fn iter(&self) -> std::slice::Iter<'_, Record> {
        self.records.iter()
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// How far this batch lies behind the newest record of the shard, in milliseconds, as Kinesis says.
    /// `None` when the answer did not say.
    pub fn millis_behind_latest(&self) -> Option<u64> {
        self.millis_behind_latest
    }

    /// Whether the shard ends with this batch (it was split or merged).
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// When this worker received the batch from Kinesis.
    pub fn received_at(&self) -> SystemTime {
        self.received_at
    }

    /// What the records cost in memory, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// The bytes of their payloads.
    pub(crate) fn payload(&self) -> u64 {
        self.records.iter().map(|record| record.data.len() as u64).sum()
    }

    /// Whether there are aggregates in it that are to be taken apart.
    pub(crate) fn is_packed(&self) -> bool {
        self.records.iter().chain(&self.front).any(Record::is_packed)
    }

    /// Takes the records out.
    pub(crate) fn take_records(&mut self) -> (Vec<Record>, Option<Record>) {
        (std::mem::take(&mut self.records), self.front.take())
    }

    /// A batch of these records, for the rest like this one.
    pub(crate) fn with(&self, records: Vec<Record>, is_last: bool) -> Self {
        Self::new(records, self.millis_behind_latest, is_last, self.received_at)
    }

    /// A batch of one record, for the rest like this one.
    pub(crate) fn with_only(&self, record: Record) -> Self {
        self.with(vec![record], false)
    }

    /// Two batches, of which the first has so many of the records.
    pub(crate) fn split_at(&self, records: usize) -> (Self, Self) {
        let (first, second) = self.records.split_at(records);
        let first = self.with(first.to_vec(), false).behind(self.gap.clone());
        (first, self.with(second.to_vec(), self.is_last))
    }
}

impl<'a> IntoIterator for &'a RecordBatch {
    type Item = &'a Record;
    type IntoIter = std::slice::Iter<'a, Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_smithy_types::{Blob, DateTime};

    use super::builder::BatchBuilder;
    use super::*;

    pub(crate) fn record(sequence: u64) -> Record {
        builder::record("payload").sequence_number(sequence).build()
    }

    /// Three user records in one.
    fn three_lines() -> Bytes {
        let mut aggregator = kcl_aggregation::Aggregator::default();
        for number in 0..3 {
            let line = kcl_aggregation::UserRecord::new(format!("key {number}"), format!("line {number}"));
            aggregator.push(line).expect("valid");
        }
        aggregator.finish().expect("something was pushed").data
    }

    /// An aggregate of three user records, to be taken apart.
    pub(crate) fn aggregate(sequence: u64) -> Record {
        let mut record = builder::record(three_lines()).sequence_number(sequence).build();
        record.look_inside(true);
        record
    }

    /// The same, not to be taken apart.
    pub(crate) fn whole_aggregate(sequence: u64) -> Record {
        let mut record = builder::record(three_lines()).sequence_number(sequence).build();
        record.look_inside(false);
        record
    }

    pub(crate) fn batch(sequences: impl IntoIterator<Item = u64>) -> RecordBatch {
        BatchBuilder::new(sequences.into_iter().map(record)).build()
    }

    /// Records of one size. They share a payload, so that many of them can be made.
    pub(crate) fn batch_of(sequences: std::ops::Range<u64>, size: usize) -> RecordBatch {
        static PAYLOAD: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
        let payload = PAYLOAD
            .get_or_init(|| Bytes::from(vec![0; 10 << 20]))
            .slice(..size);
        let record = |number| builder::record(payload.clone()).sequence_number(number).build();
        BatchBuilder::new(sequences.map(record)).build()
    }

    fn sdk_record(sequence: &str) -> sdk::Record {
        sdk::Record::builder()
            .sequence_number(sequence)
            .partition_key("key")
            .data(Blob::new("payload"))
            .approximate_arrival_timestamp(DateTime::from_millis(1_500))
            .encryption_type(sdk::EncryptionType::Kms)
            .build()
            .expect("complete")
    }

    #[test]
    fn a_record_of_the_sdk_is_taken_over_without_copying_its_payload() {
        let original = sdk_record("12");
        let address = original.data.as_ref().as_ptr();
        let record = Record::from_sdk(original).expect("valid");
        assert_eq!(record.data().as_ptr(), address);
        assert_eq!(record.partition_key(), "key");
        assert_eq!(record.sequence_number().as_str(), "12");
        assert_eq!(
            record.approximate_arrival(),
            Some(UNIX_EPOCH + Duration::from_millis(1_500))
        );
        assert_eq!(record.encryption(), Some(Encryption::Kms));
    }

    #[test]
    fn a_record_with_a_strange_sequence_number_is_refused() {
        assert!(Record::from_sdk(sdk_record("LATEST")).is_err());
    }

    #[test]
    fn a_batch_is_iterated_by_reference() {
        let batch = batch([1, 2, 3]);
        let seen: Vec<_> = (&batch)
            .into_iter()
            .map(|record| record.sequence_number().as_str())
            .collect();
        assert_eq!(seen, ["1", "2", "3"]);
        assert_eq!(batch.len(), 3);
    }
}
