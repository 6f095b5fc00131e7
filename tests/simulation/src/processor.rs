//! A processor that writes everything down, and misbehaves by chance while the world is disturbed.

pub mod singly;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kcl_core::{
    Begin, Checkpointer, LossReason, ProcessorError, Record, RecordBatch, RecordProcessor, SequenceNumber,
    ShardContext, async_trait,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::faults::{Network, Pushing, Wanted};
use crate::history::{History, Name, Ownership, What};
use crate::load::{Machines, Processed, Told};
use crate::memory::Memory;
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
    /// Whether workers and shards are paused now and then.
    pub has_pauses: bool,
    shared: Arc<Shared>,
}

struct Shared {
    dice: Mutex<Dice>,
    wanted: Wanted,
    is_calm: AtomicBool,
    calls: AtomicU64,
    /// By life and shard: what a script wants of its processor.
    directions: Mutex<BTreeMap<(Name, Name), Direction>>,
    /// Owners that are at work, with what they know of their leases.
    owners: Mutex<BTreeMap<(Name, u64, Name), Checkpointer>>,
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
enum Manner {
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
    fn name(self) -> &'static str {
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
            has_pauses: false,
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
    fn directed(&self, who: &Name, shard: &Name) -> Option<(Manner, Duration)> {
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
    fn directed_end(&self, who: &Name, shard: &Name) -> Option<Duration> {
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
    async fn thawed(&self, who: &Name) {
        while let Some(until) = self.network.stands_until(who) {
            // Not for all of it: everything may be healed earlier.
            sleep_until(until.min(Instant::now() + Duration::from_millis(250))).await;
        }
    }

    /// A processor takes the effects of a record.
    fn deliver(&self, who: &Name, of: &Ownership, record: &Record) -> Result<(), ProcessorError> {
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
    fn tell_gap(&self, who: &Name, of: &Ownership, batch: &RecordBatch) {
        let Some(gap) = batch.gap() else { return };
        let first = batch.records().first();
        let what = What::GapReported {
            of: of.clone(),
            after: gap.after.clone(),
            before: first.map(|record| record.sequence_number().clone()),
        };
        self.history.record(who, what);
    }

    fn next_call(&self) -> u64 {
        self.shared.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// A processor is at work, and knows of its lease.
    fn enlist(&self, who: &Name, of: &Ownership, checkpointer: &Checkpointer) {
        let owners = self.shared.owners.lock();
        let me = (of.shard.clone(), of.token, who.clone());
        owners
            .unwrap_or_else(PoisonError::into_inner)
            .insert(me, checkpointer.clone());
    }

    /// It is not, any more.
    fn strike(&self, who: &Name, of: &Ownership) {
        let owners = self.shared.owners.lock();
        let me = (of.shard.clone(), of.token, who.clone());
        owners.unwrap_or_else(PoisonError::into_inner).remove(&me);
    }

    fn roll(&self, sides: u64) -> u64 {
        let mut dice = self.shared.dice.lock().unwrap_or_else(PoisonError::into_inner);
        dice.roll(sides)
    }

    fn manner(&self) -> (Manner, Duration) {
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
        let manner = if self.shared.wanted.lacks(manner.name()) {
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
            false if is_long => 20_000 + dice.roll(10_000),
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

/// Expects records whose data is the decimal counter of their partition key.
#[derive(Debug)]
pub struct Actor {
    stage: Stage,
    who: Name,
    of: Ownership,
    is_known: bool,
    fails_until: Option<Instant>,
}

impl Actor {
    /// A processor of the worker's life `who`, whose id in the lease table is `id`.
    pub fn new(stage: Stage, who: Name, id: &str, shard: &ShardContext) -> Self {
        let of = Ownership {
            shard: stage.streams.name_of_acquired(id, shard),
            token: shard.fencing_token.get(),
        };
        Self {
            stage,
            who,
            of,
            is_known: false,
            fails_until: None,
        }
    }

    fn note(&self, what: What) {
        self.stage.history.record(&self.who, what);
    }

    async fn thawed(&self) {
        self.stage.thawed(&self.who).await;
    }

    fn deliver(&self, record: &Record) -> Result<(), ProcessorError> {
        self.stage.deliver(&self.who, &self.of, record)
    }

    async fn work(
        &self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
        (manner, time): (Manner, Duration),
    ) -> Result<(), ProcessorError> {
        self.thawed().await;
        self.stage.tell_gap(&self.who, &self.of, batch);
        if matches!(manner, Manner::FailsFirst | Manner::Stubborn) {
            return Err("not today".into());
        }
        let sink = self.stage.sink.as_ref().filter(|_| !self.stage.is_calm());
        if sink.is_some_and(Sink::is_away) {
            self.stage.network.count("sink is away");
            return Err("the sink is away".into());
        }
        if !time.is_zero() {
            sleep(time).await;
            self.thawed().await;
        }
        let taken = match manner {
            Manner::PanicsEarly => batch.len() / 2,
            _ => batch.len(),
        };
        let is_named = sink.is_some_and(|sink| sink.is_named);
        for record in batch.records().iter().take(taken) {
            match self.deliver(record) {
                Err(error) if is_named => {
                    self.note(What::Named {
                        of: self.of.clone(),
                        position: record.position().clone(),
                    });
                    return Err(ProcessorError::at(record, error));
                }
                delivered => delivered?,
            }
        }
        match manner {
            Manner::FailsLast => return Err("at the last moment".into()),
            // Like a panic, without its message on the screen.
            Manner::Panics | Manner::PanicsEarly => std::panic::resume_unwind(Box::new("on purpose")),
            Manner::Forgets => {}
            Manner::Halves => {
                if let Some(record) = batch.records().get(batch.len() / 2) {
                    checkpointer.checkpoint_at(record).await?;
                }
            }
            Manner::Prepares => {
                let prepared = checkpointer.prepare(None).await?;
                self.thawed().await;
                prepared.commit().await?;
            }
            Manner::Late => {
                if let Some(record) = batch.records().last().cloned() {
                    let checkpointer = checkpointer.clone();
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(7)).await;
                        // Out of range when another one was made meanwhile, refused when the lease is lost.
                        let _ = checkpointer.checkpoint_at(&record).await;
                    });
                }
            }
            Manner::Twice => {
                checkpointer.checkpoint().await?;
                checkpointer.checkpoint().await?;
                if let Some(first) = batch.records().first().filter(|_| batch.len() > 1)
                    && checkpointer.checkpoint_at(first).await.is_ok()
                {
                    self.note(What::Misled(
                        "a checkpoint before the last one was accepted".to_owned(),
                    ));
                }
            }
            Manner::OutOfRange => {
                if let Some(last) = batch.records().last() {
                    let beyond = SequenceNumber::parse(format!("{}0", last.sequence_number()))?;
                    if checkpointer.checkpoint_at_sequence(&beyond, 0).await.is_ok() {
                        self.note(What::Misled(
                            "a checkpoint beyond what was delivered was accepted".to_owned(),
                        ));
                    }
                }
                checkpointer.checkpoint().await?;
            }
            Manner::Races => {
                if let Some(middle) = batch.records().get(batch.len() / 2) {
                    let earlier = checkpointer.checkpoint_at(middle);
                    let (done, _) = tokio::join!(checkpointer.checkpoint(), earlier);
                    done?;
                }
            }
            _ => checkpointer.checkpoint().await?,
        }
        Ok(())
    }
}

/// What a record says: the decimal counter of its key.
fn counter(record: &Record) -> Result<u64, ProcessorError> {
    Ok(std::str::from_utf8(record.data())?.parse()?)
}

/// Writes the end of a call down, however it ends.
struct Calling {
    stage: Stage,
    who: Name,
    of: Ownership,
    call: u64,
    is_ok: bool,
}

impl Drop for Calling {
    fn drop(&mut self) {
        let what = What::BatchEnded {
            of: self.of.clone(),
            call: self.call,
            is_ok: self.is_ok,
        };
        self.stage.history.record(&self.who, what);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.stage.processed.end(&self.who, &self.of.shard);
        self.stage.strike(&self.who, &self.of);
    }
}

#[async_trait]
impl RecordProcessor for Actor {
    async fn initialize(&mut self, _: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        self.stage.processed.begin(&self.who, &self.of.shard);
        self.note(What::Initialized { of: self.of.clone() });
        // A process that freezes in here does not know, when it goes on, that it has a successor.
        self.thawed().await;
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let is_valid = checkpointer.is_lease_valid();
        if !self.is_known {
            self.is_known = true;
            self.stage.enlist(&self.who, &self.of, checkpointer);
        }
        let mut calling = Calling {
            stage: self.stage.clone(),
            who: self.who.clone(),
            of: self.of.clone(),
            call: self.stage.next_call(),
            is_ok: false,
        };
        self.note(What::BatchBegan {
            of: self.of.clone(),
            call: calling.call,
            is_valid,
            records: batch.len(),
        });
        let directed = self.stage.directed(&self.who, &self.of.shard);
        let mut manner = directed.unwrap_or_else(|| self.stage.manner());
        if manner.0 == Manner::Stubborn {
            let time = Duration::from_millis(self.stage.roll(25_000));
            self.fails_until = Some(Instant::now() + time);
        } else if self.stage.is_calm() {
            self.fails_until = None;
        } else if self.fails_until.is_some_and(|until| Instant::now() < until) {
            manner.0 = Manner::Stubborn;
        }
        let checkpoint = checkpointer.last_checkpoint();
        let result = self.work(batch, checkpointer, manner).await;
        let to = checkpointer.last_checkpoint();
        if to != checkpoint {
            self.note(What::Checkpointed {
                of: self.of.clone(),
                to,
            });
        }
        calling.is_ok = result.is_ok();
        result
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.note(What::LeaseLost { of: self.of.clone() });
    }

    async fn shard_ended(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.thawed().await;
        if self.stage.manner().0 == Manner::FailsFirst {
            return Err("not yet".into());
        }
        if let Some(time) = self.stage.directed_end(&self.who, &self.of.shard) {
            self.note(What::Disturbed(format!("is at the end of {}", self.of.shard)));
            sleep(time).await;
        }
        self.note(What::ShardEnded { of: self.of.clone() });
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.thawed().await;
        self.note(What::ShutdownRequested { of: self.of.clone() });
        let checkpointed = checkpointer.checkpoint().await;
        if self.stage.shared.wanted.lacks("validity while giving up") {
            self.stage.strike(&self.who, &self.of);
        }
        Ok(checkpointed?)
    }
}
