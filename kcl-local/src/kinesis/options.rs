//! What an embedding program chooses about the backend.

use std::time::Duration;

use super::quotas::{Quotas, ShardRates};

/// Choices that the real service makes for its users.
///
/// The defaults suit tests ([`fast`](Self::fast)): changes of streams take effect at once and no rate limit applies.
/// [`faithful`](Self::faithful) is as the service is. Subscriptions last as long as with the service in both.
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
    /// How long a stream is `UPDATING` after a split, a merge, a change of its shard count, its retention, its encryption, its
    /// metrics, its capacity mode or the size of its records. New shards open at the end of it.
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
    /// Whether shards refuse what exceeds their [`rates`](Self::rates), and whether a subscriber gets no more of a shard than
    /// these allow.
    pub enforce_limits: bool,
    /// What one shard sustains, if limits are enforced.
    pub rates: ShardRates,
    /// How often things may be done; without limits by default.
    pub quotas: Quotas,
    /// How many open shards the account may have in all its streams.
    pub shard_limit: u32,
    /// How many on-demand streams the account may have.
    pub on_demand_stream_limit: u32,
    /// For how long a shard of an on-demand stream has to be written to at more than half its rates before it is split in
    /// two. Never, if there is none: then an on-demand stream keeps its shards.
    pub on_demand_reaction: Option<Duration>,
}

impl KinesisOptions {
    /// For tests that are about something else: nothing takes time, and nothing is refused for being too much. The defaults.
    pub fn fast() -> Self {
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
            rates: ShardRates::default(),
            quotas: Quotas::default(),
            shard_limit: 20_000,
            on_demand_stream_limit: 50,
            on_demand_reaction: None,
        }
    }

    /// As the service is: changes take about as long, and its default limits apply.
    ///
    /// How long changes take is not documented: these are times that are often seen. The limits are those of
    /// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.
    pub fn faithful() -> Self {
        Self {
            create_delay: Duration::from_secs(15),
            delete_delay: Duration::from_secs(15),
            update_delay: Duration::from_secs(30),
            consumer_delay: Duration::from_secs(10),
            enforce_limits: true,
            quotas: Quotas::of_the_service(),
            on_demand_reaction: Some(Duration::from_secs(60)),
            ..Self::fast()
        }
    }
}

impl Default for KinesisOptions {
    fn default() -> Self {
        Self::fast()
    }
}
