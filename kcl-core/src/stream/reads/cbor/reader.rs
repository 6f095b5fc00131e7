//! Takes CBOR apart that came in pieces, without joining them. Pure.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use ciborium_ll::{Decoder, Header};
use kcl_lease::InvalidSequenceNumber;

/// The first bytes of items that say nothing, and the upper bits of that of a text.
const NULL: u8 = 0xf6;
const UNDEFINED: u8 = 0xf7;
const TEXT: u8 = 3;

/// The longest header of an item.
const LONGEST_HEADER: usize = 9;
/// How deep what is skipped may nest.
const MAX_DEPTH: usize = 128;

static NOTHING: Bytes = Bytes::new();

/// An answer that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("a read was answered with CBOR that cannot be read: {0}")]
pub(in crate::stream) struct Malformed(String);

impl Malformed {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<InvalidSequenceNumber> for Malformed {
    fn from(error: InvalidSequenceNumber) -> Self {
        Self(error.to_string())
    }
}

/// The header of an item, and its length, if it is one of those that nearly all items have: they are a large part of what reading costs.
#[inline]
pub(super) fn short_header(bytes: &[u8]) -> Option<(Header, usize)> {
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

/// Reads one item after the other.
#[derive(Clone, Copy)]
pub(super) struct Reader<'b> {
    /// The piece at hand,
    piece: &'b Bytes,
    /// what is left of it, which is nothing only at the end,
    rest: &'b [u8],
    /// and the pieces behind it.
    behind: &'b [Bytes],
    /// The bytes of all pieces, and how many of them are left.
    length: usize,
    left: usize,
}

impl<'b> Reader<'b> {
    pub(super) fn new(pieces: &'b [Bytes]) -> Self {
        let length = pieces.iter().map(Bytes::len).sum();
        let mut reader = Self {
            piece: &NOTHING,
            rest: &NOTHING,
            behind: pieces,
            length,
            left: length,
        };
        reader.turn();
        reader
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Goes on to the next piece, if this one is read.
    #[cold]
    fn turn(&mut self) {
        while self.rest.is_empty()
            && let [next, behind @ ..] = self.behind
        {
            (self.piece, self.rest, self.behind) = (next, next, behind);
        }
    }

    /// Steps over bytes of the piece at hand.
    #[inline]
    fn pass(&mut self, length: usize) {
        self.rest = &self.rest[length..];
        self.left -= length;
        if self.rest.is_empty() {
            self.turn();
        }
    }

    /// Copies bytes, of as many pieces as it takes, until the target is full or nothing is left. Returns how many.
    fn fill(&mut self, target: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < target.len() && self.left > 0 {
            let length = self.rest.len().min(target.len() - copied);
            target[copied..copied + length].copy_from_slice(&self.rest[..length]);
            self.pass(length);
            copied += length;
        }
        copied
    }

    #[inline]
    pub(super) fn header(&mut self) -> Result<Header, Malformed> {
        if let Some((header, length)) = short_header(self.rest) {
            self.pass(length);
            return Ok(header);
        }
        self.any_header()
    }

    #[cold]
    fn any_header(&mut self) -> Result<Header, Malformed> {
        let mut ahead = [0; LONGEST_HEADER];
        let there = { *self }.fill(&mut ahead);
        let mut decoder = Decoder::from(&ahead[..there]);
        let header = decoder.pull().map_err(|error| match error {
            ciborium_ll::Error::Io(_) => self.malformed("it ends too early"),
            ciborium_ll::Error::Syntax(_) => self.malformed("an item is none"),
        })?;
        let length = decoder.offset();
        self.fill(&mut ahead[..length]);
        Ok(header)
    }

    fn peek(&self) -> Result<Header, Malformed> {
        { *self }.header()
    }

    /// The next bytes. Copies none of them that are in one piece.
    #[inline]
    fn take(&mut self, length: usize) -> Result<Taken<'b>, Malformed> {
        if let Some(taken) = self.rest.get(..length) {
            let taken = Taken::Slice(self.piece, taken);
            self.pass(length);
            return Ok(taken);
        }
        self.take_joined(length)
    }

    #[cold]
    fn take_joined(&mut self, length: usize) -> Result<Taken<'b>, Malformed> {
        if length > self.left {
            return Err(self.malformed("it ends too early"));
        }
        let mut joined = vec![0; length];
        self.fill(&mut joined);
        Ok(Taken::Joined(joined))
    }

    pub(super) fn malformed(&self, what: &str) -> Malformed {
        Malformed(format!("{what}, at byte {}", self.length - self.left))
    }

    /// The members of a map; `see` reads the value of each.
    pub(super) fn members(
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
    pub(super) fn list<T>(
        &mut self,
        least: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let Header::Array(mut left) = self.header()? else {
            return Err(self.malformed("there is no array"));
        };
        // What is claimed is not believed further than the bytes go that are there.
        let mut list = Vec::with_capacity(left.unwrap_or(0).min(self.left / least));
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

    pub(super) fn optional<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        match self.rest.first() {
            Some(&(NULL | UNDEFINED)) => self.header().map(|_| None),
            _ => value(self).map(Some),
        }
    }

    /// A text that is only compared with others.
    pub(super) fn word(&mut self) -> Result<Cow<'b, [u8]>, Malformed> {
        match self.header()? {
            Header::Text(Some(length)) => self.take(length).map(Taken::borrowed),
            Header::Text(None) => self.pieces_of_text().map(|bytes| Cow::Owned(bytes.to_vec())),
            _ => Err(self.malformed("there is no text")),
        }
    }

    /// A text, which is a slice of what came unless its characters come in several texts.
    pub(super) fn text(&mut self) -> Result<ByteString, Malformed> {
        let bytes = match self.header()? {
            Header::Text(Some(length)) => self.take(length)?.bytes(),
            Header::Text(None) => self.pieces_of_text()?,
            _ => return Err(self.malformed("there is no text")),
        };
        ByteString::try_from(bytes).map_err(|_| self.malformed("a text is no UTF-8"))
    }

    /// Bytes, which are a slice of what came unless they come in several. Some servers (kinesis-local) write them as in JSON, as text
    /// in base 64.
    pub(super) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        if self.rest.first().is_some_and(|first| first >> 5 == TEXT) {
            let text = self.text()?;
            let bytes = aws_smithy_types::base64::decode(&*text);
            return bytes
                .map(Bytes::from)
                .map_err(|_| self.malformed("text for bytes is not in base 64"));
        }
        match self.header()? {
            Header::Bytes(Some(length)) => self.take(length).map(Taken::bytes),
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
                    joined.extend_from_slice(&self.take(length)?.borrowed());
                }
            }
        }
    }

    /// A number, with a tag or without.
    pub(super) fn number(&mut self) -> Result<f64, Malformed> {
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
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
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
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// Bytes that were taken: a slice of one piece, or a copy of what was in several.
enum Taken<'b> {
    Slice(&'b Bytes, &'b [u8]),
    Joined(Vec<u8>),
}

impl<'b> Taken<'b> {
    fn bytes(self) -> Bytes {
        match self {
            Self::Slice(piece, slice) => piece.slice_ref(slice),
            Self::Joined(joined) => joined.into(),
        }
    }

    fn borrowed(self) -> Cow<'b, [u8]> {
        match self {
            Self::Slice(_, slice) => Cow::Borrowed(slice),
            Self::Joined(joined) => Cow::Owned(joined),
        }
    }
}
