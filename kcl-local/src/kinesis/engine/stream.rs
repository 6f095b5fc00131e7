//! One stream: its status, its settings and its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Reshard, Transition};
use super::consumer::Consumers;
use super::error::EngineError;
use super::hash::{HashKey, HashRange};
use super::label::StreamLabel;
use super::limits::TokenBucket;
use super::sequence::SequenceNumber;
use super::shard::{Batch, Payload, Position, ReadLimit, Shard};
use super::shard_id::ShardId;
use super::status::StreamStatus;
use super::time::EpochMillis;
use super::today::Today;
use crate::kinesis::ShardRates;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How a stream's capacity is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CapacityMode {
    /// By its owner, in shards.
    Provisioned,
    /// By the service, from the traffic.
    OnDemand,
}

/// Which shard a record goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    /// The one that owns its hash key.
    ByKey,
    /// Each open shard in turn, whatever the key.
    Even,
}

/// What a stream is created with.
#[derive(Debug, Clone)]
pub(crate) struct StreamSpec {
    pub(crate) name: String,
    pub(crate) mode: CapacityMode,
    pub(crate) shards: u32,
    /// The greatest [`Payload::size`] of a record in KiB.
    pub(crate) max_record_kib: u32,
    /// The throughput to be prepared for in MiB per second, which is a number of shards.
    pub(crate) warm_mibps: Option<u32>,
    pub(crate) distribution: Distribution,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Where in a shard a reader wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartingPosition {
    TrimHorizon,
    Latest,
    AtSequenceNumber(SequenceNumber),
    AfterSequenceNumber(SequenceNumber),
    AtTimestamp(EpochMillis),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) spec: StreamSpec,
    /// The stream as errors name it.
    pub(super) label: StreamLabel,
    /// What its shards sustain.
    pub(super) rates: ShardRates,
    /// Tells the stream from others that had its name before.
    pub(crate) incarnation: u64,
    earliest_second: u64,
    pub(crate) created: EpochMillis,
    pub(crate) retention_hours: u32,
    /// The key that new records are encrypted with. Nothing is encrypted here: it is only told.
    pub(crate) key_id: Option<Arc<str>>,
    /// The shard-level metrics that are on.
    pub(crate) metrics: BTreeSet<&'static str>,
    /// The resource policy. It is kept, and permits and forbids nothing here.
    pub(crate) policy: Option<String>,
    /// What was done in the last day, as far as that is limited.
    pub(super) today: Today,
    /// How often its shards may still be listed in the present second, if that is limited.
    listings: Option<TokenBucket>,
    /// Whose turn it is where records are distributed evenly.
    turn: usize,
    pub(super) status: StreamStatus,
    pub(super) transition: Option<Transition>,
    pub(super) shards: BTreeMap<ShardId, Shard>,
    /// Where each open shard's range begins, in order.
    pub(super) open: Vec<(HashKey, ShardId)>,
    pub(super) next_shard: ShardId,
    /// Those that may subscribe.
    pub(crate) consumers: Consumers,
}

impl Stream {
    /// A stream that opens its shards at `opens`. Their sequence numbers do not tell of a time before
    /// `earliest_second`.
    pub(crate) fn new(
        spec: StreamSpec,
        account: Arc<str>,
        rates: ShardRates,
        incarnation: u64,
        earliest_second: u64,
        now: EpochMillis,
        opens: EpochMillis,
    ) -> Self {
        Self {
            label: StreamLabel::new(spec.name.as_str(), account),
            rates,
            spec,
            incarnation,
            earliest_second,
            created: now,
            retention_hours: 24,
            key_id: None,
            metrics: BTreeSet::new(),
            policy: None,
            today: Today::default(),
            listings: None,
            turn: 0,
            status: StreamStatus::Creating,
            transition: Some(Transition {
                due: opens,
                change: Change::Create,
            }),
            shards: BTreeMap::new(),
            open: Vec::new(),
            next_shard: ShardId::new(0),
            consumers: Consumers::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn status(&self) -> StreamStatus {
        self.status
    }

    /// The first second that none of the stream's sequence numbers has as the opening of its shard.
    pub(crate) fn unused_second(&self) -> u64 {
        let last = self.shards.values().map(|shard| shard.origin.opened_second).max();
        last.map_or(self.earliest_second, |last| last + 1)
    }

    /// Lets every subscription see how its stream, its shard and its consumer are.
    pub(crate) fn wake_subscribers(&self) {
        for shard in self.shards.values() {
            shard.news.notify_waiters();
        }
    }

    /// Fails unless the stream is `ACTIVE`.
    pub(crate) fn require_active(&self) -> Result<(), EngineError> {
        match self.status {
            StreamStatus::Active => Ok(()),
            status => Err(EngineError::NotActive {
                stream: self.label.clone(),
                status,
            }),
        }
    }

    /// Fails while the stream has no shards yet and when it is about to disappear.
    pub(crate) fn require_listable(&self) -> Result<(), EngineError> {
        match self.status {
            StreamStatus::Updating => Ok(()),
            _ => self.require_active(),
        }
    }

    /// Fails unless records flow: a stream without shards, or one about to disappear, counts as not found.
    pub(crate) fn require_flowing(&self) -> Result<(), EngineError> {
        match self.status {
            StreamStatus::Active | StreamStatus::Updating => Ok(()),
            StreamStatus::Creating | StreamStatus::Deleting => {
                Err(EngineError::StreamNotFound(self.label.clone()))
            }
        }
    }

    pub(super) fn open_first_shards(&mut self, at: EpochMillis) {
        for range in HashRange::divide(self.spec.shards) {
            let id = self.issue_shard_id();
            self.open.push((range.start, id));
            self.shards
                .insert(id, Shard::first(id, range, self.rates, self.earliest_second, at));
        }
    }

    pub(super) fn issue_shard_id(&mut self) -> ShardId {
        let id = self.next_shard;
        self.next_shard = id.next();
        id
    }

    /// The time before which nothing is kept.
    pub(super) fn horizon(&self, now: EpochMillis) -> EpochMillis {
        now.minus(HOUR * self.retention_hours)
    }

    /// Drops the records and the closed shards that the retention period no longer covers.
    pub(crate) fn expire(&mut self, now: EpochMillis) {
        let horizon = self.horizon(now);
        self.shards.retain(|_, shard| shard.lived_at_or_after(horizon));
        for shard in self.shards.values_mut() {
            shard.trim(horizon);
        }
    }

    /// Drops every record of a shard; false if there is no such shard.
    pub(crate) fn trim_all(&mut self, id: ShardId) -> bool {
        let shard = self.shards.get_mut(&id);
        shard
            .map(|shard| shard.trim(EpochMillis::new(u64::MAX)))
            .is_some()
    }

    /// All shards that are not [expired](Self::expire), by id.
    pub(crate) fn shards(&self) -> impl DoubleEndedIterator<Item = &Shard> {
        self.shards.values()
    }

    /// How many shards take records, or will once the stream is created.
    pub(crate) fn open_shard_count(&self) -> u32 {
        match self.status {
            StreamStatus::Creating => self.spec.shards,
            _ => u32::try_from(self.open.len()).unwrap_or(u32::MAX),
        }
    }

    /// Appends a record to the open shard that owns `key`. With `enforce_limits` the shard may refuse it.
    pub(crate) fn put(
        &mut self,
        key: HashKey,
        payload: Payload,
        enforce_limits: bool,
        now: EpochMillis,
    ) -> Result<SequenceNumber, EngineError> {
        self.require_flowing()?;
        let owner = match self.spec.distribution {
            Distribution::ByKey => self
                .open
                .partition_point(|(start, _)| *start <= key)
                .checked_sub(1),
            Distribution::Even => {
                self.turn = self.turn.wrapping_add(1);
                self.turn.checked_rem(self.open.len())
            }
        };
        let id = owner.and_then(|index| self.open.get(index)).map(|(_, id)| *id);
        let horizon = self.horizon(now);
        let Some(shard) = id.and_then(|id| self.shards.get_mut(&id)) else {
            return Err(EngineError::StreamNotFound(self.label.clone()));
        };
        shard.trim(horizon);
        if enforce_limits && !shard.limits.admit_record(payload.size(), now) {
            let shard = shard.id();
            return Err(EngineError::Throttled {
                stream: self.label.clone(),
                shard,
            });
        }
        Ok(shard.append(payload, now))
    }

    /// Accounts for a listing of the shards, if there is a limit to them.
    pub(crate) fn admit_listing(
        &mut self,
        per_second: Option<u32>,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let Some(limit) = per_second else { return Ok(()) };
        let listings = self.listings.get_or_insert_with(|| TokenBucket::full(limit, now));
        if listings.admit(now) {
            return Ok(());
        }
        Err(EngineError::LimitExceeded(format!(
            "Rate exceeded for stream {}.",
            self.label
        )))
    }

    /// Accounts for an iterator of a shard, if there is a limit to them.
    pub(crate) fn admit_iterator(
        &mut self,
        id: ShardId,
        per_second: Option<u32>,
        now: EpochMillis,
    ) -> Result<(), EngineError> {
        let Some((limit, shard)) = per_second.zip(self.shards.get_mut(&id)) else {
            return Ok(());
        };
        if shard.limits.admit_iterator(limit, now) {
            return Ok(());
        }
        Err(EngineError::Throttled {
            stream: self.label.clone(),
            shard: id,
        })
    }

    /// Finds the place in a shard where a reader wants to begin.
    pub(crate) fn locate(
        &mut self,
        id: ShardId,
        start: StartingPosition,
        now: EpochMillis,
    ) -> Result<Position, EngineError> {
        self.require_flowing()?;
        let horizon = self.horizon(now);
        let shard = find(&mut self.shards, &self.label, id, horizon)?;
        let issued = |position: Option<Position>, number: SequenceNumber| {
            let encoded = number.origin().shard;
            if encoded != id {
                return Err(EngineError::InvalidArgument(format!(
                    "Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {id}"
                )));
            }
            position.ok_or_else(|| {
                EngineError::InvalidArgument(format!(
                    "StartingSequenceNumber {number} used on shard {id} in stream {} is invalid because it did not come \
                     from this stream.",
                    self.label
                ))
            })
        };
        match start {
            StartingPosition::TrimHorizon => Ok(shard.trim_horizon()),
            StartingPosition::Latest => Ok(shard.tip()),
            StartingPosition::AtSequenceNumber(number) => issued(shard.position_of(number), number),
            StartingPosition::AfterSequenceNumber(number) => issued(shard.position_after(number), number),
            StartingPosition::AtTimestamp(time) if time > now => Err(EngineError::InvalidArgument(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                 timestampInMillis: {}, currentTimestampInMillis: {}",
                time.get(),
                now.get()
            ))),
            StartingPosition::AtTimestamp(time) => Ok(shard.position_at_time(time)),
        }
    }

    /// Reads from a place in a shard.
    pub(crate) fn read(
        &mut self,
        id: ShardId,
        position: Position,
        limit: ReadLimit,
        enforce_limits: bool,
        now: EpochMillis,
    ) -> Result<ShardRead<'_>, EngineError> {
        self.require_flowing()?;
        let horizon = self.horizon(now);
        let shard = find(&mut self.shards, &self.label, id, horizon)?;
        if enforce_limits && !shard.limits.admit_read(now) {
            return Err(EngineError::Throttled {
                stream: self.label.clone(),
                shard: id,
            });
        }
        let batch = shard.read(position, limit, now);
        if enforce_limits {
            shard.limits.charge_read(batch.bytes);
        }
        let children = self.children_at(id, batch.next);
        Ok(ShardRead { batch, children })
    }

    /// Accounts for a record that was put to an on-demand stream. True if the load of its shard is so high, and has been for
    /// so long, that it should be [split](Self::relieve).
    pub(crate) fn note_load(
        &mut self,
        shard: ShardId,
        bytes: usize,
        span: Duration,
        now: EpochMillis,
    ) -> bool {
        let (rates, mode, is_settled) = (self.rates, self.spec.mode, self.transition.is_none());
        let shard = self.shards.get_mut(&shard);
        mode == CapacityMode::OnDemand
            && shard.is_some_and(|shard| shard.load.note(bytes, rates, span, now))
            && is_settled
    }

    /// Splits a shard in halves. The stream stays `ACTIVE`: its owner has nothing to do with it.
    pub(crate) fn relieve(&mut self, shard: ShardId, now: EpochMillis) {
        let middle = self.shards.get(&shard).and_then(|shard| shard.range.middle());
        if let Some(at) = middle {
            self.reshard(Reshard::Split { shard, at }, now);
            self.wake_subscribers();
        }
    }

    /// The shards that continue a closed shard, if `position` is its end.
    pub(super) fn children_at(&self, id: ShardId, position: Position) -> Option<Vec<&Shard>> {
        let shard = self.shards.get(&id).filter(|shard| position >= shard.tip())?;
        let closure = shard.closure.as_ref()?;
        Some(
            closure
                .children
                .iter()
                .filter_map(|id| self.shards.get(id))
                .collect(),
        )
    }
}

/// The shard with the given id, trimmed, if the retention period still covers it.
pub(super) fn find<'a>(
    shards: &'a mut BTreeMap<ShardId, Shard>,
    stream: &StreamLabel,
    id: ShardId,
    horizon: EpochMillis,
) -> Result<&'a mut Shard, EngineError> {
    let shard = shards
        .get_mut(&id)
        .filter(|shard| shard.lived_at_or_after(horizon));
    let shard = shard.ok_or_else(|| EngineError::ShardNotFound {
        stream: stream.clone(),
        shard: id,
    })?;
    shard.trim(horizon);
    Ok(shard)
}

/// The outcome of a read.
#[derive(Debug)]
pub(crate) struct ShardRead<'a> {
    pub(crate) batch: Batch,
    /// If the shard is closed and `batch` ends with its last record: the shards that continue it.
    pub(crate) children: Option<Vec<&'a Shard>>,
}
