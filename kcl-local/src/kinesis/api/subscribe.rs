//! SubscribeToShard.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, rules};
use super::get::{ChildShard, RecordDescription};
use super::position::Start;
use super::timestamp::Timestamp;
use crate::kinesis::engine::{EngineError, Event, SequenceNumber};
use crate::kinesis::{ApiError, Kinesis, Subscription};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SubscribeToShardRequest {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    stream_id: Option<String>,
    shard_id: Option<String>,
    starting_position: Option<StartingPositionRequest>,
    dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartingPositionRequest {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

impl StartingPositionRequest {
    fn start(&self) -> Start<'_> {
        Start {
            kind: self.r#type.as_deref(),
            kind_member: "type",
            number: self.sequence_number.as_deref(),
            number_member: "sequenceNumber",
            timestamp: self.timestamp,
        }
    }
}

impl Members for SubscribeToShardRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("consumerARN", self.consumer_arn.as_ref());
        checks.text("consumerARN", self.consumer_arn.as_deref(), &rules::CONSUMER_ARN);
        checks.text("streamId", self.stream_id.as_deref(), &rules::STREAM_ID);
        checks.required("shardId", self.shard_id.as_ref());
        checks.text("shardId", self.shard_id.as_deref(), &rules::NAME);
        checks.required("startingPosition", self.starting_position.as_ref());
        checks.structure(
            "startingPosition",
            self.starting_position.as_ref(),
            |position, checks| position.start().check(checks),
        );
    }
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
        let arn = check::present(request.consumer_arn.as_deref(), "consumerARN")?;
        let named = self.consumer_in_arn(arn)?;
        let shard = check::present(request.shard_id.as_deref(), "shardId")?;
        let shard = self.shard_id(shard, named.stream)?;
        let start = check::present(request.starting_position, "startingPosition")?;
        let start = start.start().position(&self.label(named.stream), shard)?;
        let (place, news) = self.with_engine(|engine, now| {
            let consumer = named.find(engine, now)?;
            if request.dry_run == Some(true) {
                engine
                    .stream(named.stream, now)?
                    .admit_subscription(&consumer, shard, start, now)?;
                return Err(EngineError::DryRun);
            }
            engine.subscribe(named.stream, &consumer, shard, start, now)
        })?;
        Ok(Subscription::new(self.clone(), place, news))
    }
}
