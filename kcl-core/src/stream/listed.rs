//! Shards and children as the SDK has them, taken over.

use aws_sdk_kinesis::types as sdk;
use kcl_lease::{HashRange, SequenceNumber};

use super::children::Child;
use super::graph::Shard;
use crate::config::ShardId;

/// A listed shard that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Kinesis listed shard {shard} without a valid {missing}")]
pub(crate) struct InvalidShard {
    shard: String,
    missing: &'static str,
}

impl Shard {
    pub(crate) fn from_sdk(shard: &sdk::Shard) -> Result<Self, InvalidShard> {
        let invalid = |missing| InvalidShard {
            shard: shard.shard_id.clone(),
            missing,
        };
        let numbers = shard
            .sequence_number_range()
            .ok_or_else(|| invalid("sequence number range"))?;
        Ok(Self {
            id: ShardId::from(shard.shard_id()),
            parents: [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
                .into_iter()
                .flatten()
                .map(ShardId::from)
                .collect(),
            hash_range: shard
                .hash_key_range()
                .and_then(hash_range)
                .ok_or_else(|| invalid("hash key range"))?,
            starts_at: SequenceNumber::parse(numbers.starting_sequence_number())
                .map_err(|_| invalid("starting sequence number"))?,
            ends_at: numbers
                .ending_sequence_number()
                .map(SequenceNumber::parse)
                .transpose()
                .map_err(|_| invalid("ending sequence number"))?,
        })
    }
}

impl Child {
    pub(crate) fn from_sdk(child: &sdk::ChildShard) -> Self {
        Self {
            id: ShardId::from(child.shard_id()),
            parents: child
                .parent_shards()
                .iter()
                .map(|parent| ShardId::from(parent.as_str()))
                .collect(),
            hash_range: child.hash_key_range().and_then(hash_range),
        }
    }
}

/// Reads a hash range of the SDK; `None` if it is not made of two numbers in order.
fn hash_range(range: &sdk::HashKeyRange) -> Option<HashRange> {
    let start = range.starting_hash_key().parse().ok()?;
    let end = range.ending_hash_key().parse().ok()?;
    (start <= end).then_some(HashRange { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::shard;

    #[test]
    fn a_listed_shard_is_read_from_the_sdk() {
        let listed = sdk::Shard::builder()
            .shard_id("shardId-000000000002")
            .parent_shard_id("shardId-000000000000")
            .adjacent_parent_shard_id("shardId-000000000001")
            .hash_key_range(
                sdk::HashKeyRange::builder()
                    .starting_hash_key("0")
                    .ending_hash_key("340282366920938463463374607431768211455")
                    .build()
                    .expect("complete"),
            )
            .sequence_number_range(
                sdk::SequenceNumberRange::builder()
                    .starting_sequence_number("2000")
                    .build()
                    .expect("complete"),
            )
            .build()
            .expect("complete");
        assert_eq!(
            Shard::from_sdk(&listed),
            Ok(shard(2, &[0, 1], HashRange::FULL, true))
        );
    }

    #[test]
    fn a_shard_without_ranges_is_refused_by_name() {
        let listed = sdk::Shard::builder()
            .shard_id("shardId-1")
            .build()
            .expect("complete");
        let error = Shard::from_sdk(&listed).expect_err("incomplete");
        assert_eq!(
            error.to_string(),
            "Kinesis listed shard shardId-1 without a valid sequence number range"
        );
    }
}
