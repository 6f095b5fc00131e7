//! What the stream says of a shard when a read leaves a question open.

use std::time::Duration;

use kcl_lease::{Environment, HashRange, SequenceNumber};
use tokio::time::sleep;

use super::gap::Evidence;
use super::read_error::ReadError;
use crate::aws::CallError;
use crate::config::ShardId;
use crate::record::{Gap, Record};
use crate::retry::Retry;
use crate::source::Feed;
use crate::stream::{Child, StreamClient};

/// How often a closed shard's children are looked for when Kinesis does not name them.
const LISTINGS_AT_END: u32 = 4;

/// Asks about one shard.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) shard: ShardId,
    pub(super) stream: StreamClient,
    pub(super) env: Environment,
    /// The shard's, as its lease tells it.
    pub(super) hash_range: Option<HashRange>,
}

impl Inquiry {
    /// The children of the closed shard, which its source may have named. For sources that do not, the shards are listed.
    pub(super) async fn children(&self, named: Vec<Child>) -> Result<Vec<Child>, CallError> {
        if !named.is_empty() {
            return Ok(named);
        }
        let mut pauses = Retry::new(
            self.env.clone(),
            Duration::from_millis(500),
            Duration::from_secs(2),
        );
        loop {
            let listed = self.stream.listed_children(&self.shard, self.hash_range).await?;
            if !listed.is_empty() {
                return Ok(listed);
            }
            let pause = pauses.pause();
            if pauses.attempts() >= LISTINGS_AT_END {
                tracing::warn!(
                    shard = %self.shard,
                    "the shard is closed, but Kinesis names no shards that follow it; the leader's audit looks on"
                );
                return Ok(Vec::new());
            }
            sleep(pause).await;
        }
    }

    /// A feed was opened at the record `expected`, the last one that was read. If another one comes `first`, or none before the
    /// end, that record may have been trimmed, and others behind it.
    pub(super) async fn gap_before(
        &self,
        first: Option<&Record>,
        expected: &SequenceNumber,
        feed: &dyn Feed,
    ) -> Result<Option<Gap>, CallError> {
        if first.is_some_and(|first| first.sequence_number() == expected) {
            return Ok(None);
        }
        let graph = self.stream.list_shards(None).await?;
        let oldest = feed.oldest().await?;
        let evidence = Evidence {
            after: expected,
            shard: graph.get(&self.shard),
            oldest: oldest.as_ref(),
        };
        if !evidence.shows_a_gap() {
            return Ok(None);
        }
        tracing::error!(
            shard = %self.shard, after = %expected,
            "the last record read is no longer in the stream: records behind it may have been trimmed before they were read"
        );
        Ok(Some(Gap {
            after: Some(expected.clone()),
        }))
    }

    /// Kinesis does not know the shard: the shards that follow it, if it is gone. Only a listing of the same stream that lacks
    /// it proves that, and not that the wrong account, region or stream is asked.
    pub(super) async fn heirs_if_gone(&self, error: CallError) -> Result<Vec<Child>, ReadError> {
        let graph = self.stream.list_shards(None).await?;
        if graph.is_foreign(&self.shard) {
            return Err(ReadError::Foreign(
                "the stream has only had shards of lower numbers".to_owned(),
            ));
        }
        if !graph.has_lost(&self.shard) {
            return Err(error.into());
        }
        let heirs = graph.heirs(&self.shard, self.hash_range);
        Ok(heirs.into_iter().map(Child::from).collect())
    }

    /// Kinesis refuses the position: perhaps the checkpoint cannot lie in this shard.
    pub(super) async fn refused(&self, error: CallError, position: Option<&SequenceNumber>) -> ReadError {
        let Some(sequence) = position else {
            return error.into();
        };
        match self.stream.list_shards(None).await {
            Ok(graph) => match graph.get(&self.shard) {
                Some(shard) if !shard.may_hold(sequence) => ReadError::Foreign(format!(
                    "its checkpoint {sequence} does not lie between the shard's first and last numbers"
                )),
                _ => error.into(),
            },
            Err(_) => error.into(),
        }
    }
}
