//! Shard iterators: places in shards that callers carry around as opaque text for a few minutes.

use super::error::EngineError;
use super::shard::Position;
use super::shard_id::ShardId;
use super::time::EpochMillis;
use super::token::{LIFETIME, TokenKind, TokenReader, TokenWriter};

/// A place in a shard, from which records can be read until the iterator expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardIterator {
    pub(crate) stream: String,
    pub(crate) incarnation: u64,
    pub(crate) shard: ShardId,
    pub(crate) position: Position,
}

impl ShardIterator {
    /// The text that callers get, which ages from `now` on.
    pub(crate) fn encode(&self, now: EpochMillis) -> String {
        TokenWriter::new(TokenKind::ShardIterator, now)
            .number(self.incarnation)
            .number(u64::from(self.shard.number()))
            .number(self.position.0)
            .text(&self.stream)
    }

    /// Reads a text that a caller returned.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not an iterator that was issued by `now`, `ExpiredIterator` if it is too old.
    pub(crate) fn decode(token: &str, now: EpochMillis) -> Result<Self, EngineError> {
        let invalid = || EngineError::InvalidArgument("Invalid ShardIterator.".to_owned());
        let (reader, age) = TokenReader::new(TokenKind::ShardIterator, token, now).ok_or_else(invalid)?;
        if age > LIFETIME {
            return Err(EngineError::ExpiredIterator { age, limit: LIFETIME });
        }
        Self::parse(reader).ok_or_else(invalid)
    }

    /// The name of the stream that a text was issued for, however old it is.
    pub(crate) fn stream_of(token: &str) -> Option<String> {
        let (reader, _) = TokenReader::new(TokenKind::ShardIterator, token, EpochMillis::new(u64::MAX))?;
        Some(Self::parse(reader)?.stream)
    }

    fn parse(mut reader: TokenReader) -> Option<Self> {
        Some(Self {
            incarnation: reader.number()?,
            shard: ShardId::new(u32::try_from(reader.number()?).ok()?),
            position: Position(reader.number()?),
            stream: reader.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ISSUED: EpochMillis = EpochMillis::new(1_000);

    fn iterator() -> ShardIterator {
        ShardIterator {
            stream: "orders".to_owned(),
            incarnation: 3,
            shard: ShardId::new(7),
            position: Position(42),
        }
    }

    #[test]
    fn an_iterator_lives_for_five_minutes() {
        let token = iterator().encode(ISSUED);
        assert_eq!(
            ShardIterator::decode(&token, EpochMillis::new(301_000)),
            Ok(iterator())
        );
        let expired = ShardIterator::decode(&token, EpochMillis::new(301_001));
        assert!(
            matches!(expired, Err(EngineError::ExpiredIterator { .. })),
            "{expired:?}"
        );
    }

    #[test]
    fn an_iterator_from_the_future_is_not_ours() {
        let early = ShardIterator::decode(&iterator().encode(ISSUED), EpochMillis::new(999));
        assert!(matches!(early, Err(EngineError::InvalidArgument(_))), "{early:?}");
    }

    #[test]
    fn the_longest_stream_name_fits_the_services_512_characters() {
        let iterator = ShardIterator {
            stream: "s".repeat(128),
            ..iterator()
        };
        assert!(iterator.encode(ISSUED).len() <= 512);
    }

    proptest! {
        #[test]
        fn garbage_is_an_invalid_argument(token in ".*") {
            let decoded = ShardIterator::decode(&token, EpochMillis::new(1_000));
            prop_assert!(matches!(decoded, Err(EngineError::InvalidArgument(_))));
        }
    }
}
