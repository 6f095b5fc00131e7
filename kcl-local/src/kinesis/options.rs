//! What an embedding program chooses about the backend.

use std::time::Duration;

/// Choices that the real service makes for its users.
///
/// The defaults suit tests: changes of streams take effect at once and no rate limit applies. Subscriptions last as long as
/// with the service.
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
    /// How long a subscription to a shard lasts; five minutes by default, as with the service.
    pub subscription_lifetime: Duration,
    /// How long after a subscription began its consumer may not subscribe to the shard again; five seconds by default, as
    /// with the service.
    pub resubscribe_interval: Duration,
    /// After how long without records a subscriber gets an event without records; five seconds by default, which is about
    /// what the service does.
    pub heartbeat: Duration,
    /// Whether shards refuse what exceeds their rates: 1,000 records and 1 MiB per second in, five reads and
    /// 2 MiB per second out; and whether a subscriber gets no more than 2 MiB per second of a shard.
    pub enforce_limits: bool,
    /// How many open shards the account may have in all its streams.
    pub shard_limit: u32,
    /// How many on-demand streams the account may have.
    pub on_demand_stream_limit: u32,
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
            subscription_lifetime: Duration::from_secs(5 * 60),
            resubscribe_interval: Duration::from_secs(5),
            heartbeat: Duration::from_secs(5),
            enforce_limits: false,
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
        }
    }
}
