//! How shards turn into other shards.
//!
//! Whatever the change, it is made of two steps: one open shard splits into two, or two neighbours merge into one.
//! Parents close, keep their records until the retention period is over, and name their children.

use std::collections::BTreeSet;

use super::change::Reshard;
use super::error::EngineError;
use super::hash::{HashKey, HashRange};
use super::shard::{Closure, Shard};
use super::shard_id::ShardId;
use super::stream::{CapacityMode, Stream};
use super::time::EpochMillis;

/// How many shards a stream may be scaled to.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_UpdateShardCount.html>
const MOST_SCALED: u32 = 10_000;

impl Stream {
    /// Checks that a shard may be split so that its second half begins at `at`.
    pub(crate) fn plan_split(&self, shard: ShardId, at: HashKey) -> Result<Reshard, EngineError> {
        let range = self.open_shard(shard)?.range;
        // The service wants the first half to have two keys or more, the second one as well.
        let least = range.start.next().and_then(HashKey::next);
        if least.is_none_or(|least| at < least) || at >= range.end {
            return Err(EngineError::InvalidArgument(format!(
                "NewStartingHashKey {at} used in SplitShard() on shard {shard} in stream {} is not both greater than one \
                 plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
                self.label, range.start, range.end
            )));
        }
        self.require_reshardable()?;
        Ok(Reshard::Split { shard, at })
    }

    /// Checks that two shards may be merged: `lower` must end where `upper` begins.
    pub(crate) fn plan_merge(&self, lower: ShardId, upper: ShardId) -> Result<Reshard, EngineError> {
        if !self
            .open_shard(lower)?
            .range
            .precedes(self.open_shard(upper)?.range)
        {
            return Err(EngineError::InvalidArgument(format!(
                "Shards {lower} and {upper} in stream {} are not an adjacent pair of shards eligible for merging",
                self.label
            )));
        }
        self.require_reshardable()?;
        Ok(Reshard::Merge { lower })
    }

    /// Checks that the stream may go to `shards` open shards: at most twice and at least half as many as now.
    pub(crate) fn plan_uniform(&self, shards: u32) -> Result<Reshard, EngineError> {
        self.require_reshardable()?;
        let current = self.open_shard_count();
        if shards > MOST_SCALED {
            return Err(EngineError::LimitExceeded(format!(
                "Target shard count or number of open shards cannot be greater than {MOST_SCALED}. Current open shard \
                 count: {current}, Target shard count: {shards}"
            )));
        }
        let beyond = if shards > current.saturating_mul(2) {
            "up over double"
        } else if current > shards.saturating_mul(2) {
            "down below half"
        } else {
            return Ok(Reshard::Uniform { shards });
        };
        Err(EngineError::LimitExceeded(format!(
            "UpdateShardCount cannot scale {beyond} your current open shard count. Current open shard count: {current}, \
             Target shard count: {shards}"
        )))
    }

    fn require_reshardable(&self) -> Result<(), EngineError> {
        match self.spec.mode {
            CapacityMode::Provisioned => self.require_active(),
            CapacityMode::OnDemand => Err(EngineError::WrongMode(format!(
                "Stream {} is in the ON_DEMAND capacity mode; this is only for streams in the PROVISIONED capacity mode.",
                self.label
            ))),
        }
    }

    fn open_shard(&self, id: ShardId) -> Result<&Shard, EngineError> {
        let shard = self.shards.get(&id).ok_or_else(|| EngineError::ShardNotFound {
            stream: self.label.clone(),
            shard: id,
        })?;
        if shard.is_open() {
            return Ok(shard);
        }
        Err(EngineError::InvalidArgument(format!(
            "Shard {id} in stream {} is closed: it was split or merged before.",
            self.label
        )))
    }

    /// Carries out a change that was checked when it was asked for.
    pub(super) fn reshard(&mut self, reshard: Reshard, at: EpochMillis) {
        match reshard {
            Reshard::Split { shard, at: key } => {
                if let Some(index) = self.open.iter().position(|(_, id)| *id == shard) {
                    self.split(index, key, at);
                }
            }
            Reshard::Merge { lower } => {
                if let Some(index) = self.open.iter().position(|(_, id)| *id == lower) {
                    self.merge(index, at);
                }
            }
            Reshard::Uniform { shards } => self.make_uniform(shards, at),
        }
    }

    /// Splits where a wanted boundary is missing, then merges where an unwanted one is left.
    fn make_uniform(&mut self, shards: u32, at: EpochMillis) {
        let wanted: BTreeSet<_> = HashRange::divide(shards).map(|range| range.start).collect();
        for key in &wanted {
            let owner = self
                .open
                .partition_point(|(start, _)| start <= key)
                .saturating_sub(1);
            if self.open.get(owner).is_some_and(|(start, _)| start != key) {
                self.split(owner, *key, at);
            }
        }
        let mut index = 0;
        while let Some((next, _)) = self.open.get(index + 1) {
            if wanted.contains(next) {
                index += 1;
            } else {
                self.merge(index, at);
            }
        }
    }

    /// Splits the open shard with the given index. `key` is greater than the shard's first key.
    fn split(&mut self, index: usize, key: HashKey, at: EpochMillis) {
        let Some(parent) = self.open.get(index).and_then(|(_, id)| self.shards.get(id)) else {
            return;
        };
        let Some(before) = key.previous() else { return };
        let (lower, upper) = (self.next_shard, self.next_shard.next());
        let lower_range = HashRange {
            end: before,
            ..parent.range
        };
        let upper_range = HashRange {
            start: key,
            ..parent.range
        };
        let children = [
            Shard::child(lower, lower_range, &[parent], self.rates, at),
            Shard::child(upper, upper_range, &[parent], self.rates, at),
        ];
        self.replace(index..index + 1, children, at);
    }

    /// Merges the open shard with the given index and the next one.
    fn merge(&mut self, index: usize, at: EpochMillis) {
        let shard = |index: usize| self.open.get(index).and_then(|(_, id)| self.shards.get(id));
        let (Some(lower), Some(upper)) = (shard(index), shard(index + 1)) else {
            return;
        };
        let range = HashRange {
            start: lower.range.start,
            end: upper.range.end,
        };
        let child = Shard::child(self.next_shard, range, &[lower, upper], self.rates, at);
        self.replace(index..index + 2, [child], at);
    }

    /// Closes open shards and puts others, whose ids are the next free ones, in their place.
    fn replace<const N: usize>(
        &mut self,
        parents: std::ops::Range<usize>,
        children: [Shard; N],
        at: EpochMillis,
    ) {
        let ids: Vec<ShardId> = children.iter().map(Shard::id).collect();
        let opened = children.each_ref().map(|child| (child.range.start, child.id()));
        let closed: Vec<_> = self.open.splice(parents, opened).collect();
        for (_, parent) in closed {
            if let Some(parent) = self.shards.get_mut(&parent) {
                parent.closure = Some(Closure {
                    at,
                    children: ids.clone(),
                });
            }
        }
        for mut child in children {
            child.encrypt(self.key_id.is_some());
            self.issue_shard_id();
            self.shards.insert(child.id(), child);
        }
    }
}
