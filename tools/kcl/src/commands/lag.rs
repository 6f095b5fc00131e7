//! How far the checkpoints of shards are behind what is in the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::Client;
use aws_types::SdkConfig;
use futures_util::{StreamExt as _, stream};
use kcl_core::Stream;
use kcl_core::reading::{ListedShard, ReadFrom, StreamReader};
use kcl_lease::{Checkpoint, Lease, LeaseKey};
use serde::Serialize;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::screen::{Ink, span};
use crate::table::Look;
use crate::table::tree::name;

/// Shards that are read at once.
const AT_ONCE: usize = 16;
/// What a shard's answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pages without records that are read on, in search of the first record.
const PAGES: usize = 3;

/// How far a shard is behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lag {
    /// The first record that is not checkpointed arrived so long ago.
    BehindMillis(u64),
    /// Nothing is left that is not checkpointed.
    None,
    /// It cannot be told; why.
    Unknown(String),
}

impl Lag {
    pub(crate) fn shown(&self) -> (Ink, String) {
        match self {
            Self::BehindMillis(millis) => (Ink::Plain, span(Duration::from_millis(*millis))),
            Self::None => (Ink::Good, "0 s".to_owned()),
            Self::Unknown(_) => (Ink::Faint, "?".to_owned()),
        }
    }
}

/// A client for a tool: it does not wait for ever.
pub(super) fn kinesis(sdk: &SdkConfig) -> Client {
    Client::new(sdk)
}

/// The lag of each lease of the stream that is not ended.
pub(super) async fn measure(
    sdk: &SdkConfig,
    stream: Stream,
    look: &Look,
) -> Result<BTreeMap<LeaseKey, Lag>, Failure> {
    let name = stream.name().to_owned();
    let reader = StreamReader::new(kinesis(sdk), stream).max_records(1);
    let shards = reader.shards().await?;
    let listed: BTreeMap<&str, &ListedShard> =
        shards.iter().map(|shard| (shard.id.as_str(), shard)).collect();
    let open = look.snapshot.leases.iter().filter(|lease| !lease.has_ended());
    let ours: Vec<_> = open
        .filter_map(|lease| Some((lease, *listed.get(shard_of(lease, &name)?)?)))
        .collect();
    let waiting = waiting_for_parents(look);
    let lags = stream::iter(ours)
        .map(|(lease, shard)| {
            let (reader, is_waiting) = (reader.clone(), waiting.contains(&lease.key));
            async move {
                let lag = match is_waiting {
                    true => Lag::Unknown("it waits for its parents".to_owned()),
                    false => lag(&reader, shard, &lease.checkpoint, look.at).await,
                };
                (lease.key.clone(), lag)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    Ok(lags)
}

/// The shard of a lease, if it is of this stream.
pub(super) fn shard_of<'a>(lease: &'a Lease, stream: &str) -> Option<&'a str> {
    match &lease.stream_shard {
        None => Some(lease.key.as_str()),
        Some(named) => {
            let name = named.stream.split(':').nth(1);
            (name == Some(stream)).then_some(named.shard_id.as_str())
        }
    }
}

/// Leases whose parents are not processed to their ends.
fn waiting_for_parents(look: &Look) -> BTreeSet<LeaseKey> {
    let leases = &look.snapshot.leases;
    let open: BTreeSet<_> = leases
        .iter()
        .filter(|lease| !lease.has_ended())
        .map(name)
        .collect();
    let waits = leases.iter().filter(|lease| {
        let (stream, _) = name(lease);
        let mut parents = lease.parents.iter();
        parents.any(|parent| open.contains(&(stream, parent.as_str())))
    });
    waits.map(|lease| lease.key.clone()).collect()
}

async fn lag(reader: &StreamReader, shard: &ListedShard, checkpoint: &Checkpoint, now: SystemTime) -> Lag {
    let from = match checkpoint {
        Checkpoint::At(position) => ReadFrom::After(position.clone()),
        Checkpoint::TrimHorizon => ReadFrom::TrimHorizon,
        Checkpoint::Latest => return Lag::Unknown("nothing is checkpointed yet".to_owned()),
        _ => return Lag::Unknown("it is not known when it begins".to_owned()),
    };
    let mut reading = reader.read(shard, from);
    let look = async {
        let mut behind = 0;
        for _ in 0..PAGES {
            let Some(batch) = reading.next().await? else {
                break;
            };
            behind = batch.millis_behind_latest().unwrap_or(0);
            if let Some(first) = batch.records().first() {
                let arrival = first.approximate_arrival();
                let age = arrival.map(|arrival| now.duration_since(arrival).unwrap_or_default());
                let age = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
                return Ok(Lag::BehindMillis(age.unwrap_or(behind)));
            }
            if behind == 0 || batch.is_last() {
                return Ok(Lag::None);
            }
        }
        Ok::<_, Failure>(Lag::BehindMillis(behind))
    };
    match timeout(PATIENCE, look).await {
        Ok(Ok(lag)) => lag,
        Ok(Err(failure)) => Lag::Unknown(failure.to_string()),
        Err(_) => Lag::Unknown(format!("no answer within {}", span(PATIENCE))),
    }
}
