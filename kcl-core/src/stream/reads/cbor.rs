//! Reads in CBOR: what is asked, and what was answered. Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytestring::ByteString;
use ciborium_ll::{Decoder, Encoder, Header};
use kcl_lease::{HashRange, InvalidSequenceNumber, SequenceNumber};

use super::Answer;
use super::subscribe_from::SubscribeFrom;
use crate::config::ShardId;
use crate::record::{Encryption, Record};
use crate::stream::Child;

/// An answer that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("a read was answered with CBOR that cannot be read: {0}")]
pub(super) struct Malformed(String);

impl From<InvalidSequenceNumber> for Malformed {
    fn from(error: InvalidSequenceNumber) -> Self {
        Self(error.to_string())
    }
}

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

/// Reads an answer, in which `next` names where reading goes on. Payloads and keys are slices of it.
pub(super) fn answer(body: &Bytes, next: &str) -> Result<Answer, Malformed> {
    let mut answer = Answer {
        block: Some(body.len() as u64),
        ..Answer::default()
    };
    let mut reader = Reader { body, rest: body };
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
    if !reader.rest.is_empty() {
        return Err(Malformed(format!(
            "{} bytes follow the answer",
            reader.rest.len()
        )));
    }
    Ok(answer)
}

/// The code and the message of a failure.
pub(super) fn failure(body: &Bytes) -> Result<(Option<String>, Option<String>), Malformed> {
    let (mut code, mut message) = (None, None);
    let mut reader = Reader { body, rest: body };
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

/// The first bytes of items that say nothing, and the upper bits of that of a text.
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;
const TEXT: u8 = 3;

/// The header of an item, and its length, if it is one of those that nearly all items have: they are a large part of what reading costs.
fn short_header(bytes: &[u8]) -> Option<(Header, usize)> {
    let (argument, length) = match *bytes {
        [first, ..] if first & 0x1f < 24 => (u16::from(first & 0x1f), 1),
        [first, argument, ..] if first & 0x1f == 24 => (u16::from(argument), 2),
        [first, high, low, ..] if first & 0x1f == 25 => (u16::from_be_bytes([high, low]), 3),
        _ => return None,
    };
    let size = Some(usize::from(argument));
    let header = match bytes.first()? >> 5 {
        0 => Header::Positive(argument.into()),
        2 => Header::Bytes(size),
        TEXT => Header::Text(size),
        4 => Header::Array(size),
        5 => Header::Map(size),
        6 => Header::Tag(argument.into()),
        _ => return None,
    };
    Some((header, length))
}

/// How deep what is skipped may nest.
const MAX_DEPTH: usize = 128;

struct Reader<'b> {
    body: &'b Bytes,
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn header(&mut self) -> Result<Header, Malformed> {
        if let Some((header, length)) = short_header(self.rest) {
            self.rest = &self.rest[length..];
            return Ok(header);
        }
        let mut decoder = Decoder::from(self.rest);
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => self.malformed("it ends too early"),
            ciborium_ll::Error::Syntax(_) => self.malformed("an item is none"),
        })?;
        self.rest = &self.rest[decoder.offset()..];
        Ok(header)
    }

    fn peek(&self) -> Result<Header, Malformed> {
        Reader { ..*self }.header()
    }

    /// The next bytes, without copying them.
    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.malformed("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn malformed(&self, what: &str) -> Malformed {
        Malformed(format!("{what}, at byte {}", self.body.len() - self.rest.len()))
    }

    /// The members of a map; `see` reads the value of each.
    fn members(
        &mut self,
        mut see: impl FnMut(&mut Self, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Header::Map(mut left) = self.header()? else {
            return Err(self.malformed("there is no map"));
        };
        while self.has_more(&mut left)? {
            let name = self.word()?;
            see(self, &name)?;
        }
        Ok(())
    }

    /// The elements of an array, each of which takes so many bytes at least.
    fn list<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let Header::Array(mut left) = self.header()? else {
            return Err(self.malformed("there is no array"));
        };
        // What is claimed is not believed further than the bytes go that are there.
        let mut list = Vec::with_capacity(left.unwrap_or(0).min(self.rest.len() / least));
        while self.has_more(&mut left)? {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn has_more(&mut self, left: &mut Option<usize>) -> Result<bool, Malformed> {
        if let Some(left) = left {
            let has_more = *left > 0;
            *left = left.saturating_sub(1);
            return Ok(has_more);
        }
        let has_ended = self.peek()? == Header::Break;
        if has_ended {
            self.header()?;
        }
        Ok(!has_ended)
    }

    fn optional<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.rest.first() {
            Some(&(NULL | UNDEFINED)) => self.header().map(|_| None),
            _ => value(self).map(Some),
        }
    }

    /// A text that is only compared with others.
    fn word(&mut self) -> Result<Cow<'b, [u8]>, Malformed> {
        match self.header()? {
            Header::Text(Some(length)) => self.take(length).map(Cow::Borrowed),
            Header::Text(None) => self.pieces_of_text().map(|bytes| Cow::Owned(bytes.to_vec())),
            _ => Err(self.malformed("there is no text")),
        }
    }

    /// A text, which is a slice of the answer unless it comes in pieces.
    fn text(&mut self) -> Result<ByteString, Malformed> {
        let bytes = match self.header()? {
            Header::Text(Some(length)) => self.body.slice_ref(self.take(length)?),
            Header::Text(None) => self.pieces_of_text()?,
            _ => return Err(self.malformed("there is no text")),
        };
        ByteString::try_from(bytes).map_err(|_| self.malformed("a text is no UTF-8"))
    }

    /// Bytes, which are a slice of the answer unless they come in pieces. Some servers (kinesis-local) write them as in JSON, as text
    /// in base 64.
    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        if self.rest.first().is_some_and(|first| first >> 5 == TEXT) {
            let text = self.text()?;
            let bytes = aws_smithy_types::base64::decode(&*text);
            return bytes
                .map(Bytes::from)
                .map_err(|_| self.malformed("text for bytes is not in base 64"));
        }
        match self.header()? {
            Header::Bytes(Some(length)) => Ok(self.body.slice_ref(self.take(length)?)),
            Header::Bytes(None) => self.pieces(|header| match header {
                Header::Bytes(length) => length,
                _ => None,
            }),
            _ => Err(self.malformed("there are no bytes")),
        }
    }

    fn pieces_of_text(&mut self) -> Result<Bytes, Malformed> {
        self.pieces(|header| match header {
            Header::Text(length) => length,
            _ => None,
        })
    }

    /// Pieces up to a break, whose lengths `length` knows.
    fn pieces(&mut self, length: impl Fn(Header) -> Option<usize>) -> Result<Bytes, Malformed> {
        let mut joined = Vec::new();
        loop {
            match self.header()? {
                Header::Break => return Ok(joined.into()),
                header => {
                    let length = length(header).ok_or_else(|| self.malformed("a piece is none"))?;
                    joined.extend_from_slice(self.take(length)?);
                }
            }
        }
    }

    /// A number, with a tag or without.
    fn number(&mut self) -> Result<f64, Malformed> {
        let mut header = self.header()?;
        if let Header::Tag(_) = header {
            header = self.header()?;
        }
        match header {
            Header::Positive(number) => Ok(number as f64),
            Header::Negative(number) => Ok(-1.0 - number as f64),
            Header::Float(number) => Ok(number),
            _ => Err(self.malformed("there is no number")),
        }
    }

    /// Steps over an item of any kind.
    fn skip(&mut self) -> Result<(), Malformed> {
        // How many items are left in what is open; `None` until a break.
        let mut open: Vec<Option<usize>> = vec![Some(1)];
        while let Some(left) = open.last_mut() {
            if *left == Some(0) {
                open.pop();
                continue;
            }
            *left = left.map(|left| left - 1);
            let is_endless = left.is_none();
            match self.header()? {
                Header::Break if is_endless => _ = open.pop(),
                Header::Break => return Err(self.malformed("nothing is to be broken off")),
                Header::Bytes(Some(length)) | Header::Text(Some(length)) => _ = self.take(length)?,
                Header::Bytes(None) | Header::Text(None) => open.push(None),
                Header::Array(items) => open.push(items),
                Header::Map(None) => open.push(None),
                Header::Map(Some(members)) => open.push(Some(members.saturating_mul(2))),
                Header::Tag(_) => open.push(Some(1)),
                Header::Positive(_) | Header::Negative(_) | Header::Float(_) | Header::Simple(_) => {}
            }
            if open.len() > MAX_DEPTH {
                return Err(self.malformed("items nest too deep"));
            }
        }
        Ok(())
    }

    fn record(&mut self) -> Result<Record, Malformed> {
        let (mut sequence, mut data, mut key) = (None, None, ByteString::new());
        let (mut arrival, mut encryption) = (None, None);
        self.members(|reader, name| {
            match name {
                b"SequenceNumber" => sequence = Some(SequenceNumber::parse(reader.text()?)?),
                b"Data" => data = Some(reader.bytes()?),
                b"PartitionKey" => key = reader.text()?,
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
        let sequence = sequence.ok_or_else(|| Malformed("a record has no sequence number".to_owned()))?;
        let data = data.ok_or_else(|| Malformed(format!("the record {sequence} has no data")))?;
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
        let id = id.ok_or_else(|| Malformed("a child shard has no id".to_owned()))?;
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

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("left", &self.rest.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
