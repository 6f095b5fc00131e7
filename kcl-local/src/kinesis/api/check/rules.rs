//! The rules of members that several requests have, from the service's model of its API.

use super::{Checks, Length, Number, Pattern, Text};

pub(crate) const NAME: Text = Text {
    pattern: Some(Pattern::Name),
    length: Some((1, 128)),
};
pub(crate) const STREAM_ARN: Text = arn(Pattern::StreamArn);
pub(crate) const CONSUMER_ARN: Text = arn(Pattern::ConsumerArn);
pub(crate) const STREAM_ID: Text = Text {
    pattern: Some(Pattern::StreamId),
    length: Some((1, 24)),
};
pub(crate) const NEXT_TOKEN: Text = Text {
    pattern: None,
    length: Some((1, 1_048_576)),
};
pub(crate) const SHARD_ITERATOR: Text = Text {
    pattern: None,
    length: Some((1, 512)),
};
pub(crate) const PARTITION_KEY: Text = Text {
    pattern: None,
    length: Some((1, 256)),
};
pub(crate) const TAG_KEY: Text = Text {
    pattern: None,
    length: Some((1, 128)),
};
pub(crate) const HASH_KEY: Text = Text {
    pattern: Some(Pattern::HashKey),
    length: None,
};
pub(crate) const SEQUENCE_NUMBER: Text = Text {
    pattern: Some(Pattern::SequenceNumber),
    length: None,
};

pub(crate) const PAGE: Number = Number(1, 10_000);
pub(crate) const SHARD_COUNT: Number = Number(1, 100_000);
pub(crate) const RECORD_KIB: Number = Number(1_024, 10_240);
/// What the service counts with.
pub(crate) const MIBPS: Number = Number(0, i32::MAX as i64);

/// A record's content: 10 MiB. What a stream allows may be less.
pub(crate) const DATA: Length = Length(0, 10 << 20);
pub(crate) const RECORDS: Length = Length(1, 500);

/// Of `ScalingType`.
pub(crate) const SCALING_TYPES: &[&str] = &["UNIFORM_SCALING"];
/// Of `StreamMode`.
pub(crate) const STREAM_MODES: &[&str] = &["PROVISIONED", "ON_DEMAND"];
/// Of `ShardIteratorType` and of a subscription's `StartingPosition`.
pub(crate) const ITERATOR_TYPES: &[&str] = &[
    "AFTER_SEQUENCE_NUMBER",
    "LATEST",
    "AT_TIMESTAMP",
    "AT_SEQUENCE_NUMBER",
    "TRIM_HORIZON",
];
/// Of a `ShardFilter`.
pub(crate) const FILTER_TYPES: &[&str] = &[
    "AFTER_SHARD_ID",
    "AT_TRIM_HORIZON",
    "FROM_TRIM_HORIZON",
    "AT_LATEST",
    "AT_TIMESTAMP",
    "FROM_TIMESTAMP",
];

const fn arn(pattern: Pattern) -> Text {
    Text {
        pattern: Some(pattern),
        length: Some((1, 2_048)),
    }
}

/// Tags: how many, and the lengths of keys and values.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_TagResource.html>
pub(crate) fn tags(checks: &mut Checks, value: Option<&std::collections::BTreeMap<String, String>>) {
    checks.map("tags", value, Length(1, 200), Length(1, 128), Length(0, 256));
}

/// The keys of tags to be removed.
pub(crate) fn tag_keys(checks: &mut Checks, value: Option<&[String]>) {
    checks.texts("tagKeys", value, Length(1, 50), Length(1, 128));
}
