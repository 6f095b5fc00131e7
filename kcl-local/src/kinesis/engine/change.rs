//! What becomes of a stream in time: a change is asked for, lasts a while, and takes effect when it is due.

use std::sync::Arc;
use std::time::Duration;

use super::hash::HashKey;
use super::shard_id::ShardId;
use super::status::StreamStatus;
use super::stream::{CapacityMode, Distribution, Stream};
use super::time::EpochMillis;

/// A change that takes effect when its time has come.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) due: EpochMillis,
    pub(crate) change: Change,
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// The first shards open.
    Create,
    /// Back to `ACTIVE`.
    Update(Update),
    /// The stream disappears.
    Delete,
}

/// What is new when a stream is `ACTIVE` again.
#[derive(Debug, Clone)]
pub(crate) enum Update {
    /// Nothing: it took effect at once.
    Done,
    Reshard(Reshard),
    /// Records are encrypted with this key, or not any more.
    Encryption(Option<Arc<str>>),
    /// The greatest record, in KiB.
    RecordSize(u32),
    /// The capacity mode, and how many shards of equal size there are if that changes.
    Mode {
        mode: CapacityMode,
        shards: Option<u32>,
    },
}

/// A change of the open shards.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reshard {
    /// Into two, of which the second begins at `at`.
    Split { shard: ShardId, at: HashKey },
    /// `lower` and the shard that begins where it ends into one.
    Merge { lower: ShardId },
    /// Into so many of equal size, by splits and merges.
    Uniform { shards: u32 },
}

impl Stream {
    /// Whether the stream's deletion has come to its end.
    pub(crate) fn is_gone(&self, now: EpochMillis) -> bool {
        matches!(self.transition, Some(Transition { due, change: Change::Delete }) if due <= now)
    }

    /// Catches up with time: completes a change that is due.
    pub(crate) fn settle(&mut self, now: EpochMillis) {
        let is_due = |transition: &mut Transition| {
            transition.due <= now && !matches!(transition.change, Change::Delete)
        };
        let Some(Transition { due, change }) = self.transition.take_if(is_due) else {
            return;
        };
        match change {
            Change::Create => self.open_first_shards(due),
            Change::Update(update) => self.update(update, due),
            Change::Delete => {}
        }
        self.status = StreamStatus::Active;
    }

    fn update(&mut self, update: Update, at: EpochMillis) {
        match update {
            Update::Done => {}
            Update::Reshard(reshard) => self.reshard(reshard, at),
            Update::Encryption(key_id) => {
                self.key_id = key_id;
                let is_on = self.key_id.is_some();
                for shard in self.shards.values_mut() {
                    shard.encrypt(is_on);
                }
            }
            Update::RecordSize(kib) => self.spec.max_record_kib = kib,
            Update::Mode { mode, shards } => {
                self.spec.mode = mode;
                if mode == CapacityMode::Provisioned {
                    self.spec.distribution = Distribution::ByKey;
                    self.spec.warm_mibps = None;
                }
                if let Some(shards) = shards {
                    self.reshard(Reshard::Uniform { shards }, at);
                }
            }
        }
    }

    /// Starts a change that takes `delay`. The stream must be `ACTIVE`, unless it is to be deleted.
    pub(crate) fn begin(&mut self, change: Change, delay: Duration, now: EpochMillis) {
        self.status = match change {
            Change::Create => StreamStatus::Creating,
            Change::Update(_) => StreamStatus::Updating,
            Change::Delete => StreamStatus::Deleting,
        };
        self.transition = Some(Transition {
            due: now.plus(delay),
            change,
        });
        self.settle(now);
        self.wake_subscribers();
    }
}
