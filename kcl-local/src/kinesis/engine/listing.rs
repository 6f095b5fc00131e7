//! Which shards a listing shows.

use std::collections::BTreeSet;

use super::shard::Shard;
use super::shard_id::ShardId;
use super::stream::Stream;
use super::time::EpochMillis;

/// A choice among the shards that the retention period covers.
///
/// The choices "at" a time divide the whole space of hash keys without overlap, and together with their descendants
/// they hold every record from that time on. So of shards that closed in the very millisecond asked for, the older
/// generation is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShardFilter {
    /// Every one.
    FromTrimHorizon,
    /// The oldest for every hash key.
    AtTrimHorizon,
    /// The open ones.
    AtLatest,
    /// Those that were open at a time.
    AtTimestamp(EpochMillis),
    /// Those that were open at a time or opened later.
    FromTimestamp(EpochMillis),
    /// Those with greater ids.
    AfterShard(ShardId),
}

impl Stream {
    /// The shards that `filter` selects, by id. Call [`Stream::expire`] before.
    pub(crate) fn select(&self, filter: ShardFilter) -> Vec<&Shard> {
        match filter {
            ShardFilter::FromTrimHorizon => self.shards().collect(),
            ShardFilter::AtTrimHorizon => oldest(self.shards().collect()),
            ShardFilter::AtLatest => self.shards().filter(|shard| shard.is_open()).collect(),
            ShardFilter::AtTimestamp(time) => oldest(
                self.shards()
                    .filter(|shard| shard.lived_at_or_after(time))
                    .collect(),
            ),
            ShardFilter::FromTimestamp(time) => self
                .shards()
                .filter(|shard| shard.lived_at_or_after(time))
                .collect(),
            ShardFilter::AfterShard(id) => self.shards().filter(|shard| shard.id() > id).collect(),
        }
    }
}

/// Those without a parent among `shards`.
///
/// For any hash key the shards that owned it form a chain, ordered by the time of closing, and `shards` holds the end
/// of each chain. Parents close together, so the parents of a shard are all in or all out, and what is left
/// divides the space.
fn oldest(mut shards: Vec<&Shard>) -> Vec<&Shard> {
    let ids: BTreeSet<ShardId> = shards.iter().map(|shard| shard.id()).collect();
    shards.retain(|shard| shard.parents.iter().all(|parent| !ids.contains(parent)));
    shards
}
