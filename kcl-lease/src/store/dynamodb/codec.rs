//! Leases to and from items, attribute for attribute as the Java KCL writes them.

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;

use super::attributes::*;
use crate::checkpoint::{Checkpoint, PendingCheckpoint};
use crate::lease::{HashRange, Lease, StreamShard};

/// What an item is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Entity {
    Lease,
    Leader,
    Worker,
    ClientVersion,
    /// An entity of a newer or older version: left alone.
    Foreign,
}

/// Tells by `entityType`; leases written before the Java KCL 3.5 have none.
pub(super) fn entity(item: &Item) -> Entity {
    match item.get(ENTITY_TYPE) {
        None => Entity::Lease,
        Some(AttributeValue::S(name)) => match name.as_str() {
            LEASE_ENTITY => Entity::Lease,
            LEADER_ENTITY => Entity::Leader,
            WORKER_ENTITY => Entity::Worker,
            CLIENT_VERSION_ENTITY => Entity::ClientVersion,
            _ => Entity::Foreign,
        },
        Some(_) => Entity::Foreign,
    }
}

/// The item of a new lease.
pub(super) fn encode(lease: &Lease) -> Item {
    let mut item = Item::from([
        (LEASE_KEY.into(), string(lease.key.as_str())),
        (ENTITY_TYPE.into(), string(LEASE_ENTITY)),
        (LEASE_COUNTER.into(), number(lease.counter)),
        (
            OWNER_SWITCHES.into(),
            number(lease.owner_switches_since_checkpoint),
        ),
    ]);
    item.extend(encode_checkpoint(&lease.checkpoint));
    let mut add = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.into(), value);
        }
    };
    add(
        LEASE_OWNER,
        lease.owner.as_ref().map(|owner| string(owner.as_str())),
    );
    add(
        CHECKPOINT_OWNER,
        lease
            .checkpoint_owner
            .as_ref()
            .map(|owner| string(owner.as_str())),
    );
    add(
        OWNER_PROCESS,
        lease.process.as_ref().map(|process| string(process.as_str())),
    );
    add(
        PARENTS,
        Some(&lease.parents).filter(|set| !set.is_empty()).map(strings),
    );
    add(
        CHILDREN,
        Some(&lease.children).filter(|set| !set.is_empty()).map(strings),
    );
    add(THROUGHPUT, lease.throughput_kbps.map(encode_throughput));
    add(READING_SINCE, lease.reading_since.map(number));
    add(PAUSED_SINCE, lease.paused_since.map(number));
    add(
        STREAM_NAME,
        lease.stream_shard.as_ref().map(|id| string(&id.stream)),
    );
    add(
        SHARD_ID,
        lease.stream_shard.as_ref().map(|id| string(&id.shard_id)),
    );
    if let Some(checkpoint) = &lease.rewind_to {
        item.extend(encode_rewind(checkpoint));
    }
    if let Some(pending) = &lease.pending_checkpoint {
        item.extend(encode_pending(pending));
    }
    if let Some(range) = lease.hash_range {
        item.extend(encode_hash_range(range));
    }
    item
}

pub(super) fn encode_checkpoint(checkpoint: &Checkpoint) -> [(String, AttributeValue); 2] {
    [
        (CHECKPOINT.into(), string(checkpoint.as_str())),
        (CHECKPOINT_SUB.into(), number(checkpoint.sub_sequence())),
    ]
}

pub(super) fn encode_rewind(checkpoint: &Checkpoint) -> [(String, AttributeValue); 2] {
    [
        (REWIND_TO.into(), string(checkpoint.as_str())),
        (REWIND_TO_SUB.into(), number(checkpoint.sub_sequence())),
    ]
}

pub(super) fn encode_pending(pending: &PendingCheckpoint) -> Vec<(String, AttributeValue)> {
    let mut attributes = vec![
        (PENDING.into(), string(pending.checkpoint.as_str())),
        (PENDING_SUB.into(), number(pending.checkpoint.sub_sequence())),
    ];
    // The Java KCL never writes an empty binary.
    if let Some(state) = pending.state.as_ref().filter(|state| !state.is_empty()) {
        attributes.push((PENDING_STATE.into(), binary(state)));
    }
    attributes
}

pub(super) fn encode_hash_range(range: HashRange) -> [(String, AttributeValue); 2] {
    [
        (STARTING_HASH_KEY.into(), string(range.start.to_string())),
        (ENDING_HASH_KEY.into(), string(range.end.to_string())),
    ]
}

/// Six decimals at the most, without trailing zeros.
pub(super) fn encode_throughput(kbps: f64) -> AttributeValue {
    let fixed = format!("{kbps:.6}");
    let short = fixed.trim_end_matches('0').trim_end_matches('.');
    number(if short.is_empty() { "0" } else { short })
}

/// Reads a lease; an error is a sentence about the first attribute that cannot be read.
pub(super) fn decode(item: &Item) -> Result<Lease, String> {
    let required = |name: &str| format!("{name} is missing");
    let key = item.text(LEASE_KEY)?.ok_or_else(|| required(LEASE_KEY))?;
    let checkpoint = item.text(CHECKPOINT)?.ok_or_else(|| required(CHECKPOINT))?;
    let sub_sequence = item.unsigned(CHECKPOINT_SUB)?.unwrap_or(0);
    Ok(Lease {
        key: key.into(),
        owner: item.text(LEASE_OWNER)?.map(Into::into),
        checkpoint_owner: item.text(CHECKPOINT_OWNER)?.map(Into::into),
        process: item.text(OWNER_PROCESS)?.map(Into::into),
        counter: item
            .unsigned(LEASE_COUNTER)?
            .ok_or_else(|| required(LEASE_COUNTER))?,
        owner_switches_since_checkpoint: item.unsigned(OWNER_SWITCHES)?.unwrap_or(0),
        checkpoint: Checkpoint::parse(checkpoint, sub_sequence).map_err(|error| error.to_string())?,
        pending_checkpoint: decode_pending(item)?,
        reading_since: item.unsigned(READING_SINCE)?,
        paused_since: item.unsigned(PAUSED_SINCE)?,
        rewind_to: decode_rewind(item)?,
        parents: item.text_set(PARENTS)?,
        children: item.text_set(CHILDREN)?,
        hash_range: decode_hash_range(item)?,
        throughput_kbps: decode_throughput(item),
        stream_shard: decode_stream_shard(item)?,
    })
}

fn decode_rewind(item: &Item) -> Result<Option<Checkpoint>, String> {
    let Some(text) = item.text(REWIND_TO)? else {
        return Ok(None);
    };
    let sub_sequence = item.unsigned(REWIND_TO_SUB)?.unwrap_or(0);
    let checkpoint = Checkpoint::parse(text, sub_sequence);
    checkpoint
        .map(Some)
        .map_err(|error| format!("{REWIND_TO}: {error}"))
}

fn decode_pending(item: &Item) -> Result<Option<PendingCheckpoint>, String> {
    let Some(text) = item.text(PENDING)? else {
        return Ok(None);
    };
    let sub_sequence = item.unsigned(PENDING_SUB)?.unwrap_or(0);
    let state = match item.get(PENDING_STATE) {
        Some(AttributeValue::B(blob)) => Some(Bytes::copy_from_slice(blob.as_ref())),
        // A Java KCL may write a number here when it creates a row; it means nothing.
        _ => None,
    };
    let checkpoint = Checkpoint::parse(text, sub_sequence).map_err(|error| error.to_string())?;
    Ok(Some(PendingCheckpoint { checkpoint, state }))
}

fn decode_hash_range(item: &Item) -> Result<Option<HashRange>, String> {
    let key = |name: &str| -> Result<Option<u128>, String> {
        let text = item.text(name)?;
        text.map(|digits| {
            digits
                .parse()
                .map_err(|_| format!("{name} is {digits:?}, not a hash key"))
        })
        .transpose()
    };
    Ok(match (key(STARTING_HASH_KEY)?, key(ENDING_HASH_KEY)?) {
        (Some(start), Some(end)) => Some(HashRange { start, end }),
        _ => None,
    })
}

/// A measurement that cannot be read is none: the owner writes another one soon, and nothing else depends on it.
fn decode_throughput(item: &Item) -> Option<f64> {
    match item.get(THROUGHPUT) {
        Some(AttributeValue::N(digits)) => digits.parse().ok(),
        _ => None,
    }
}

fn decode_stream_shard(item: &Item) -> Result<Option<StreamShard>, String> {
    Ok(match (item.text(STREAM_NAME)?, item.text(SHARD_ID)?) {
        (Some(stream), Some(shard_id)) => Some(StreamShard {
            stream: stream.to_owned(),
            shard_id: shard_id.to_owned(),
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
