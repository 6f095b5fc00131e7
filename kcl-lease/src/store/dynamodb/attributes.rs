//! Names of the table's attributes and rows, as the Java KCL 3.5 spells them, and typed access to an item.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

pub(super) const LEASE_KEY: &str = "leaseKey";
/// Hash key of the table `APPLICATION-CoordinatorState`.
pub(super) const STATE_KEY: &str = "key";
/// Hash key of the table `APPLICATION-WorkerMetricStats`.
pub(super) const WORKER_KEY: &str = "wid";
pub(super) const ENTITY_TYPE: &str = "entityType";
pub(super) const LEASE_OWNER: &str = "leaseOwner";
pub(super) const LEASE_COUNTER: &str = "leaseCounter";
pub(super) const OWNER_SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const CHECKPOINT_SUB: &str = "checkpointSubSequenceNumber";
pub(super) const PENDING: &str = "pendingCheckpoint";
pub(super) const PENDING_SUB: &str = "pendingCheckpointSubSequenceNumber";
pub(super) const PENDING_STATE: &str = "pendingCheckpointState";
/// Ours: the Java KCL does not know it.
pub(super) const READING_SINCE: &str = "readingSince";
/// Ours, too.
pub(super) const PAUSED_SINCE: &str = "pausedSince";
/// Ours, too.
pub(super) const REWIND_TO: &str = "rewindTo";
pub(super) const REWIND_TO_SUB: &str = "rewindToSubSequenceNumber";
/// Ours, too.
pub(super) const OWNER_PROCESS: &str = "ownerProcess";
pub(super) const PARENTS: &str = "parentShardId";
pub(super) const CHILDREN: &str = "childShardIds";
pub(super) const STARTING_HASH_KEY: &str = "startingHashKey";
pub(super) const ENDING_HASH_KEY: &str = "endingHashKey";
pub(super) const THROUGHPUT: &str = "throughputKBps";
pub(super) const CHECKPOINT_OWNER: &str = "checkpointOwner";
pub(super) const STREAM_NAME: &str = "streamName";
pub(super) const SHARD_ID: &str = "shardId";

pub(super) const LEASE_ENTITY: &str = "LEASE";
pub(super) const LEADER_ENTITY: &str = "LEADER";
pub(super) const WORKER_ENTITY: &str = "WORKER_METRIC_STATS";
pub(super) const CLIENT_VERSION_ENTITY: &str = "CLIENT_VERSION_MIGRATION";
pub(super) const TABLE_MIGRATION_ENTITY: &str = "TABLE_MIGRATION";

/// When a worker reported, in seconds since the Unix epoch.
pub(super) const REPORTED_AT: &str = "lut";

/// Which process reported. Ours.
pub(super) const PROCESS: &str = "process";

pub(super) const LEADER_KEY: &str = "Leader";
pub(super) const LOCK_OWNER: &str = "ownerName";
pub(super) const LOCK_DURATION: &str = "leaseDuration";
pub(super) const LOCK_VERSION: &str = "recordVersionNumber";
pub(super) const LOCK_RELEASED: &str = "isReleased";
pub(super) const LOCK_HELD_DIGEST: &str = "heldDigest";
pub(super) const LOCK_STANDSTILLS: &str = "standstills";
pub(super) const LOCK_HEIRS: &str = "heirs";

pub(super) const CLIENT_VERSION_KEY: &str = "Migration3.0";
pub(super) const TABLE_MIGRATION_KEY: &str = "TableMigration3.5";
pub(super) const TABLE_MIGRATION_STATUS: &str = "tm";
/// Of the row `Migration3.0`, which the Java KCL changes attribute by attribute: what the leases are of. Ours.
pub(super) const RECORDED_STREAM: &str = "stream";
pub(super) const RECORDED_CREATION: &str = "streamCreated";
/// The entity type of Java's notes on streams, which its workers read only on demand: so they mind no kept lease.
pub(super) const STREAM_ENTITY: &str = "STREAM";
/// What makes such a row a kept lease, with the key that it had. Ours.
pub(super) const KEPT_KEY: &str = "keptLeaseKey";
pub(super) const OWNER_INDEX: &str = "LeaseOwnerToLeaseKeyIndex";

/// One row.
pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub(super) fn strings(set: &BTreeSet<String>) -> AttributeValue {
    AttributeValue::Ss(set.iter().cloned().collect())
}

pub(super) fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Typed reads from an item; an error is a sentence about the attribute.
pub(super) trait Attributes {
    fn text(&self, name: &str) -> Result<Option<&str>, String>;
    fn unsigned(&self, name: &str) -> Result<Option<u64>, String>;
    fn text_set(&self, name: &str) -> Result<BTreeSet<String>, String>;
}

impl Attributes for Item {
    fn text(&self, name: &str) -> Result<Option<&str>, String> {
        match self.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is not a string")),
        }
    }

    fn unsigned(&self, name: &str) -> Result<Option<u64>, String> {
        match self.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::N(digits)) => digits
                .parse()
                .map(Some)
                .map_err(|_| format!("{name} is {digits}, not a whole number of 0 or more")),
            Some(_) => Err(format!("{name} is not a number")),
        }
    }

    fn text_set(&self, name: &str) -> Result<BTreeSet<String>, String> {
        match self.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(BTreeSet::new()),
            Some(AttributeValue::Ss(texts)) => Ok(texts.iter().cloned().collect()),
            Some(_) => Err(format!("{name} is not a set of strings")),
        }
    }
}
