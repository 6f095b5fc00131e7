//! What an embedding program chooses about the backend.

use std::time::Duration;

/// Choices that the real service makes for its users.
///
/// The defaults suit tests: changes of streams take effect at once and no rate limit applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisOptions {
    /// The region that ARNs name.
    pub region: String,
    /// The twelve digits of the account that ARNs name.
    pub account_id: String,
    /// How long a new stream is `CREATING`.
    pub create_delay: Duration,
    /// How long a deleted stream is `DELETING` before it is gone.
    pub delete_delay: Duration,
    /// How long a stream is `UPDATING` after a split, a merge, a change of its shard count or its retention. New
    /// shards open at the end of it.
    pub update_delay: Duration,
    /// How long a new consumer is `CREATING`, and one that was deregistered `DELETING`.
    pub consumer_delay: Duration,
    /// Whether shards refuse what exceeds their rates: 1,000 records and 1 MiB per second in, five reads and
    /// 2 MiB per second out.
    pub enforce_limits: bool,
    /// How many open shards the account may have in all its streams.
    pub shard_limit: u32,
}

impl Default for KinesisOptions {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            create_delay: Duration::ZERO,
            delete_delay: Duration::ZERO,
            update_delay: Duration::ZERO,
            consumer_delay: Duration::ZERO,
            enforce_limits: false,
            shard_limit: 20_000,
        }
    }
}
