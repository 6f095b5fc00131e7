//! User records are put together.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use prost::Message as _;

use crate::aggregate::Aggregate;
use crate::user_record::UserRecord;
use crate::wire::{self, DIGEST, MAGIC, Message, RecordMessage};

/// How large an aggregate may get.
///
/// ```
/// use kcl_aggregation::Limits;
///
/// let limits = Limits { max_records: 100, ..Limits::default() };
/// assert_eq!(limits.max_bytes, 51_200);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The greatest size of an aggregate, in bytes, magic and digest included. Default: 51,200, as the KPL's
    /// `AggregationMaxSize`. Kinesis bills in units of 25 KiB per record.
    pub max_bytes: usize,
    /// The greatest number of user records in an aggregate. Default: 4,294,967,295, as the KPL's `AggregationMaxCount`.
    pub max_records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 51_200,
            max_records: u32::MAX as usize,
        }
    }
}

/// Something to be put into a stream, by `PutRecord` or `PutRecords`.
///
/// ```
/// use kcl_aggregation::{Aggregator, UserRecord};
///
/// let mut aggregator = Aggregator::default();
/// aggregator.push(UserRecord::new("customer-7", "payload"))?;
/// let entry = aggregator.finish().expect("something was pushed");
/// assert_eq!(entry.partition_key, "customer-7", "one alone is put as it is");
/// # Ok::<(), kcl_aggregation::Refused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// For the request.
    pub partition_key: ByteString,
    /// For the request: with several user records, the hash key of the first.
    pub explicit_hash_key: Option<ByteString>,
    /// For the request.
    pub data: Bytes,
    /// How many user records are in it.
    pub user_records: usize,
}

/// Why Kinesis would not take a user record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The partition key is too short or too long.
    #[error("the partition key has {0} characters; Kinesis takes 1 to 256")]
    PartitionKey(usize),
    /// The explicit hash key is no hash key.
    #[error("the explicit hash key {0:?} is no decimal number below 2^128")]
    ExplicitHashKey(String),
    /// Too much data.
    #[error(
        "the record has {0} bytes with its partition key; the KPL takes 1,048,576: put it without aggregation"
    )]
    TooLarge(usize),
}

/// The greatest user record of the KPL, in bytes, with its partition key.
const MAX_RECORD: usize = 1 << 20;
/// What the KPL puts as the partition key of an aggregate: the explicit hash key is what counts.
const NO_KEY: &str = "a";

/// Puts user records of one shard together.
///
/// All of them must belong to the same shard: whoever reads a shard leaves out user records whose hash keys are not the
/// shard's (the Java KCL even the whole aggregate). So a producer keeps an aggregator for each open shard, as the KPL does,
/// or puts together only what has one partition key.
///
/// ```
/// use kcl_aggregation::{Aggregator, Limits, UserRecord};
///
/// let mut aggregator = Aggregator::new(Limits { max_records: 2, ..Limits::default() });
/// assert!(aggregator.push(UserRecord::new("key", "a"))?.is_none());
/// assert!(aggregator.push(UserRecord::new("key", "b"))?.is_none());
/// let full = aggregator.push(UserRecord::new("key", "c"))?.expect("the first two");
/// assert_eq!(full.user_records, 2);
/// # Ok::<(), kcl_aggregation::Refused>(())
/// ```
#[derive(Debug, Default)]
pub struct Aggregator {
    limits: Limits,
    partition_keys: Table,
    explicit_hash_keys: Table,
    records: Vec<RecordMessage>,
    /// Of the message.
    bytes: usize,
}

/// The keys of one kind, each once.
#[derive(Debug, Default)]
struct Table {
    keys: Vec<ByteString>,
    indexes: HashMap<ByteString, u64>,
}

impl Table {
    fn index(&self, key: &ByteString) -> Option<u64> {
        self.indexes.get(key).copied()
    }

    fn insert(&mut self, key: ByteString) -> u64 {
        let next = self.keys.len() as u64;
        let index = *self.indexes.entry(key.clone()).or_insert(next);
        if index == next {
            self.keys.push(key);
        }
        index
    }

    /// The bytes that a key adds to the message, and its index there.
    fn cost(&self, key: &ByteString) -> (usize, u64) {
        match self.index(key) {
            Some(index) => (0, index),
            None => (delimited(key.len()), self.keys.len() as u64),
        }
    }

    fn take(&mut self) -> Vec<String> {
        self.indexes.clear();
        self.keys.drain(..).map(String::from).collect()
    }
}

/// The bytes of a field with its tag (all tags of this format take one byte) and length.
fn delimited(length: usize) -> usize {
    1 + prost::length_delimiter_len(length) + length
}

fn number(value: u64) -> usize {
    1 + prost::encoding::encoded_len_varint(value)
}

impl Aggregator {
    /// An empty one.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// How many user records wait in it.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none waits in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Adds a user record. If there is no room for it, what was there before is returned, and the record is the first of the
    /// next aggregate. One that is too large for any aggregate will be put alone.
    ///
    /// # Errors
    /// A record that Kinesis or the KPL would refuse; nothing was changed.
    pub fn push(&mut self, record: UserRecord) -> Result<Option<Entry>, Refused> {
        check(&record)?;
        let mut cost = self.cost(&record);
        let is_full = self.len() >= self.limits.max_records
            || MAGIC.len() + self.bytes + cost + DIGEST > self.limits.max_bytes;
        let full = if is_full { self.finish() } else { None };
        if full.is_some() {
            cost = self.cost(&record);
        }
        let message = RecordMessage {
            partition_key_index: self.partition_keys.insert(record.partition_key),
            explicit_hash_key_index: record
                .explicit_hash_key
                .map(|key| self.explicit_hash_keys.insert(key)),
            data: record.data,
        };
        self.records.push(message);
        self.bytes += cost;
        Ok(full)
    }

    /// What a record adds to the message.
    fn cost(&self, record: &UserRecord) -> usize {
        let (mut keys, index) = self.partition_keys.cost(&record.partition_key);
        let mut inner = number(index) + delimited(record.data.len());
        if let Some(key) = &record.explicit_hash_key {
            let (cost, index) = self.explicit_hash_keys.cost(key);
            keys += cost;
            inner += number(index);
        }
        keys + delimited(inner)
    }

    /// Takes out what is there, as one entry; `None` if nothing is.
    pub fn finish(&mut self) -> Option<Entry> {
        let records = std::mem::take(&mut self.records);
        let user_records = records.len();
        let bytes = std::mem::take(&mut self.bytes);
        let first = records.first()?;
        let partition_key = self.partition_keys.keys.first()?.clone();
        let explicit_hash_key = match first.explicit_hash_key_index {
            Some(_) => self.explicit_hash_keys.keys.first().cloned(),
            None => None,
        };
        // What looks like an aggregate itself must not be taken apart.
        let entry = if user_records == 1 && Aggregate::parse(&first.data).is_none() {
            self.partition_keys.take();
            self.explicit_hash_keys.take();
            Entry {
                partition_key,
                explicit_hash_key,
                data: first.data.clone(),
                user_records,
            }
        } else {
            let first = UserRecord {
                partition_key,
                explicit_hash_key,
                data: Bytes::new(),
            };
            let message = Message {
                partition_keys: self.partition_keys.take(),
                explicit_hash_keys: self.explicit_hash_keys.take(),
                records,
            };
            Entry {
                partition_key: ByteString::from_static(NO_KEY),
                explicit_hash_key: first.hash_key().map(|key| key.to_string().into()),
                data: encode(&message, bytes),
                user_records,
            }
        };
        Some(entry)
    }
}

fn check(record: &UserRecord) -> Result<(), Refused> {
    let characters = record.partition_key.chars().count();
    if !(1..=256).contains(&characters) {
        return Err(Refused::PartitionKey(characters));
    }
    if let Some(key) = &record.explicit_hash_key
        && record.hash_key().is_none()
    {
        return Err(Refused::ExplicitHashKey(key.to_string()));
    }
    let bytes = record.partition_key.len() + record.data.len();
    if bytes > MAX_RECORD {
        return Err(Refused::TooLarge(bytes));
    }
    Ok(())
}

fn encode(message: &Message, bytes: usize) -> Bytes {
    let mut data = BytesMut::with_capacity(MAGIC.len() + bytes + DIGEST);
    data.put_slice(&MAGIC);
    message.encode_raw(&mut data);
    let digest = wire::digest(&data[MAGIC.len()..]);
    data.put_slice(&digest);
    data.freeze()
}

#[cfg(test)]
mod tests;
