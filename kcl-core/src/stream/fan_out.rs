//! The Kinesis calls of enhanced fan-out.

use std::time::{Duration, SystemTime};

use aws_sdk_kinesis::operation::describe_stream_consumer::builders::DescribeStreamConsumerFluentBuilder;
use aws_sdk_kinesis::types::{ConsumerStatus, StartingPosition as SdkPosition};
use aws_smithy_types::DateTime;

use super::client::{BOUND, StreamClient};
use super::consumer::Registered;
use super::reads::{Answer, SubscribeFrom, Subscribing, Subscription, subscription_in_cbor};
use super::service_time::ServiceTime;
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;

/// So long is waited for the begin of a subscription.
const SUBSCRIBED: Duration = Duration::from_secs(10);

/// A subscription, and when it began by the clock of the service.
type Subscribed = (Subscription, Option<SystemTime>);

impl StreamClient {
    /// The ARN of the stream.
    pub(super) async fn arn(&self) -> Result<String, CallError> {
        if let Some(arn) = self.stream().arn() {
            return Ok(arn.to_owned());
        }
        let summary = self.summary().await?;
        summary.map(|summary| summary.stream_arn).ok_or_else(|| {
            let text = "the answer holds no summary";
            CallError::new(ErrorClass::Transient, "DescribeStreamSummary", text)
        })
    }

    /// The consumer of this name.
    pub(super) async fn registered(&self, stream_arn: &str, name: &str) -> Result<Registered, CallError> {
        let call = self.client().describe_stream_consumer();
        self.described(call.stream_arn(stream_arn).consumer_name(name))
            .await
    }

    /// The consumer of this ARN.
    pub(super) async fn registered_as(&self, consumer_arn: &str) -> Result<Registered, CallError> {
        let call = self.client().describe_stream_consumer();
        self.described(call.consumer_arn(consumer_arn)).await
    }

    async fn described(&self, call: DescribeStreamConsumerFluentBuilder) -> Result<Registered, CallError> {
        let answer = self.ended("DescribeStreamConsumer", BOUND, call.send()).await?;
        let consumer = answer.consumer_description;
        Ok(consumer.map_or_else(
            || Registered {
                arn: String::new(),
                status: ConsumerStatus::Creating,
            },
            |consumer| Registered {
                arn: consumer.consumer_arn,
                status: consumer.consumer_status,
            },
        ))
    }

    /// Registers a consumer, which can be used some time later.
    pub(super) async fn register(&self, stream_arn: &str, name: &str) -> Result<(), CallError> {
        let call = self.client().register_stream_consumer();
        let call = call.stream_arn(stream_arn).consumer_name(name);
        self.ended("RegisterStreamConsumer", BOUND, call.send())
            .await
            .map(|_| ())
    }

    /// Subscribes to a shard, for up to five minutes (a limit of the service). The client's own time-outs do not count, and nothing is
    /// repeated: whoever reads the shard sees to that. With the time at the service, if it told it.
    pub(crate) async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        from: &SubscribeFrom,
    ) -> Result<Subscribed, CallError> {
        if self.pushed().is_json() {
            return self.subscribe_in(consumer_arn, shard, from, None).await;
        }
        let request = subscription_in_cbor(consumer_arn, shard.as_str(), from);
        match self.subscribe_in(consumer_arn, shard, from, Some(request)).await {
            Err(error) if self.pushed().may_be_a_misunderstanding(&error) => {
                let subscribed = self.subscribe_in(consumer_arn, shard, from, None).await;
                let subscription = subscribed.map_err(|_| error)?;
                self.pushed().json_is_understood();
                Ok(subscription)
            }
            subscribed => subscribed,
        }
    }

    async fn subscribe_in(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        from: &SubscribeFrom,
        request: Option<Vec<u8>>,
    ) -> Result<Subscribed, CallError> {
        let position = SdkPosition::builder()
            .r#type(from.kind())
            .set_sequence_number(from.sequence().map(str::to_owned))
            .set_timestamp(from.timestamp().map(DateTime::from))
            .build()
            .map_err(|error| CallError::new(ErrorClass::Other, "SubscribeToShard", error.to_string()))?;
        let (subscribing, time) = (Subscribing::default(), ServiceTime::default());
        let call = self
            .unbounded()
            .subscribe_to_shard()
            .consumer_arn(consumer_arn)
            .shard_id(shard.as_str())
            .starting_position(position)
            .customize()
            .interceptor(subscribing.plug(request))
            .interceptor(time.clone());
        self.ended("SubscribeToShard", SUBSCRIBED, call.send()).await?;
        let subscription = subscribing.take().ok_or_else(|| {
            let text = "the answer holds no events";
            CallError::new(ErrorClass::Other, "SubscribeToShard", text)
        })?;
        Ok((subscription, time.last()))
    }

    /// An event came, and could be read.
    pub(crate) fn event_was_understood(&self, event: &Answer) {
        // Records are slices of what came in CBOR, and of nothing else.
        if event.block.is_some() && !self.pushed().is_json() {
            self.pushed().cbor_is_understood();
        }
    }

    /// A subscription that began has brought nothing that can be read: perhaps the server does not push in CBOR, and says so
    /// too late, or not at all.
    pub(crate) fn nothing_was_understood(&self) {
        if !self.pushed().is_proven() {
            self.pushed().cbor_was_malformed();
        }
    }
}
