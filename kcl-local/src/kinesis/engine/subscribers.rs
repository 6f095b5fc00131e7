//! Who subscribes to a shard: one subscription of each consumer at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::consumer::Consumer;
use super::limits::PushLimit;
use super::time::EpochMillis;

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
pub(super) struct TooSoon;

impl Subscribers {
    /// Lets a subscription take the place of the consumer's last one, unless that began less than `interval` ago.
    pub(super) fn subscribe(
        &mut self,
        consumer: &Consumer,
        number: u64,
        interval: Duration,
        bytes_per_second: u32,
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
                    limit: PushLimit::new(bytes_per_second, now),
                };
                self.0.insert(consumer.name.clone(), subscriber);
                Ok(())
            }
        }
    }

    /// The consumers that have subscribed, by name. Their subscriptions may have ended since then.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What limits a subscription of a consumer that was `registered` then, unless another one has taken its place.
    pub(super) fn limit_of(
        &mut self,
        consumer: &str,
        registered: EpochMillis,
        number: u64,
    ) -> Option<&mut PushLimit> {
        let last = self.0.get_mut(consumer)?;
        let is_it = last.registered == registered && last.number == number;
        is_it.then_some(&mut last.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::engine::consumer::Consumers;
    use crate::kinesis::engine::label::StreamLabel;

    const OUT: u32 = 2 << 20;
    const FIVE: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(1_700_000_000_000 + millis)
    }

    fn consumer(name: &str, registered: u64) -> Consumer {
        Consumers::default()
            .register(
                &StreamLabel::new("orders", "000000000000".into()),
                name,
                20,
                Duration::ZERO,
                at(registered),
            )
            .unwrap()
    }

    fn has(all: &mut Subscribers, consumer: &Consumer, number: u64) -> bool {
        all.limit_of(&consumer.name, consumer.created, number).is_some()
    }

    #[test]
    fn a_subscription_is_safe_for_five_seconds_and_then_gives_way() {
        let (mut all, billing) = (Subscribers::default(), consumer("billing", 0));
        assert_eq!(all.subscribe(&billing, 1, FIVE, OUT, at(0)), Ok(()));
        assert_eq!(all.subscribe(&billing, 2, FIVE, OUT, at(4_999)), Err(TooSoon));
        assert!(has(&mut all, &billing, 1));
        assert_eq!(
            all.subscribe(&billing, 3, FIVE, OUT, at(5_000)),
            Ok(()),
            "what was refused does not count"
        );
        assert!(!has(&mut all, &billing, 1));
        assert!(has(&mut all, &billing, 3));
        assert_eq!(all.subscribe(&billing, 4, FIVE, OUT, at(9_999)), Err(TooSoon));
    }

    #[test]
    fn consumers_do_not_meet_each_other() {
        let (mut all, billing) = (Subscribers::default(), consumer("billing", 0));
        all.subscribe(&billing, 1, FIVE, OUT, at(0)).unwrap();
        assert_eq!(all.subscribe(&consumer("audit", 0), 2, FIVE, OUT, at(1)), Ok(()));
        assert!(has(&mut all, &billing, 1));
        let again = consumer("billing", 2);
        assert_eq!(
            all.subscribe(&again, 3, FIVE, OUT, at(2)),
            Ok(()),
            "registered anew"
        );
        assert!(!has(&mut all, &billing, 1));
    }
}
