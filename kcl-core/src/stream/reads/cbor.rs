//! Reads in CBOR: what is asked, and what was answered. Pure.

mod reader;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytestring::ByteString;
use ciborium_ll::{Encoder, Header};
use kcl_lease::{HashRange, SequenceNumber};

pub(in crate::stream) use self::reader::Malformed;
use self::reader::Reader;
use super::Answer;
use super::subscribe_from::SubscribeFrom;
use crate::config::ShardId;
use crate::record::{Encryption, Record};
use crate::stream::Child;

/// The bytes of a record with its keys, at least: so many records can an answer have at most.
const LEAST_RECORD: usize = 32;

/// What `GetRecords` calls the place where reading goes on.
pub(super) const NEXT_ITERATOR: &str = "NextShardIterator";
/// What an event of a subscription calls it.
pub(super) const CONTINUATION: &str = "ContinuationSequenceNumber";

/// A request for records.
pub(super) fn request(iterator: &str, limit: u32, stream_arn: Option<&str>) -> Vec<u8> {
    let mut body = Vec::with_capacity(iterator.len() + 64);
    let mut encoder = Encoder::from(&mut body);
    let members = 2 + usize::from(stream_arn.is_some());
    let mut write = || {
        encoder.push(Header::Map(Some(members)))?;
        encoder.text("ShardIterator", None)?;
        encoder.text(iterator, None)?;
        encoder.text("Limit", None)?;
        encoder.push(Header::Positive(u64::from(limit)))?;
        if let Some(arn) = stream_arn {
            encoder.text("StreamARN", None)?;
            encoder.text(arn, None)?;
        }
        Ok::<(), std::io::Error>(())
    };
    // Nothing fails that writes into memory.
    let _ = write();
    body
}

/// A request for a subscription.
pub(in crate::stream) fn subscription(consumer_arn: &str, shard: &str, at: &SubscribeFrom) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let mut encoder = Encoder::from(&mut body);
    let mut write = || {
        encoder.push(Header::Map(Some(3)))?;
        encoder.text("ConsumerARN", None)?;
        encoder.text(consumer_arn, None)?;
        encoder.text("ShardId", None)?;
        encoder.text(shard, None)?;
        encoder.text("StartingPosition", None)?;
        let has_more = at.sequence().is_some() || at.timestamp().is_some();
        encoder.push(Header::Map(Some(1 + usize::from(has_more))))?;
        encoder.text("Type", None)?;
        encoder.text(at.kind().as_str(), None)?;
        if let Some(sequence) = at.sequence() {
            encoder.text("SequenceNumber", None)?;
            encoder.text(sequence, None)?;
        }
        if let Some(at) = at.timestamp() {
            encoder.text("Timestamp", None)?;
            // The tag of a time; Kinesis counts milliseconds.
            encoder.push(Header::Tag(1))?;
            let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            encoder.push(Header::Positive(
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            ))?;
        }
        Ok::<(), std::io::Error>(())
    };
    // Nothing fails that writes into memory.
    let _ = write();
    body
}

/// Reads an answer that came in these pieces, in which `next` names where reading goes on. Payloads and keys are slices of the
/// pieces, but for those that are in more than one.
pub(super) fn answer(pieces: &[Bytes], next: &str) -> Result<Answer, Malformed> {
    let mut reader = Reader::new(pieces);
    let mut answer = Answer {
        block: Some(reader.left() as u64),
        ..Answer::default()
    };
    reader.members(|reader, name| {
        match name {
            b"Records" => answer.records = reader.list(LEAST_RECORD, Reader::record)?,
            name if name == next.as_bytes() => {
                let next = reader.optional(Reader::text)?;
                answer.next = next.filter(|next| !next.is_empty()).map(String::from);
            }
            b"MillisBehindLatest" => {
                let millis = reader.optional(Reader::number)?;
                answer.millis_behind_latest =
                    millis.filter(|millis| *millis >= 0.0).map(|millis| millis as u64);
            }
            b"ChildShards" => {
                answer.children = reader
                    .optional(|reader| reader.list(1, Reader::child))?
                    .unwrap_or_default();
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    match reader.left() {
        0 => Ok(answer),
        left => Err(Malformed::new(format!("{left} bytes follow the answer"))),
    }
}

/// The code and the message of a failure.
pub(super) fn failure(body: &Bytes) -> Result<(Option<String>, Option<String>), Malformed> {
    let (mut code, mut message) = (None, None);
    let mut reader = Reader::new(std::slice::from_ref(body));
    reader.members(|reader, name| {
        match name {
            b"__type" | b"code" => code = reader.optional(Reader::text)?.map(String::from),
            b"message" | b"Message" => message = reader.optional(Reader::text)?.map(String::from),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok((code, message))
}

impl Reader<'_> {
    fn record(&mut self) -> Result<Record, Malformed> {
        let (mut sequence, mut data, mut key) = (None, None, ByteString::new());
        let (mut arrival, mut encryption) = (None, None);
        self.members(|reader, name| {
            match name {
                b"SequenceNumber" => sequence = Some(SequenceNumber::parse(reader.text()?)?),
                b"Data" => data = Some(reader.bytes()?),
                b"PartitionKey" => key = reader.optional(Reader::text)?.unwrap_or_default(),
                b"ApproximateArrivalTimestamp" => {
                    arrival = reader.optional(Reader::number)?.and_then(time);
                }
                b"EncryptionType" => {
                    encryption = reader
                        .optional(Reader::word)?
                        .and_then(|kind| encryption_of(&kind));
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let sequence = sequence.ok_or_else(|| Malformed::new("a record has no sequence number"))?;
        let data = data.ok_or_else(|| Malformed::new(format!("the record {sequence} has no data")))?;
        Ok(Record::of_kinesis(sequence, data, key, arrival, encryption))
    }

    fn child(&mut self) -> Result<Child, Malformed> {
        let (mut id, mut parents, mut range) = (None, Vec::new(), None);
        self.members(|reader, name| {
            match name {
                b"ShardId" => id = Some(reader.text()?),
                b"ParentShards" => parents = reader.list(1, Reader::text)?,
                b"HashKeyRange" => range = reader.optional(Reader::hash_range)?.flatten(),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let id = id.ok_or_else(|| Malformed::new("a child shard has no id"))?;
        Ok(Child {
            id: ShardId::from(&*id),
            parents: parents.iter().map(|parent| ShardId::from(&**parent)).collect(),
            hash_range: range,
        })
    }

    fn hash_range(&mut self) -> Result<Option<HashRange>, Malformed> {
        let (mut start, mut end) = (None, None);
        self.members(|reader, name| {
            match name {
                b"StartingHashKey" => start = reader.text()?.parse().ok(),
                b"EndingHashKey" => end = reader.text()?.parse().ok(),
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let range = start.zip(end).filter(|(start, end)| start <= end);
        Ok(range.map(|(start, end)| HashRange::new(start, end)))
    }
}

/// Kinesis counts milliseconds here, some other servers seconds. As seconds these are years beyond 5000; as milliseconds, before
/// 1974.
fn time(number: f64) -> Option<SystemTime> {
    const MILLISECONDS_FROM: f64 = 1e11;
    let seconds = if number >= MILLISECONDS_FROM {
        number / 1_000.0
    } else {
        number
    };
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    // As in JSON, to the millisecond.
    UNIX_EPOCH.checked_add(Duration::from_millis(
        u64::try_from(since.as_micros().div_ceil(500) / 2).ok()?,
    ))
}

fn encryption_of(kind: &[u8]) -> Option<Encryption> {
    match kind {
        b"NONE" => Some(Encryption::None),
        b"KMS" => Some(Encryption::Kms),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
