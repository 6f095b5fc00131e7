//! What the processors of a world share: where they write things down, and by which dice they misbehave.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::{Checkpointer, ProcessorError, Record, RecordBatch};
use tokio::time::{Instant, sleep_until};

use super::counter;
use crate::faults::{Network, Pushing, Wanted};
use crate::history::{History, Name, Ownership, What};
use crate::load::{Machines, Processed, Told};
use crate::memory::Memory;
use crate::policies::Policy;
use crate::seeds::Dice;
use crate::singles::Singles;
use crate::sink::Sink;
use crate::streams::Streams;

/// What all processors of a world share.
#[derive(Clone)]
pub struct Stage {
    /// Where everything is written down.
    pub history: History,
    /// Whose workers stand still.
    pub network: Network,
    /// What they read, one after the other.
    pub streams: Streams,
    /// What its workers run on, if they tell of it.
    pub machines: Option<Machines>,
    /// What a script makes its workers say of their loads.
    pub told: Told,
    /// Which shards keep which of them busy.
    pub processed: Processed,
    /// What they write to, where it has moods.
    pub sink: Option<Sink>,
    /// What they have for records, where that is little.
    pub memory: Option<Memory>,
    /// The most records of a batch, where batches are small.
    pub batch: Option<u32>,
    /// Who subscribes to shards, where somebody does.
    pub pushing: Option<Pushing>,
    /// How records are handled, where they are beside each other.
    pub singles: Option<Singles>,
    /// When a shard that gets no further is to be told of, if that is soon.
    pub stalled_after: Option<Duration>,
    /// What is done with what keeps failing, where that is not to repeat it for ever.
    pub policy: Option<Policy>,
    /// Whether workers and shards are paused now and then.
    pub has_pauses: bool,
    /// Whether workers are told of the stream as of one of several.
    pub reads_several: bool,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) dice: Mutex<Dice>,
    pub(super) wanted: Wanted,
    is_calm: AtomicBool,
    calls: AtomicU64,
    /// By life and shard: what a script wants of its processor.
    directions: Mutex<BTreeMap<(Name, Name), Direction>>,
    /// Owners that are at work, with what they know of their leases.
    pub(super) owners: Mutex<BTreeMap<(Name, u64, Name), Checkpointer>>,
}

/// What a script wants of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Its next call takes so long.
    Slow(Duration),
    /// It does not checkpoint, unless it shuts down.
    Forgets,
    /// Every call with records fails.
    Fails,
    /// It takes so long until it agrees that its shard has ended.
    EndsSlowly(Duration),
}

/// What a processor does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    FailsFirst,
    FailsLast,
    /// Fails this call and all that follow for a while.
    Stubborn,
    Panics,
    /// Panics before it took the last records.
    PanicsEarly,
    /// Does not checkpoint.
    Forgets,
    /// Checkpoints in the middle of the batch.
    Halves,
    /// Announces the checkpoint first.
    Prepares,
    /// Checkpoints from another task, much later.
    Late,
    /// Checkpoints twice, and then again at the beginning of the batch.
    Twice,
    /// Checkpoints beyond what was delivered.
    OutOfRange,
    /// Makes two checkpoints at the same time, the later one first.
    Races,
}

impl Manner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::FailsFirst => "processor fails first",
            Self::FailsLast => "processor fails last",
            Self::Stubborn => "processor fails for long",
            Self::Panics => "processor panics",
            Self::PanicsEarly => "processor panics midway",
            Self::Forgets => "no checkpoint",
            Self::Halves => "half a checkpoint",
            Self::Prepares => "prepared checkpoint",
            Self::Late => "late checkpoint",
            Self::Twice => "checkpoint twice",
            Self::OutOfRange => "checkpoint out of range",
            Self::Races => "two checkpoints at once",
        }
    }
}

impl Stage {
    /// A stage on which processors misbehave by these dice.
    pub fn new(
        history: History,
        network: Network,
        streams: Streams,
        machines: Option<Machines>,
        dice: Dice,
        wanted: Wanted,
    ) -> Self {
        let is_scripted = wanted.script.is_some();
        let shared = Shared {
            dice: Mutex::new(dice),
            wanted,
            // What a script does not say, it does not want.
            is_calm: AtomicBool::new(is_scripted),
            calls: AtomicU64::new(0),
            directions: Mutex::default(),
            owners: Mutex::default(),
        };
        Self {
            history,
            network,
            streams,
            machines,
            told: Told::default(),
            processed: Processed::default(),
            sink: None,
            memory: None,
            batch: None,
            pushing: None,
            singles: None,
            stalled_after: None,
            policy: None,
            has_pauses: false,
            reads_several: false,
            shared: Arc::new(shared),
        }
    }

    /// From now on every processor behaves.
    pub fn calm(&self) {
        let directions = self.shared.directions.lock();
        directions.unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.is_calm.store(true, Ordering::Relaxed);
        if let Some(machines) = &self.machines {
            machines.calm();
        }
    }

    /// Tells the processor of a worker's life what to do with a shard.
    pub fn direct(&self, who: &str, shard: &Name, direction: Direction) {
        let directions = self.shared.directions.lock();
        let mut directions = directions.unwrap_or_else(PoisonError::into_inner);
        directions.insert((who.into(), shard.clone()), direction);
    }

    /// The processor does as the others do.
    pub fn undirect(&self, who: &str, shard: &Name) {
        let directions = self.shared.directions.lock();
        let mut directions = directions.unwrap_or_else(PoisonError::into_inner);
        directions.remove(&(who.into(), shard.clone()));
    }

    /// What the processor of a worker's life does with the next batch of a shard, if a script says so.
    pub(super) fn directed(&self, who: &Name, shard: &Name) -> Option<(Manner, Duration)> {
        let directions = self.shared.directions.lock();
        let mut directions = directions.unwrap_or_else(PoisonError::into_inner);
        let key = (who.clone(), shard.clone());
        match *directions.get(&key)? {
            Direction::Slow(time) => {
                directions.remove(&key);
                Some((Manner::Good, time))
            }
            Direction::Forgets => Some((Manner::Forgets, Duration::ZERO)),
            Direction::Fails => Some((Manner::FailsFirst, Duration::ZERO)),
            Direction::EndsSlowly(_) => None,
        }
    }

    /// How long the processor of a worker's life takes with the end of a shard, if a script says so.
    pub(super) fn directed_end(&self, who: &Name, shard: &Name) -> Option<Duration> {
        let directions = self.shared.directions.lock();
        let directions = directions.unwrap_or_else(PoisonError::into_inner);
        match directions.get(&(who.clone(), shard.clone())) {
            Some(Direction::EndsSlowly(time)) => Some(*time),
            _ => None,
        }
    }

    /// The shards that more than one processor believes to own, with these processors.
    pub fn contested(&self) -> Vec<(Name, Vec<String>)> {
        let owners = self.shared.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let mut valid: BTreeMap<Name, Vec<String>> = BTreeMap::new();
        for ((shard, token, who), checkpointer) in owners.iter() {
            if checkpointer.is_lease_valid() {
                valid
                    .entry(shard.clone())
                    .or_default()
                    .push(format!("{who} with {token}"));
            }
        }
        valid
            .into_iter()
            .filter(|(_, holders)| holders.len() > 1)
            .collect()
    }

    /// Shards and lives whose processors believe to own them.
    pub fn believers(&self) -> Vec<(Name, Name)> {
        let owners = self.shared.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let valid = owners
            .iter()
            .filter(|(_, checkpointer)| checkpointer.is_lease_valid());
        valid
            .map(|((shard, _, who), _)| (shard.clone(), who.clone()))
            .collect()
    }

    /// Whether what happens is told by a script.
    pub fn is_scripted(&self) -> bool {
        self.shared.wanted.script.is_some()
    }

    /// Whether every processor behaves.
    pub fn is_calm(&self) -> bool {
        self.shared.is_calm.load(Ordering::Relaxed)
    }

    /// The processors of a frozen process, or of a runtime that is blocked, do nothing.
    pub(super) async fn thawed(&self, who: &Name) {
        while let Some(until) = self.network.stands_until(who) {
            // Not for all of it: everything may be healed earlier.
            sleep_until(until.min(Instant::now() + Duration::from_millis(250))).await;
        }
    }

    /// A processor takes the effects of a record.
    pub(super) fn deliver(&self, who: &Name, of: &Ownership, record: &Record) -> Result<(), ProcessorError> {
        let mut position = record.position().clone();
        if !record.is_aggregated() {
            // Where a checkpoint names a part of a record that has none, the library raises this, for the record to follow it.
            position.sub_sequence = 0;
        }
        let what = What::Delivered {
            of: of.clone(),
            key: record.partition_key().into(),
            counter: counter(record)?,
            position,
        };
        self.history.record(who, what);
        Ok(())
    }

    /// Writes down what a batch says of records that are missing.
    pub(super) fn tell_gap(&self, who: &Name, of: &Ownership, batch: &RecordBatch) {
        let Some(gap) = batch.gap() else { return };
        let first = batch.records().first();
        let what = What::GapReported {
            of: of.clone(),
            after: gap.after.clone(),
            before: first.map(|record| record.sequence_number().clone()),
        };
        self.history.record(who, what);
    }

    pub(super) fn next_call(&self) -> u64 {
        self.shared.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// A processor is at work, and knows of its lease.
    pub(super) fn enlist(&self, who: &Name, of: &Ownership, checkpointer: &Checkpointer) {
        let owners = self.shared.owners.lock();
        let me = (of.shard.clone(), of.token, who.clone());
        owners
            .unwrap_or_else(PoisonError::into_inner)
            .insert(me, checkpointer.clone());
    }

    /// It is not, any more.
    pub(super) fn strike(&self, who: &Name, of: &Ownership) {
        let owners = self.shared.owners.lock();
        let me = (of.shard.clone(), of.token, who.clone());
        owners.unwrap_or_else(PoisonError::into_inner).remove(&me);
    }

    pub(super) fn roll(&self, sides: u64) -> u64 {
        let mut dice = self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.roll(sides)
    }

    /// Whether what would keep failing does not, since workers stop for that.
    pub(super) fn spares(&self, dice: &mut Dice) -> bool {
        let stops = self.policy.is_some_and(|policy| policy.stops());
        stops && !dice.happens(Policy::OFTEN_ENOUGH)
    }

    pub(super) fn manner(&self) -> (Manner, Duration) {
        let mut dice = self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner);
        if self.shared.is_calm.load(Ordering::Relaxed) {
            return (Manner::Good, Duration::ZERO);
        }
        let manner = match dice.roll(100) {
            0..=1 => Manner::FailsFirst,
            2..=3 => Manner::FailsLast,
            4 => Manner::Panics,
            5 => Manner::PanicsEarly,
            35 => Manner::Stubborn,
            6..=15 => Manner::Forgets,
            16..=20 => Manner::Halves,
            21..=25 => Manner::Prepares,
            26..=28 => Manner::Late,
            29..=31 => Manner::Twice,
            32..=34 => Manner::OutOfRange,
            36..=37 => Manner::Races,
            _ => Manner::Good,
        };
        let is_too_much = manner == Manner::Stubborn && self.spares(&mut dice);
        let manner = if self.shared.wanted.lacks(manner.name()) || is_too_much {
            Manner::Good
        } else {
            manner
        };
        let work = match dice.roll(200) {
            0 => dice.roll(20_000),
            1..=4 => dice.roll(4_000),
            5..=50 => dice.roll(100),
            _ => 0,
        };
        let is_long = self.sink.is_some() && dice.happens(Sink::LONG_CALLS);
        let work = match self.shared.wanted.lacks("slow processor") {
            true => 0,
            false if is_long => dice.between(Sink::LONG_CALL.0, Sink::LONG_CALL.1),
            false => work,
        };
        if manner != Manner::Good {
            self.network.count(manner.name());
        }
        (manner, Duration::from_millis(work))
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").finish_non_exhaustive()
    }
}
