//! Records and batches that never were in a stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use kcl_lease::{ExtendedSequenceNumber, SequenceNumber};

use super::{Encryption, Gap, Record, RecordBatch};

/// A record with a payload. Its sequence number is 1 unless it is said otherwise.
pub fn record(data: impl Into<Bytes>) -> RecordBuilder {
    RecordBuilder {
        number: 1,
        record: Record {
            position: position(1, 0),
            data: data.into(),
            partition_key: "key".into(),
            explicit_hash_key: None,
            approximate_arrival: Some(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
            encryption: None,
            is_user_record: false,
            inside: None,
            holding: None,
        },
    }
}

/// A batch of records with these payloads, whose sequence numbers are 1, 2, and so on.
pub fn batch<D: Into<Bytes>>(payloads: impl IntoIterator<Item = D>) -> RecordBatch {
    batch_from(1, payloads)
}

/// A batch of records with these payloads, whose sequence numbers begin with `first`.
pub fn batch_from<D: Into<Bytes>>(first: u64, payloads: impl IntoIterator<Item = D>) -> RecordBatch {
    let numbered = (first..).zip(payloads);
    BatchBuilder::new(numbered.map(|(number, data)| record(data).sequence_number(number).build())).build()
}

fn position(sequence: u64, sub_sequence: u64) -> ExtendedSequenceNumber {
    let digits = SequenceNumber::parse(sequence.to_string());
    ExtendedSequenceNumber {
        sequence: digits.unwrap_or_else(|error| unreachable!("digits: {error}")),
        sub_sequence,
    }
}

/// Makes a record.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until build is called"]
pub struct RecordBuilder {
    number: u64,
    record: Record,
}

impl RecordBuilder {
    /// The record's number in its shard.
    pub fn sequence_number(mut self, number: u64) -> Self {
        self.number = number;
        self.record.position = position(number, self.record.position.sub_sequence);
        self
    }

    /// The record was in an aggregate, and has this index there. Default: it was in none.
    pub fn sub_sequence_number(mut self, index: u64) -> Self {
        self.record.position = position(self.number, index);
        self.record.is_user_record = true;
        self
    }

    /// The partition key. Default: `key`.
    pub fn partition_key(mut self, key: impl Into<String>) -> Self {
        self.record.partition_key = key.into().into();
        self
    }

    /// The explicit hash key. Default: none.
    pub fn explicit_hash_key(mut self, key: &str) -> Self {
        self.record.explicit_hash_key = Some(key.to_owned().into());
        self
    }

    /// When Kinesis received the record. Default: a time in 2027.
    pub fn approximate_arrival(mut self, at: SystemTime) -> Self {
        self.record.approximate_arrival = Some(at);
        self
    }

    /// How Kinesis stored the record. Default: it did not say.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.record.encryption = Some(encryption);
        self
    }

    /// The record.
    pub fn build(self) -> Record {
        self.record
    }
}

/// Makes a batch.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until build is called"]
pub struct BatchBuilder {
    records: Vec<Record>,
    millis_behind_latest: Option<u64>,
    is_last: bool,
    received_at: SystemTime,
    gap: Option<Gap>,
}

impl BatchBuilder {
    /// Of these records, which are in the order of their shard.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        Self {
            records: records.into_iter().collect(),
            millis_behind_latest: Some(0),
            is_last: false,
            received_at: UNIX_EPOCH + Duration::from_secs(1_800_000_001),
            gap: None,
        }
    }

    /// How far it lies behind the newest record. Default: 0.
    pub fn millis_behind_latest(mut self, millis: Option<u64>) -> Self {
        self.millis_behind_latest = millis;
        self
    }

    /// The shard ends with it.
    pub fn last(mut self) -> Self {
        self.is_last = true;
        self
    }

    /// When the worker received it. Default: a time in 2027.
    pub fn received_at(mut self, at: SystemTime) -> Self {
        self.received_at = at;
        self
    }

    /// Records may be missing before it; the last one that was read, if there was any.
    pub fn gap_after(mut self, last: Option<SequenceNumber>) -> Self {
        self.gap = Some(Gap { after: last });
        self
    }

    /// The batch.
    pub fn build(self) -> RecordBatch {
        let Self {
            records,
            millis_behind_latest,
            is_last,
            received_at,
            gap,
        } = self;
        RecordBatch::new(records, millis_behind_latest, is_last, received_at).behind(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_it_was_described() {
        let record = record("x")
            .sequence_number(7)
            .sub_sequence_number(2)
            .partition_key("p")
            .explicit_hash_key("1")
            .encryption(Encryption::Kms)
            .build();
        assert_eq!(record.position().to_string(), "7:2");
        assert_eq!((record.data().as_ref(), record.partition_key()), (&b"x"[..], "p"));
        assert_eq!(record.explicit_hash_key(), Some("1"));
        assert_eq!(record.encryption(), Some(Encryption::Kms));
    }

    #[test]
    fn a_batch_is_as_it_was_described() {
        let numbers: Vec<_> = batch_from(5, ["a", "b"])
            .iter()
            .map(|record| record.sequence_number().to_string())
            .collect();
        assert_eq!(numbers, ["5", "6"]);
        let last = BatchBuilder::new([]).last().gap_after(None).build();
        assert!(last.is_last() && last.gap().is_some() && last.is_empty());
    }
}
