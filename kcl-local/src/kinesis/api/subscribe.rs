//! SubscribeToShard.

use serde::{Deserialize, Serialize};

use super::check;
use super::get::{ChildShard, RecordDescription};
use super::position::Start;
use super::shards::shard_id;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{Event, SequenceNumber};
use crate::kinesis::{ApiError, Kinesis, Subscription};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SubscribeToShardRequest {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPositionRequest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPositionRequest {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

/// What a subscriber gets, again and again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SubscribeToShardEvent {
    records: Vec<RecordDescription>,
    /// Left out at the end of a closed shard: that is how consumers know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<SequenceNumber>,
    millis_behind_latest: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    child_shards: Option<Vec<ChildShard>>,
}

impl From<Event<'_>> for SubscribeToShardEvent {
    fn from(event: Event<'_>) -> Self {
        let children = || event.children.into_iter().map(ChildShard::of).collect();
        Self {
            records: event.records.into_iter().map(RecordDescription::from).collect(),
            child_shards: event.continuation.is_none().then(children),
            continuation_sequence_number: event.continuation,
            millis_behind_latest: event.millis_behind_latest,
        }
    }
}

impl Kinesis {
    /// Subscribes a registered consumer to a shard.
    pub(crate) fn subscribe_to_shard(
        &self,
        request: SubscribeToShardRequest,
    ) -> Result<Subscription, ApiError> {
        let arn = check::required(request.consumer_arn.as_deref(), "consumerARN")?;
        let named = self.consumer_in_arn(arn)?;
        let shard = check::required(request.shard_id.as_deref(), "shardId")?;
        let shard = shard_id(shard, "shardId", named.stream)?;
        let start = check::required(request.starting_position, "startingPosition")?;
        let start = Start {
            kind: start.r#type.as_deref(),
            kind_member: "startingPosition.type",
            number: start.sequence_number.as_deref(),
            number_member: "SequenceNumber",
            timestamp: start.timestamp,
        };
        let start = start.position()?;
        let (place, news) = self.with_engine(|engine, now| {
            let consumer = named.find(engine, now)?;
            engine.subscribe(named.stream, &consumer, shard, start, now)
        })?;
        Ok(Subscription::new(self.clone(), place, news))
    }
}
