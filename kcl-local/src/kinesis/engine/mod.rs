//! Streams, shards and records, without wire formats and without a clock: every operation is told the time.
//!
//! - A stream changes its status only when it is looked at: a change has a due time and takes effect at that
//!   time in the first operation after it. Nothing runs in the background.
//! - The open shards of a stream divide the hash keys 0 to 2^128 - 1 among themselves at all times.
//! - A record is stored once; whoever reads it shares its memory.
//! - Nothing here is random, and every collection that can be observed is ordered.

mod change;
mod commitment;
mod consumer;
mod encryption;
mod error;
mod hash;
mod iterator;
mod label;
mod limits;
mod listing;
mod load;
mod reshard;
mod sequence;
mod settings;
mod shard;
mod shard_id;
mod status;
mod stream;
mod subscribers;
mod subscription;
#[cfg(test)]
mod tests;
mod time;
mod today;
mod token;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;

pub(crate) use change::{Change, Update};
pub(crate) use commitment::{Commitment, CommitmentStatus};
pub(crate) use consumer::Consumer;
pub(crate) use error::EngineError;
pub(crate) use hash::HashKey;
pub(crate) use iterator::ShardIterator;
pub(crate) use label::StreamLabel;
pub(crate) use listing::ShardFilter;
pub(crate) use sequence::SequenceNumber;
pub(crate) use settings::warm_shards;
pub(crate) use shard::{Payload, ReadLimit, Record, Shard};
pub(crate) use shard_id::ShardId;
pub(crate) use status::StreamStatus;
pub(crate) use stream::{CapacityMode, Distribution, StartingPosition, Stream, StreamSpec};
pub(crate) use subscription::{Event, Push, Subscription};
pub(crate) use time::EpochMillis;
pub(crate) use token::{TokenKind, TokenReader, TokenWriter};

use super::options::KinesisOptions;
use limits::TokenBucket;
use subscription::Periods;

/// An account's streams in one region.
#[derive(Debug)]
pub(crate) struct Engine {
    options: KinesisOptions,
    /// The account that errors name.
    account: Arc<str>,
    streams: BTreeMap<String, Stream>,
    /// How many streams were ever created.
    created: u64,
    /// How many subscriptions there ever were.
    subscribed: u64,
    /// The opening second of the next stream's shards, or later: a stream that is deleted and created again in the
    /// same second must not issue the same sequence numbers again.
    earliest_second: u64,
    /// The latest time that an operation was told.
    now: EpochMillis,
    /// Whether a minimum of throughput is paid for, which is what lets streams be warm.
    commitment: Commitment,
    /// How many more calls of an operation there may be in the present second, as far as that is limited.
    calls: BTreeMap<&'static str, TokenBucket>,
}

/// What a read through an iterator returns.
#[derive(Debug)]
pub(crate) struct ReadOutcome<'a> {
    pub(crate) records: Vec<Record>,
    /// Where to read on; none at the end of a closed shard.
    pub(crate) next: Option<ShardIterator>,
    pub(crate) millis_behind_latest: u64,
    /// The shards that continue a closed shard, with the last of its records.
    pub(crate) children: Vec<&'a Shard>,
}

impl Engine {
    /// An account without streams.
    pub(crate) fn new(options: KinesisOptions) -> Self {
        Self {
            account: options.account_id.as_str().into(),
            options,
            streams: BTreeMap::new(),
            created: 0,
            subscribed: 0,
            earliest_second: 0,
            now: EpochMillis::new(0),
            commitment: Commitment::default(),
            calls: BTreeMap::new(),
        }
    }

    /// Whether nothing was ever made here that somebody could miss.
    pub(crate) fn is_new(&self) -> bool {
        self.created == 0 && self.commitment == Commitment::default()
    }

    /// The time for the next operation: `now`, or the latest time seen if the caller's clock went back.
    pub(crate) fn advance(&mut self, now: EpochMillis) -> EpochMillis {
        self.now = self.now.max(now);
        self.now
    }

    /// The stream with the given name, caught up with time.
    pub(crate) fn stream(&mut self, name: &str, now: EpochMillis) -> Result<&mut Stream, EngineError> {
        if self.streams.get(name).is_some_and(|stream| stream.is_gone(now)) {
            self.remove(name);
        }
        match self.streams.get_mut(name) {
            Some(stream) => {
                stream.settle(now);
                Ok(stream)
            }
            None => Err(EngineError::StreamNotFound(StreamLabel::new(
                name,
                self.account.clone(),
            ))),
        }
    }

    /// All streams, by name, caught up with time.
    pub(crate) fn streams(&mut self, now: EpochMillis) -> &BTreeMap<String, Stream> {
        let gone = self.streams.values().filter(|stream| stream.is_gone(now));
        for name in gone.map(|stream| stream.name().to_owned()).collect::<Vec<_>>() {
            self.remove(&name);
        }
        for stream in self.streams.values_mut() {
            stream.settle(now);
        }
        &self.streams
    }

    /// A stream of this account as errors name it.
    pub(crate) fn label(&self, name: &str) -> StreamLabel {
        StreamLabel::new(name, self.account.clone())
    }

    fn remove(&mut self, name: &str) {
        if let Some(stream) = self.streams.remove(name) {
            self.earliest_second = self.earliest_second.max(stream.unused_second());
        }
    }

    /// Deletes every stream with all that it holds, without delay.
    pub(crate) fn clear(&mut self) {
        for name in self.streams.keys().cloned().collect::<Vec<_>>() {
            if let Some(stream) = self.streams.get(&name) {
                stream.shards().for_each(|shard| shard.news.notify_waiters());
            }
            self.remove(&name);
        }
    }

    /// How many shards the account's streams have open.
    pub(crate) fn open_shard_count(&mut self, now: EpochMillis) -> u32 {
        self.streams(now).values().map(Stream::open_shard_count).sum()
    }

    fn admit_shards(&mut self, additional: u32, now: EpochMillis) -> Result<(), EngineError> {
        let (open, limit) = (self.open_shard_count(now), self.options.shard_limit);
        if open.saturating_add(additional) <= limit {
            return Ok(());
        }
        Err(EngineError::LimitExceeded(format!(
            "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: \
             {open}. Limit: {limit}. Number of additional shards that would have resulted from this request: {additional}.",
            self.account, self.options.region
        )))
    }

    /// Accounts for a call of an operation, or says that there are too many.
    pub(crate) fn admit_call(&mut self, operation: &str, now: EpochMillis) -> Result<(), EngineError> {
        let Some((operation, rate)) = self.options.quotas.calls.get_key_value(operation) else {
            return Ok(());
        };
        let bucket = self.calls.entry(*operation);
        if bucket.or_insert_with(|| TokenBucket::full(*rate, now)).admit(now) {
            return Ok(());
        }
        Err(EngineError::LimitExceeded(format!(
            "Rate exceeded for {operation} under account {}.",
            self.account
        )))
    }

    /// Checks that one more stream may be `CREATING`.
    fn admit_creating(&mut self, now: EpochMillis) -> Result<(), EngineError> {
        let Some(limit) = self.options.quotas.streams_creating else {
            return Ok(());
        };
        let streams = self.streams(now).values();
        let creating = streams.filter(|stream| stream.status() == StreamStatus::Creating);
        if creating.count() < limit as usize {
            return Ok(());
        }
        Err(EngineError::LimitExceeded(format!(
            "Account {} has {limit} streams in the state CREATING, and may have no more.",
            self.account
        )))
    }

    /// Creates a stream.
    pub(crate) fn create(&mut self, spec: StreamSpec, now: EpochMillis) -> Result<(), EngineError> {
        if self.stream(&spec.name, now).is_ok() {
            return Err(EngineError::StreamExists(self.label(&spec.name)));
        }
        self.admit_creating(now)?;
        if spec.mode == CapacityMode::OnDemand {
            self.admit_on_demand(now)?;
        }
        if spec.warm_mibps.is_some() {
            self.require_commitment(now)?;
        }
        self.admit_shards(spec.shards, now)?;
        self.created += 1;
        let opens = now.plus(self.options.create_delay);
        let name = spec.name.clone();
        self.streams.insert(
            name,
            Stream::new(
                spec,
                self.account.clone(),
                self.options.rates,
                self.created,
                self.earliest_second,
                now,
                opens,
            ),
        );
        Ok(())
    }

    /// Deletes a stream with all that it holds.
    pub(crate) fn delete(&mut self, name: &str, now: EpochMillis) -> Result<(), EngineError> {
        let delay = self.options.delete_delay;
        let stream = self.stream(name, now)?;
        if stream.status() != StreamStatus::Updating {
            stream.require_active()?;
        }
        stream.begin(Change::Delete, delay, now);
        Ok(())
    }

    /// Splits an open shard so that its second half begins at `at`.
    pub(crate) fn split(
        &mut self,
        name: &str,
        shard: ShardId,
        at: HashKey,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let delay = self.options.update_delay;
        let plan = self.stream(name, now)?.plan_split(shard, at)?;
        self.admit_shards(1, now)?;
        self.stream(name, now)?
            .begin(Change::Update(Update::Reshard(plan)), delay, now);
        Ok(())
    }

    /// Merges two open shards, of which `lower` ends where `upper` begins.
    pub(crate) fn merge(
        &mut self,
        name: &str,
        lower: ShardId,
        upper: ShardId,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let delay = self.options.update_delay;
        let stream = self.stream(name, now)?;
        let plan = stream.plan_merge(lower, upper)?;
        stream.begin(Change::Update(Update::Reshard(plan)), delay, now);
        Ok(())
    }

    /// Splits and merges shards until `shards` of equal size are open. Returns how many were open before.
    pub(crate) fn scale(&mut self, name: &str, shards: u32, now: EpochMillis) -> Result<u32, EngineError> {
        let (delay, limit) = (self.options.update_delay, self.options.quotas.shard_count_updates);
        let stream = self.stream(name, now)?;
        let plan = stream.plan_uniform(shards)?;
        let updates = &mut stream.today.shard_count_updates;
        updates.admit(limit, "UpdateShardCount", &stream.label, now)?;
        let current = stream.open_shard_count();
        self.admit_shards(shards.saturating_sub(current), now)?;
        let stream = self.stream(name, now)?;
        stream.today.shard_count_updates.note(limit, now);
        stream.begin(Change::Update(Update::Reshard(plan)), delay, now);
        Ok(current)
    }

    /// Sets how long records are kept.
    pub(crate) fn retain(&mut self, name: &str, hours: u32, now: EpochMillis) -> Result<(), EngineError> {
        let delay = self.options.update_delay;
        let stream = self.stream(name, now)?;
        stream.require_active()?;
        // What the old period let go does not come back.
        stream.expire(now);
        stream.retention_hours = hours;
        stream.begin(Change::Update(Update::Done), delay, now);
        Ok(())
    }

    /// Appends a record to the shard that owns `key`.
    pub(crate) fn put(
        &mut self,
        name: &str,
        key: HashKey,
        payload: Payload,
        now: EpochMillis,
    ) -> Result<SequenceNumber, EngineError> {
        let (enforce, reaction) = (self.options.enforce_limits, self.options.on_demand_reaction);
        let bytes = payload.size();
        let stream = self.stream(name, now)?;
        let number = stream.put(key, payload, enforce, now)?;
        let shard = number.origin().shard;
        if let Some(span) = reaction
            && stream.note_load(shard, bytes, span, now)
            && self.admit_shards(1, now).is_ok()
        {
            self.stream(name, now)?.relieve(shard, now);
        }
        Ok(number)
    }

    /// An iterator that begins at `start` in a shard.
    pub(crate) fn iterator(
        &mut self,
        name: &str,
        shard: ShardId,
        start: StartingPosition,
        now: EpochMillis,
    ) -> Result<ShardIterator, EngineError> {
        let limit = self.options.quotas.iterators;
        let stream = self.stream(name, now)?;
        let position = stream.locate(shard, start, now)?;
        stream.admit_iterator(shard, limit, now)?;
        let incarnation = stream.incarnation;
        Ok(ShardIterator {
            stream: name.to_owned(),
            incarnation,
            shard,
            position,
        })
    }

    /// The stream that an iterator is of.
    pub(crate) fn find(
        &mut self,
        iterator: &ShardIterator,
        now: EpochMillis,
    ) -> Result<&mut Stream, EngineError> {
        let stream = self.stream(&iterator.stream, now)?;
        if stream.incarnation != iterator.incarnation {
            return Err(EngineError::InvalidArgument(format!(
                "The iterator belongs to an earlier stream that was called {}.",
                iterator.stream
            )));
        }
        stream.require_flowing()?;
        Ok(stream)
    }

    /// Reads through an iterator.
    pub(crate) fn read(
        &mut self,
        iterator: ShardIterator,
        limit: ReadLimit,
        now: EpochMillis,
    ) -> Result<ReadOutcome<'_>, EngineError> {
        let enforce = self.options.enforce_limits;
        let stream = self.find(&iterator, now)?;
        let read = stream.read(iterator.shard, iterator.position, limit, enforce, now)?;
        let next = ShardIterator {
            position: read.batch.next,
            ..iterator
        };
        Ok(ReadOutcome {
            records: read.batch.records,
            next: read.children.is_none().then_some(next),
            millis_behind_latest: read.batch.millis_behind_latest,
            children: read.children.unwrap_or_default(),
        })
    }

    /// Subscribes a consumer to a shard from `start` on. The shard's news tell when there is something to be
    /// [pushed](Self::push).
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        consumer: &Consumer,
        shard: ShardId,
        start: StartingPosition,
        now: EpochMillis,
    ) -> Result<(Subscription, Arc<Notify>), EngineError> {
        let interval = self.options.resubscribe_interval;
        self.subscribed += 1;
        let number = self.subscribed;
        self.stream(name, now)?
            .subscribe(consumer, shard, start, number, interval, now)
    }

    /// What there is for a subscription now. After an error there is nothing any more.
    pub(crate) fn push(
        &mut self,
        subscription: &mut Subscription,
        now: EpochMillis,
    ) -> Result<Push<'_>, EngineError> {
        if subscription.has_ended() {
            return Ok(Push::Over);
        }
        let enforce = self.options.enforce_limits;
        let periods = Periods {
            lifetime: self.options.subscription_lifetime,
            heartbeat: self.options.heartbeat,
        };
        let stream = self.stream(&subscription.stream, now)?;
        if stream.incarnation != subscription.incarnation {
            return Err(EngineError::StreamNotFound(stream.label.clone()));
        }
        stream.push(subscription, periods, enforce, now)
    }
}
