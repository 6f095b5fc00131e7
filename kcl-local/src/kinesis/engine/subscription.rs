//! Subscriptions: records of a shard that are pushed to a registered consumer instead of being read.
//!
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::consumer::{Consumer, ConsumerStatus};
use super::error::EngineError;
use super::limits::PushLimit;
use super::sequence::SequenceNumber;
use super::shard::{Position, ReadLimit, Record, Shard};
use super::shard_id::ShardId;
use super::stream::{StartingPosition, Stream, find};
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

/// The last subscription of a consumer to a shard.
#[derive(Debug)]
struct Subscriber {
    registered: EpochMillis,
    number: u64,
    since: EpochMillis,
    limit: PushLimit,
}

/// The last subscription of each consumer to one shard, by the consumer's name.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(BTreeMap<String, Subscriber>);

/// Why there is no new subscription: the last one is too young.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TooSoon;

impl Subscribers {
    /// Lets a subscription take the place of the consumer's last one, unless that began less than `interval` ago.
    fn subscribe(
        &mut self,
        consumer: &Consumer,
        number: u64,
        interval: Duration,
        now: EpochMillis,
    ) -> Result<(), TooSoon> {
        let last = self.0.get_mut(&consumer.name);
        match last.filter(|last| last.registered == consumer.created) {
            Some(last) if now.since(last.since) < interval => Err(TooSoon),
            Some(last) => {
                (last.number, last.since) = (number, now);
                Ok(())
            }
            None => {
                let subscriber = Subscriber {
                    registered: consumer.created,
                    number,
                    since: now,
                    limit: PushLimit::new(now),
                };
                self.0.insert(consumer.name.clone(), subscriber);
                Ok(())
            }
        }
    }

    /// What limits a subscription, unless another one has taken its place.
    fn limit_of(&mut self, subscription: &Subscription) -> Option<&mut PushLimit> {
        let last = self.0.get_mut(&subscription.consumer)?;
        let is_it = last.registered == subscription.registered && last.number == subscription.number;
        is_it.then_some(&mut last.limit)
    }
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
        if consumer.status(now) != ConsumerStatus::Active {
            return Err(EngineError::ConsumerNotActive {
                stream: self.name().to_owned(),
                consumer: consumer.name.clone(),
                registered: consumer.created.seconds(),
            });
        }
        let position = self.locate(id, start, now)?;
        let horizon = self.horizon(now);
        let shard = find(&mut self.shards, &self.spec.name, id, horizon)?;
        let admitted = shard.subscribers.subscribe(consumer, number, interval, now);
        admitted.map_err(|TooSoon| EngineError::Subscribed {
            stream: self.spec.name.clone(),
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
                stream: self.name().to_owned(),
                consumer: subscription.consumer.clone(),
            });
        }
        let (id, horizon) = (subscription.shard, self.horizon(now));
        let Some(position) = subscription.position.filter(|_| now < subscription.ends(periods)) else {
            return Ok(Push::Over);
        };
        let shard = find(&mut self.shards, &self.spec.name, id, horizon)?;
        let limit = shard.subscribers.limit_of(subscription);
        let limit = limit.ok_or_else(|| EngineError::Subscribed {
            stream: self.spec.name.clone(),
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
                if let Some(limit) = shard.subscribers.limit_of(subscription) {
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
        let change = self.transition.map(|transition| transition.due);
        Ok(Push::Wait(change.map_or(wait, |due| wait.min(due))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::engine::consumer::Consumers;

    const FIVE: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(1_700_000_000_000 + millis)
    }

    fn consumer(name: &str, registered: u64) -> Consumer {
        Consumers::default()
            .register("orders", name, Duration::ZERO, at(registered))
            .unwrap()
    }

    fn subscription(consumer: &Consumer, number: u64) -> Subscription {
        Subscription {
            stream: "orders".to_owned(),
            incarnation: 1,
            shard: ShardId::new(0),
            consumer: consumer.name.clone(),
            registered: consumer.created,
            number,
            since: at(0),
            position: Some(Position(1)),
            heard: at(0),
        }
    }

    #[test]
    fn a_subscription_is_safe_for_five_seconds_and_then_gives_way() {
        let (mut all, billing) = (Subscribers::default(), consumer("billing", 0));
        assert_eq!(all.subscribe(&billing, 1, FIVE, at(0)), Ok(()));
        assert_eq!(all.subscribe(&billing, 2, FIVE, at(4_999)), Err(TooSoon));
        assert!(all.limit_of(&subscription(&billing, 1)).is_some());
        assert_eq!(
            all.subscribe(&billing, 3, FIVE, at(5_000)),
            Ok(()),
            "what was refused does not count"
        );
        assert!(all.limit_of(&subscription(&billing, 1)).is_none());
        assert!(all.limit_of(&subscription(&billing, 3)).is_some());
        assert_eq!(all.subscribe(&billing, 4, FIVE, at(9_999)), Err(TooSoon));
    }

    #[test]
    fn consumers_do_not_meet_each_other() {
        let (mut all, billing) = (Subscribers::default(), consumer("billing", 0));
        all.subscribe(&billing, 1, FIVE, at(0)).unwrap();
        assert_eq!(all.subscribe(&consumer("audit", 0), 2, FIVE, at(1)), Ok(()));
        assert!(all.limit_of(&subscription(&billing, 1)).is_some());
        let again = consumer("billing", 2);
        assert_eq!(all.subscribe(&again, 3, FIVE, at(2)), Ok(()), "registered anew");
        assert!(all.limit_of(&subscription(&billing, 1)).is_none());
    }
}
