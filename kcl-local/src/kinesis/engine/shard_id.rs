//! Names of shards.

use std::fmt;
use std::str::FromStr;

/// A shard's number within its stream, written `shardId-000000000007`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardId(u32);

const PREFIX: &str = "shardId-";

impl ShardId {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{:012}", self.0)
    }
}

/// The text does not name a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a shard id")]
pub(crate) struct NotAShardId;

impl FromStr for ShardId {
    type Err = NotAShardId;

    /// Reads the number behind the last hyphen, or the whole text if it has none: the service looks neither at the
    /// prefix nor at the number of digits.
    fn from_str(text: &str) -> Result<Self, NotAShardId> {
        let digits = text.rsplit('-').next().unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAShardId);
        }
        let number: i32 = digits.parse().map_err(|_| NotAShardId)?;
        u32::try_from(number).map(Self).map_err(|_| NotAShardId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_id_is_its_number_in_twelve_digits() {
        assert_eq!(ShardId::new(7).to_string(), "shardId-000000000007");
        assert_eq!("shardId-002147483647".parse(), Ok(ShardId::new(2_147_483_647)));
    }

    #[test]
    fn only_the_number_counts() {
        for text in ["7", "-7", "shardId-7", "my-shard-00000000000000007"] {
            assert_eq!(text.parse(), Ok(ShardId::new(7)), "{text}");
        }
    }

    #[test]
    fn other_texts_name_no_shard() {
        for text in [
            "",
            "shardId-",
            "shardId-+7",
            "shardId-002147483648",
            "2.14E4",
            "orders",
            "shardId-7\u{0667}",
        ] {
            assert_eq!(text.parse::<ShardId>(), Err(NotAShardId), "{text}");
        }
    }
}
