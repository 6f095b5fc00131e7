//! The registered consumers of a stream, which may subscribe to its shards.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::EngineError;
use super::label::StreamLabel;
use super::time::EpochMillis;

/// How many consumers a stream may have, those that are being deleted included.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html>
pub(super) const MOST_CONSUMERS: usize = 20;
/// How many an on-demand stream may have where the account's commitment is enabled. From the same page.
pub(super) const MOST_CONSUMERS_COMMITTED: usize = 50;
/// How many of them may be `CREATING` at a time. From the same page.
const MOST_CREATING: usize = 5;

/// What a consumer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsumerStatus {
    Creating,
    Active,
    Deleting,
}

impl ConsumerStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }
}

/// One consumer.
#[derive(Debug, Clone)]
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) created: EpochMillis,
    active_from: EpochMillis,
    gone_from: Option<EpochMillis>,
    pub(crate) tags: BTreeMap<String, String>,
    /// The resource policy, which is kept, and permits and forbids nothing here.
    pub(crate) policy: Option<String>,
}

impl Consumer {
    pub(crate) fn status(&self, now: EpochMillis) -> ConsumerStatus {
        match self.gone_from {
            Some(_) => ConsumerStatus::Deleting,
            None if self.active_from > now => ConsumerStatus::Creating,
            None => ConsumerStatus::Active,
        }
    }
}

/// The consumers of a stream, by name.
#[derive(Debug, Default)]
pub(crate) struct Consumers(BTreeMap<String, Consumer>);

impl Consumers {
    /// All that there are now.
    pub(crate) fn at(&mut self, now: EpochMillis) -> &BTreeMap<String, Consumer> {
        self.0
            .retain(|_, consumer| consumer.gone_from.is_none_or(|gone| gone > now));
        &self.0
    }

    /// One of them, to be changed.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Consumer> {
        self.0.get_mut(name)
    }

    /// Registers one, if there are fewer than `most`. It is active after `delay`.
    pub(crate) fn register(
        &mut self,
        stream: &StreamLabel,
        name: &str,
        most: usize,
        delay: Duration,
        now: EpochMillis,
    ) -> Result<Consumer, EngineError> {
        let all = self.at(now);
        if all.contains_key(name) {
            return Err(EngineError::ConsumerExists {
                stream: stream.clone(),
                consumer: name.to_owned(),
            });
        }
        let creating = all
            .values()
            .filter(|consumer| consumer.status(now) == ConsumerStatus::Creating)
            .count();
        if all.len() >= most || creating >= MOST_CREATING {
            return Err(EngineError::LimitExceeded(format!(
                "Stream {stream} has {} consumers, of which {creating} are being created; it may have {most}, and \
                 {MOST_CREATING} being created.",
                all.len()
            )));
        }
        let consumer = Consumer {
            name: name.to_owned(),
            created: now,
            active_from: now.plus(delay),
            gone_from: None,
            tags: BTreeMap::new(),
            policy: None,
        };
        self.0.insert(name.to_owned(), consumer.clone());
        Ok(consumer)
    }

    /// Begins to delete one, which is gone after `delay`.
    pub(crate) fn deregister(&mut self, name: &str, delay: Duration, now: EpochMillis) {
        if let Some(consumer) = self.0.get_mut(name) {
            consumer.gone_from.get_or_insert(now.plus(delay));
        }
    }
}
