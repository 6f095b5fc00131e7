//! `GetRecords` in CBOR: what is asked, and what was answered. Pure.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytestring::ByteString;
use ciborium_ll::{Decoder, Encoder, Header, simple};
use kcl_lease::{HashRange, InvalidSequenceNumber, SequenceNumber};

use super::Answer;
use crate::config::ShardId;
use crate::record::{Encryption, Record};
use crate::stream::Child;

/// An answer that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("GetRecords was answered with CBOR that cannot be read: {0}")]
pub(super) struct Malformed(String);

impl From<InvalidSequenceNumber> for Malformed {
    fn from(error: InvalidSequenceNumber) -> Self {
        Self(error.to_string())
    }
}

/// The bytes of a record with its keys, at least: so many records can an answer have at most.
const LEAST_RECORD: usize = 32;

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

/// Reads an answer. Payloads and keys are slices of it.
pub(super) fn answer(body: &Bytes) -> Result<Answer, Malformed> {
    let mut answer = Answer {
        block: Some(body.len() as u64),
        ..Answer::default()
    };
    let mut reader = Reader { body, rest: body };
    reader.members(|reader, name| {
        match name {
            "Records" => answer.records = reader.list(LEAST_RECORD, Reader::record)?,
            "NextShardIterator" => answer.next_iterator = reader.optional(Reader::text)?.map(String::from),
            "MillisBehindLatest" => {
                let millis = reader.optional(Reader::number)?;
                answer.millis_behind_latest =
                    millis.filter(|millis| *millis >= 0.0).map(|millis| millis as u64);
            }
            "ChildShards" => {
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
            "__type" | "code" => code = reader.optional(Reader::text)?.map(String::from),
            "message" | "Message" => message = reader.optional(Reader::text)?.map(String::from),
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok((code, message))
}

/// How deep what is skipped may nest.
const MAX_DEPTH: usize = 128;

struct Reader<'b> {
    body: &'b Bytes,
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn header(&mut self) -> Result<Header, Malformed> {
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
        mut see: impl FnMut(&mut Self, &str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Header::Map(mut left) = self.header()? else {
            return Err(self.malformed("there is no map"));
        };
        while self.has_more(&mut left)? {
            let name = self.text()?;
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
        match self.peek()? {
            Header::Simple(simple::NULL | simple::UNDEFINED) => self.header().map(|_| None),
            _ => value(self).map(Some),
        }
    }

    /// A text, which is a slice of the answer unless it comes in pieces.
    fn text(&mut self) -> Result<ByteString, Malformed> {
        let bytes = match self.header()? {
            Header::Text(Some(length)) => self.body.slice_ref(self.take(length)?),
            Header::Text(None) => self.pieces(|header| match header {
                Header::Text(length) => length,
                _ => None,
            })?,
            _ => return Err(self.malformed("there is no text")),
        };
        ByteString::try_from(bytes).map_err(|_| self.malformed("a text is no UTF-8"))
    }

    /// Bytes, which are a slice of the answer unless they come in pieces. Some servers (kinesis-local) write them as in JSON, as text
    /// in base 64.
    fn bytes(&mut self) -> Result<Bytes, Malformed> {
        if let Header::Text(_) = self.peek()? {
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
                "SequenceNumber" => sequence = Some(SequenceNumber::parse(reader.text()?)?),
                "Data" => data = Some(reader.bytes()?),
                "PartitionKey" => key = reader.text()?,
                "ApproximateArrivalTimestamp" => {
                    arrival = reader.optional(Reader::number)?.and_then(time);
                }
                "EncryptionType" => {
                    encryption = reader
                        .optional(Reader::text)?
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
                "ShardId" => id = Some(reader.text()?),
                "ParentShards" => parents = reader.list(1, Reader::text)?,
                "HashKeyRange" => range = reader.optional(Reader::hash_range)?.flatten(),
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
                "StartingHashKey" => start = reader.text()?.parse().ok(),
                "EndingHashKey" => end = reader.text()?.parse().ok(),
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

fn encryption_of(kind: &str) -> Option<Encryption> {
    match kind {
        "NONE" => Some(Encryption::None),
        "KMS" => Some(Encryption::Kms),
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
