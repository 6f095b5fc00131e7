//! What is left of a shard.

use std::time::Duration;

use kcl_lease::SequenceNumber;
use tokio::time::sleep;

use crate::aws::CallError;
use crate::config::ShardId;
use crate::stream::{StartingPosition, StreamClient};

/// How many answers without records are looked at.
const LOOKS: usize = 20;
/// The shard's reads are limited; these are made beside the regular ones.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// The number of the oldest record of a shard, if there is one. Each answer is waited for no longer than `bound`.
pub(super) async fn oldest(
    stream: &StreamClient,
    shard: &ShardId,
    bound: Duration,
) -> Result<Option<SequenceNumber>, CallError> {
    let (mut iterator, _) = stream
        .shard_iterator(shard, &StartingPosition::TrimHorizon)
        .await?;
    for _ in 0..LOOKS {
        sleep(BETWEEN_LOOKS).await;
        let answer = stream.records(&iterator, 1, bound).await?;
        if let Some(record) = answer.records.first() {
            return Ok(Some(record.sequence_number().clone()));
        }
        match answer.next {
            Some(next) if answer.millis_behind_latest != Some(0) => iterator = next,
            _ => break,
        }
    }
    Ok(None)
}
