//! How much and how often: the service's limits, each of which can be set.

use std::collections::BTreeMap;

/// What one shard sustains in a second.
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRates {
    /// Records that are put; 1,000 with the service.
    pub records_in: u32,
    /// Bytes that are put, of contents and partition keys; 1 MiB with the service.
    pub bytes_in: u32,
    /// Calls of `GetRecords`; five with the service.
    pub reads: u32,
    /// Bytes that are read, and as many for each registered consumer; 2 MiB with the service. An answer may have more, and then
    /// the reads of the next seconds are refused until it is made up for.
    pub bytes_out: u32,
}

impl Default for ShardRates {
    fn default() -> Self {
        Self {
            records_in: 1_000,
            bytes_in: 1 << 20,
            reads: 5,
            bytes_out: 2 << 20,
        }
    }
}

/// How often things may be done. No limits by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quotas {
    /// How often in a second the account may call an operation, by the operation's name. Operations that are not named may be
    /// called as often as one likes.
    pub calls: BTreeMap<&'static str, u32>,
    /// How often in a second iterators of one shard may be got; five with the service.
    pub iterators: Option<u32>,
    /// How often in a second the shards of one stream may be listed; 1,000 times with the service.
    pub listings: Option<u32>,
    /// How many streams may be `CREATING` at a time; five with the service.
    pub streams_creating: Option<u32>,
    /// How often in 24 hours the shard count of a stream may be updated; ten times with the service.
    pub shard_count_updates: Option<u32>,
    /// How often in 24 hours a stream's capacity mode may be changed; twice with the service.
    pub mode_changes: Option<u32>,
    /// How often in 24 hours the encryption of a stream may be started, and how often stopped; 25 times with the service.
    pub encryption_changes: Option<u32>,
}

/// Calls in a second and account.
const CALLS: &[(u32, &[&str])] = &[
    (1, &["DescribeLimits"]),
    (
        5,
        &[
            "AddTagsToStream",
            "CreateStream",
            "DecreaseStreamRetentionPeriod",
            "DeleteResourcePolicy",
            "DeleteStream",
            "DeregisterStreamConsumer",
            "DescribeAccountSettings",
            "DisableEnhancedMonitoring",
            "EnableEnhancedMonitoring",
            "GetResourcePolicy",
            "IncreaseStreamRetentionPeriod",
            "ListStreamConsumers",
            "ListStreams",
            "ListTagsForResource",
            "ListTagsForStream",
            "MergeShards",
            "PutResourcePolicy",
            "RegisterStreamConsumer",
            "RemoveTagsFromStream",
            "SplitShard",
            "StartStreamEncryption",
            "StopStreamEncryption",
            "TagResource",
            "UntagResource",
            "UpdateAccountSettings",
            "UpdateMaxRecordSize",
            "UpdateStreamMode",
            "UpdateStreamRecordDistributionStrategy",
            "UpdateStreamWarmThroughput",
        ],
    ),
    (10, &["DescribeStream", "UpdateShardCount"]),
    (20, &["DescribeStreamConsumer", "DescribeStreamSummary"]),
];

impl Quotas {
    /// The service's default limits.
    ///
    /// Those of calls are the documented ones per account. The operations that move records have none: their shards limit them.
    pub fn of_the_service() -> Self {
        let calls = CALLS.iter();
        let calls = calls.flat_map(|(calls, operations)| operations.iter().map(|name| (*name, *calls)));
        Self {
            calls: calls.collect(),
            iterators: Some(5),
            listings: Some(1_000),
            streams_creating: Some(5),
            shard_count_updates: Some(10),
            mode_changes: Some(2),
            encryption_changes: Some(25),
        }
    }
}
