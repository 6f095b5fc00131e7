//! Subscriptions: records of a shard that are pushed to a registered consumer instead of being read.
//!
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::consumer::{Consumer, ConsumerStatus};
use super::error::EngineError;
use super::sequence::SequenceNumber;
use super::shard::{Position, ReadLimit, Record, Shard};
use super::shard_id::ShardId;
use super::stream::{StartingPosition, Stream, find};
use super::subscribers::TooSoon;
use super::time::EpochMillis;

/// How much one event carries: a second's worth of what a consumer gets of a shard, and as many records as a read.
const EVENT_LIMIT: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 2 << 20,
};

/// A consumer's subscription to a shard, and how far it got.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) stream: String,
    pub(super) incarnation: u64,
    pub(crate) shard: ShardId,
    pub(crate) consumer: String,
    /// When the consumer was registered, which tells it from others that had its name before.
    registered: EpochMillis,
    /// Tells the subscription from those before and after it.
    number: u64,
    since: EpochMillis,
    /// Where to push on; none after the end of a closed shard.
    position: Option<Position>,
    /// When the last event was sent, or when the subscription began.
    heard: EpochMillis,
}

/// How long subscriptions and their silences last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periods {
    /// From its beginning to its end.
    pub(super) lifetime: Duration,
    /// From one event to the next, at most.
    pub(super) heartbeat: Duration,
}

impl Subscription {
    /// Whether the end of its shard has been told; what becomes of the stream does not matter to it any more.
    pub(super) fn has_ended(&self) -> bool {
        self.position.is_none()
    }

    fn ends(&self, periods: Periods) -> EpochMillis {
        self.since.plus(periods.lifetime)
    }

    /// When an event is due even if there is nothing to tell.
    fn heartbeat(&self, periods: Periods) -> EpochMillis {
        self.heard.plus(periods.heartbeat)
    }
}

/// What there is to be sent to a subscriber.
#[derive(Debug)]
pub(crate) enum Push<'a> {
    /// An event, now.
    Event(Event<'a>),
    /// Nothing before the shard has news, or until then.
    Wait(EpochMillis),
    /// Nothing any more: the subscription's time is over, or the shard has ended.
    Over,
}

/// Records of a shard, or none if the consumer is only to hear that there are none.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) records: Vec<Record>,
    /// After which number to subscribe next; none at the end of a closed shard.
    pub(crate) continuation: Option<SequenceNumber>,
    pub(crate) millis_behind_latest: u64,
    /// The shards that continue a closed shard, at its end.
    pub(crate) children: Vec<&'a Shard>,
}

impl Stream {
    /// Subscribes a consumer to a shard from `start` on. `number` tells the subscription from others.
    pub(crate) fn subscribe(
        &mut self,
        consumer: &Consumer,
        id: ShardId,
        start: StartingPosition,
        number: u64,
        interval: Duration,
        now: EpochMillis,
    ) -> Result<(Subscription, Arc<Notify>), EngineError> {
        let position = self.admit_subscription(consumer, id, start, now)?;
        let horizon = self.horizon(now);
        let shard = find(&mut self.shards, &self.label, id, horizon)?;
        let admitted = shard
            .subscribers
            .subscribe(consumer, number, interval, self.rates.bytes_out, now);
        admitted.map_err(|TooSoon| EngineError::Subscribed {
            stream: self.label.clone(),
            shard: id,
            consumer: consumer.name.clone(),
        })?;
        // Whoever was subscribed before has to leave.
        shard.news.notify_waiters();
        let subscription = Subscription {
            stream: self.spec.name.clone(),
            incarnation: self.incarnation,
            shard: id,
            consumer: consumer.name.clone(),
            registered: consumer.created,
            number,
            since: now,
            position: Some(position),
            heard: now,
        };
        Ok((subscription, shard.news.clone()))
    }

    /// Checks all of a subscription but whether it is too soon for it, and tells where it would begin.
    pub(crate) fn admit_subscription(
        &mut self,
        consumer: &Consumer,
        id: ShardId,
        start: StartingPosition,
        now: EpochMillis,
    ) -> Result<Position, EngineError> {
        if consumer.status(now) != ConsumerStatus::Active {
            return Err(EngineError::ConsumerNotActive {
                stream: self.label.clone(),
                consumer: consumer.name.clone(),
                registered: consumer.created.seconds(),
            });
        }
        self.locate(id, start, now)
    }

    /// What there is for a subscription now. It must belong to this very stream.
    pub(super) fn push(
        &mut self,
        subscription: &mut Subscription,
        periods: Periods,
        enforce_limits: bool,
        now: EpochMillis,
    ) -> Result<Push<'_>, EngineError> {
        self.require_flowing()?;
        let consumer = self.consumers.at(now).get(&subscription.consumer);
        let is_active = |consumer: &Consumer| {
            consumer.created == subscription.registered && consumer.status(now) == ConsumerStatus::Active
        };
        if !consumer.is_some_and(is_active) {
            return Err(EngineError::ConsumerNotFound {
                stream: self.label.clone(),
                consumer: subscription.consumer.clone(),
            });
        }
        let (id, horizon) = (subscription.shard, self.horizon(now));
        let Some(position) = subscription.position.filter(|_| now < subscription.ends(periods)) else {
            return Ok(Push::Over);
        };
        let shard = find(&mut self.shards, &self.label, id, horizon)?;
        let limit = shard.subscribers.limit_of(
            &subscription.consumer,
            subscription.registered,
            subscription.number,
        );
        let limit = limit.ok_or_else(|| EngineError::Subscribed {
            stream: self.label.clone(),
            shard: id,
            consumer: subscription.consumer.clone(),
        })?;
        let ready = if enforce_limits { limit.ready(now) } else { now };
        let heartbeat = subscription.heartbeat(periods);
        let mut wait = ready;
        if ready <= now {
            wait = heartbeat;
            let batch = shard.read(position, EVENT_LIMIT, now);
            let has_ended = !shard.is_open() && batch.next >= shard.tip();
            if !batch.records.is_empty() || has_ended || heartbeat <= now {
                let continuation = match batch.records.last() {
                    Some(last) => last.sequence_number,
                    None => shard.continuation(batch.next, now),
                };
                if let Some(limit) = shard.subscribers.limit_of(
                    &subscription.consumer,
                    subscription.registered,
                    subscription.number,
                ) {
                    limit.charge(batch.bytes);
                }
                subscription.position = (!has_ended).then_some(batch.next);
                subscription.heard = now;
                return Ok(Push::Event(Event {
                    records: batch.records,
                    continuation: (!has_ended).then_some(continuation),
                    millis_behind_latest: batch.millis_behind_latest,
                    children: self.children_at(id, batch.next).unwrap_or_default(),
                }));
            }
        }
        let wait = wait.min(subscription.ends(periods));
        // A change that takes time takes effect when somebody looks at the stream.
        let change = self.transition.as_ref().map(|transition| transition.due);
        Ok(Push::Wait(change.map_or(wait, |due| wait.min(due))))
    }
}
