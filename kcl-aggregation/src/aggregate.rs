//! An aggregate is taken apart.

use std::ops::Range;

use bytes::{Buf, Bytes};
use bytestring::ByteString;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::user_record::UserRecord;
use crate::wire::{self, DIGEST, MAGIC, field};

/// A whole, intact aggregate: its user records are slices of the record that it came in.
///
/// ```
/// use kcl_aggregation::{Aggregate, Bytes};
///
/// assert!(Aggregate::parse(&Bytes::from("plain")).is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Aggregate {
    message: Bytes,
    partition_keys: Box<[Span]>,
    explicit_hash_keys: Box<[Span]>,
    records: Box<[Place]>,
}

/// The bytes of a user record with its required fields, at least.
const SMALLEST: u32 = 4;

/// Where something stands in the message.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    length: u32,
}

/// Where the parts of a user record are found. Small, since a record of Kinesis may hold a million of them.
#[derive(Debug, Clone, Copy)]
struct Place {
    partition_key: u32,
    /// Plus one; 0 for none.
    explicit_hash_key: u32,
    data: Span,
}

impl Span {
    fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }
}

impl Aggregate {
    /// Looks into the data of a Kinesis record. `None` if it is no aggregate, or one that is damaged: wrong or missing magic
    /// bytes or digest, a message that is malformed, lacks a required field, names a key that is not there or is no UTF-8, or
    /// has no user record. Such data is a plain record.
    ///
    /// Unknown fields are skipped. What is allocated is at most 4 times the size of the data, whatever that claims.
    pub fn parse(data: &Bytes) -> Option<Self> {
        let end = data.len().checked_sub(DIGEST)?;
        if end < MAGIC.len() || u32::try_from(end).is_err() || !data.starts_with(&MAGIC) {
            return None;
        }
        let message = data.slice(MAGIC.len()..end);
        let counts = Counts::of(&message)?;
        if counts.records == 0 || wire::digest(&message) != data[end..] {
            return None;
        }
        let mut partition_keys = Vec::with_capacity(counts.partition_keys);
        let mut explicit_hash_keys = Vec::with_capacity(counts.explicit_hash_keys);
        let mut records = Vec::with_capacity(counts.records);
        for_each_field(&message, |number, value| {
            let Value::Bytes(span) = value else {
                return Some(());
            };
            match number {
                field::PARTITION_KEYS => partition_keys.push(utf8(&message, span)?),
                field::EXPLICIT_HASH_KEYS => explicit_hash_keys.push(utf8(&message, span)?),
                field::RECORDS => records.push(place(&message, span)?),
                _ => {}
            }
            Some(())
        })?;
        let is_known = |place: &Place| {
            (place.partition_key as usize) < partition_keys.len()
                && (place.explicit_hash_key as usize) <= explicit_hash_keys.len()
        };
        records.iter().all(is_known).then(|| Self {
            partition_keys: partition_keys.into(),
            explicit_hash_keys: explicit_hash_keys.into(),
            records: records.into(),
            message,
        })
    }

    /// The number of user records, at least one.
    #[allow(clippy::len_without_is_empty, reason = "there is no empty one")]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// What the tables of this value take in memory, in bytes, beside the record that it came in.
    pub fn overhead(&self) -> usize {
        size_of_val(&*self.partition_keys)
            + size_of_val(&*self.explicit_hash_keys)
            + size_of_val(&*self.records)
    }

    /// The user record of an index, which is its sub-sequence number. Copies nothing.
    pub fn get(&self, index: usize) -> Option<UserRecord> {
        self.records.get(index).map(|place| self.at(place))
    }

    /// The user records, in the order of their sub-sequence numbers. Copies nothing.
    pub fn user_records(&self) -> impl ExactSizeIterator<Item = UserRecord> + DoubleEndedIterator + '_ {
        self.records.iter().map(|place| self.at(place))
    }

    fn at(&self, place: &Place) -> UserRecord {
        let explicit_hash_key = place.explicit_hash_key.checked_sub(1);
        UserRecord {
            partition_key: self.text(self.partition_keys[place.partition_key as usize]),
            explicit_hash_key: explicit_hash_key
                .map(|index| self.text(self.explicit_hash_keys[index as usize])),
            data: self.message.slice(place.data.range()),
        }
    }

    fn text(&self, span: Span) -> ByteString {
        // It was looked at before.
        ByteString::try_from(self.message.slice(span.range())).unwrap_or_default()
    }
}

/// How many entries a message has, by kind.
#[derive(Debug, Default)]
struct Counts {
    partition_keys: usize,
    explicit_hash_keys: usize,
    records: usize,
}

impl Counts {
    fn of(message: &[u8]) -> Option<Self> {
        let mut counts = Self::default();
        for_each_field(message, |number, value| {
            if let Value::Bytes(span) = value {
                match number {
                    field::PARTITION_KEYS => counts.partition_keys += 1,
                    field::EXPLICIT_HASH_KEYS => counts.explicit_hash_keys += 1,
                    field::RECORDS if span.length < SMALLEST => return None,
                    field::RECORDS => counts.records += 1,
                    _ => {}
                }
            }
            Some(())
        })?;
        Some(counts)
    }
}

/// A field's value, as far as this format has such.
enum Value {
    Number(u64),
    Bytes(Span),
    Other,
}

/// Walks over the fields of a message; `None` if it is malformed, or if `see` says so.
fn for_each_field(message: &[u8], mut see: impl FnMut(u32, Value) -> Option<()>) -> Option<()> {
    let mut rest = message;
    while !rest.is_empty() {
        let (number, kind) = decode_key(&mut rest).ok()?;
        let value = match kind {
            WireType::Varint => Value::Number(decode_varint(&mut rest).ok()?),
            WireType::LengthDelimited => {
                let length = u32::try_from(decode_varint(&mut rest).ok()?).ok()?;
                let start = u32::try_from(message.len() - rest.len()).ok()?;
                if length as usize > rest.len() {
                    return None;
                }
                rest.advance(length as usize);
                Value::Bytes(Span { start, length })
            }
            _ => {
                skip_field(kind, number, &mut rest, DecodeContext::default()).ok()?;
                Value::Other
            }
        };
        see(number, value)?;
    }
    Some(())
}

/// The span, if there is text.
fn utf8(message: &[u8], span: Span) -> Option<Span> {
    std::str::from_utf8(&message[span.range()]).ok().map(|_| span)
}

fn place(message: &[u8], span: Span) -> Option<Place> {
    let (mut partition_key, mut explicit_hash_key, mut data) = (None, 0, None);
    for_each_field(&message[span.range()], |number, value| {
        match (number, value) {
            (field::PARTITION_KEY_INDEX, Value::Number(index)) => {
                partition_key = Some(u32::try_from(index).ok()?);
            }
            (field::EXPLICIT_HASH_KEY_INDEX, Value::Number(index)) => {
                explicit_hash_key = u32::try_from(index).ok()?.checked_add(1)?;
            }
            (field::DATA, Value::Bytes(inner)) => {
                data = Some(Span {
                    start: span.start + inner.start,
                    length: inner.length,
                });
            }
            _ => {}
        }
        Some(())
    })?;
    Some(Place {
        partition_key: partition_key?,
        explicit_hash_key,
        data: data?,
    })
}

#[cfg(test)]
mod tests;
