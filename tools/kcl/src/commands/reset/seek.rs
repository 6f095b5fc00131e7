//! Finds the last record of a shard that arrived before a time. Kinesis is asked for the records from a time on, not before one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kcl_core::reading::{ListedShard, ReadFrom, StreamReader};
use kcl_lease::ExtendedSequenceNumber;
use tokio::time::timeout;

use crate::failure::Failure;

/// A place between two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all records that are left.
    Beginning,
    /// Behind this record.
    Behind(ExtendedSequenceNumber),
    /// Behind all records of a shard that is closed, none of which is left.
    End,
}

/// The longest that the search in one shard may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Kinesis keeps records for a year at most.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// The place before the first record that arrived at this time or later.
///
/// It reads from a second before, then ten, and so on: what lies between the wanted record and the time is read, and hardly more.
pub(super) async fn before(
    reader: &StreamReader,
    shard: &ListedShard,
    time: SystemTime,
) -> Result<Place, Failure> {
    let search = search(reader, shard, time);
    timeout(PATIENCE, search).await.unwrap_or_else(|_| {
        Err(Failure::Refused(format!(
            "the place was not found in {} within {} s; give a position instead",
            shard.id,
            PATIENCE.as_secs()
        )))
    })
}

async fn search(reader: &StreamReader, shard: &ListedShard, time: SystemTime) -> Result<Place, Failure> {
    let mut back = Duration::from_secs(1);
    loop {
        let is_all = back > YEAR;
        let from = match is_all {
            true => ReadFrom::TrimHorizon,
            false => ReadFrom::AtTimestamp(time.checked_sub(back).unwrap_or(UNIX_EPOCH)),
        };
        let (last, has_ended) = last_before(reader, shard, from, time).await?;
        match last {
            Some(position) => return Ok(Place::Behind(position)),
            None if is_all && has_ended => return Ok(Place::End),
            None if is_all => return Ok(Place::Beginning),
            None => back *= 10,
        }
    }
}

/// The last record from a place on that arrived before a time; and whether the shard ended without one that arrived later.
async fn last_before(
    reader: &StreamReader,
    shard: &ListedShard,
    from: ReadFrom,
    time: SystemTime,
) -> Result<(Option<ExtendedSequenceNumber>, bool), Failure> {
    let mut reading = reader.read(shard, from);
    let mut last = None;
    while let Some(batch) = reading.next().await? {
        for record in &batch {
            if record.approximate_arrival().is_none_or(|arrival| arrival >= time) {
                return Ok((last, false));
            }
            last = Some(record.position().clone());
        }
        if batch.is_last() {
            break;
        }
        if batch.millis_behind_latest().unwrap_or(0) == 0 {
            return Ok((last, false));
        }
    }
    Ok((last, true))
}
