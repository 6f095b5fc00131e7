//! Opaque tokens: text that a caller keeps and returns, and that a damaged or invented copy of is recognised.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::EngineError;
use super::time::EpochMillis;

/// How long shard iterators and tokens of listings are good for.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html> and `API_ListShards.html`
pub(super) const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// What a token continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum TokenKind {
    /// A place in a shard.
    ShardIterator = 1,
    /// A listing of shards.
    Shards = 2,
    /// A listing of streams.
    Streams = 3,
    /// A listing of a stream's consumers.
    Consumers = 4,
}

/// Builds a token.
#[derive(Debug)]
pub(crate) struct TokenWriter(Vec<u8>);

impl TokenWriter {
    /// A token that ages from `issued` on.
    pub(crate) fn new(kind: TokenKind, issued: EpochMillis) -> Self {
        Self(vec![kind as u8]).number(issued.get())
    }

    pub(crate) fn number(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds the last part and returns the text.
    pub(crate) fn text(mut self, value: &str) -> String {
        self.0.extend_from_slice(value.as_bytes());
        let checksum = crc32fast::hash(&self.0);
        self.0.extend_from_slice(&checksum.to_be_bytes());
        STANDARD.encode(self.0)
    }
}

/// Takes a token apart, in the order in which it was built. `None` at any step means that it is not ours.
#[derive(Debug)]
pub(crate) struct TokenReader {
    bytes: Vec<u8>,
    position: usize,
}

impl TokenReader {
    fn parse(kind: TokenKind, token: &str) -> Option<Self> {
        let mut bytes = STANDARD.decode(token).ok()?;
        let (content, checksum) = bytes.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*checksum) != crc32fast::hash(content) || *content.first()? != kind as u8 {
            return None;
        }
        bytes.truncate(bytes.len() - 4);
        Some(Self { bytes, position: 1 })
    }

    /// Begins to read a token and returns its age as well.
    pub(super) fn new(kind: TokenKind, token: &str, now: EpochMillis) -> Option<(Self, Duration)> {
        let mut reader = Self::parse(kind, token)?;
        let issued = EpochMillis::new(reader.number()?);
        (issued <= now).then(|| (reader, now.since(issued)))
    }

    /// Begins to read the token of a listing.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not one, `ExpiredNextToken` if it is too old.
    pub(crate) fn next_token(kind: TokenKind, token: &str, now: EpochMillis) -> Result<Self, EngineError> {
        match Self::new(kind, token, now) {
            None => Err(EngineError::invalid_next_token()),
            Some((_, age)) if age > LIFETIME => Err(EngineError::ExpiredNextToken { age, limit: LIFETIME }),
            Some((reader, _)) => Ok(reader),
        }
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let value = self.bytes.get(self.position..)?.first_chunk()?;
        self.position += 8;
        Some(u64::from_be_bytes(*value))
    }

    pub(crate) fn text(self) -> Option<String> {
        String::from_utf8(self.bytes.get(self.position..)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: EpochMillis = EpochMillis::new(1_000);

    fn write(number: u64, text: &str) -> String {
        TokenWriter::new(TokenKind::Shards, NOW).number(number).text(text)
    }

    fn read(token: &str) -> Option<(u64, String)> {
        let mut reader = TokenReader::next_token(TokenKind::Shards, token, NOW).ok()?;
        Some((reader.number()?, reader.text()?))
    }

    #[test]
    fn a_token_of_another_kind_is_not_read() {
        let token = TokenWriter::new(TokenKind::Streams, NOW).number(1).text("orders");
        assert_eq!(read(&token), None);
    }

    #[test]
    fn a_token_that_is_too_short_is_not_read() {
        let token = TokenWriter::new(TokenKind::Shards, NOW).text("abc");
        assert_eq!(read(&token), None);
    }

    #[test]
    fn a_listing_can_be_continued_for_five_minutes() {
        let token = write(1, "orders");
        let read_at = |millis| TokenReader::next_token(TokenKind::Shards, &token, EpochMillis::new(millis));
        assert!(read_at(301_000).is_ok());
        assert!(matches!(
            read_at(301_001),
            Err(EngineError::ExpiredNextToken { .. })
        ));
        assert!(
            matches!(read_at(999), Err(EngineError::InvalidArgument(_))),
            "from the future"
        );
    }

    proptest! {
        #[test]
        fn a_token_returns_what_was_put_in(number: u64, text: String) {
            prop_assert_eq!(read(&write(number, &text)), Some((number, text)));
        }

        #[test]
        fn a_damaged_token_is_recognised(number: u64, at in 0_usize..27, bit in 0_u32..8) {
            let mut bytes = STANDARD.decode(write(number, "orders")).unwrap();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(read(&STANDARD.encode(bytes)), None);
        }

        #[test]
        fn garbage_is_not_read(garbage in ".*") {
            prop_assert_eq!(read(&garbage), None);
        }

        #[test]
        fn contents_that_nobody_wrote_do_no_harm(content: Vec<u8>) {
            let mut bytes = vec![TokenKind::Shards as u8];
            bytes.extend(content);
            let checksum = crc32fast::hash(&bytes);
            bytes.extend(checksum.to_be_bytes());
            let _ = read(&STANDARD.encode(bytes));
        }
    }
}
