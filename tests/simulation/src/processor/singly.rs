//! A processor that hands records to `each_record` or a stream of deliveries. Whoever handles them writes everything down, and misbehaves
//! by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{
    Begin, Checkpoint, Checkpointer, Deliveries, ExtendedSequenceNumber, LossReason, ProcessorError, Record,
    RecordBatch, RecordProcessor, ShardContext, async_trait, each_record, each_record_service,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower::service_fn;

use super::{Calling, Stage, counter};
use crate::history::{Name, Ownership, Single, What};
use crate::singles::{Limits, Shape};
use crate::sink::Sink;

/// How often it is looked whether a checkpoint was made.
const LOOK: Duration = Duration::from_millis(100);

/// The processor of one shard.
pub struct Singly {
    inner: Box<dyn RecordProcessor>,
    hands: Hands,
    of: Ownership,
    checkpoints: Option<(JoinHandle<()>, Checkpoints)>,
}

/// What the handlers of one worker's life have together.
#[derive(Clone)]
struct Hands {
    stage: Stage,
    who: Name,
    limits: Limits,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By the places of records: whose they are.
    given: BTreeMap<ExtendedSequenceNumber, (Ownership, Checkpointer)>,
    /// Keys whose records fail for long.
    fails_until: BTreeMap<Name, Instant>,
    /// Records that failed by chance.
    failed: BTreeSet<ExtendedSequenceNumber>,
}

/// What the handler does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Good,
    FailsFirst,
    FailsLast,
    /// Fails, and so do all of its key for a while.
    FailsLong,
    Panics,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::FailsFirst => "handler fails first",
            Self::FailsLast => "handler fails last",
            Self::FailsLong => "handler fails for long",
            Self::Panics => "handler panics",
        }
    }
}

/// Writes the end of a handler's call down, however it ends.
struct Handling<'a> {
    hands: &'a Hands,
    of: Ownership,
    call: u64,
    is_ok: bool,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let (of, call, is_ok) = (self.of.clone(), self.call, self.is_ok);
        self.hands.note(What::RecordEnded { of, call, is_ok });
    }
}

/// Writes the checkpoints of one owner down.
#[derive(Clone)]
struct Checkpoints {
    hands: Hands,
    of: Ownership,
    checkpointer: Checkpointer,
    last: Arc<Mutex<Checkpoint>>,
}

impl Checkpoints {
    fn look(&self) {
        let to = self.checkpointer.last_checkpoint();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != to {
            last.clone_from(&to);
            let of = self.of.clone();
            self.hands.note(What::Checkpointed { of, to });
        }
    }

    async fn watch(self) {
        loop {
            sleep(LOOK).await;
            self.look();
        }
    }
}

impl Hands {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: What) {
        self.stage.history.record(&self.who, what);
    }

    /// A process that stands still does nothing, nor does one that is dead ever again: the library cancels no handler.
    async fn alive(&self) {
        self.stage.thawed(&self.who).await;
        if self.stage.network.is_dead(&self.who) {
            std::future::pending::<()>().await;
        }
    }

    /// Handles what is delivered, each in a task of its own. A delivery whose task panics is dropped.
    async fn take(self, mut deliveries: Deliveries) {
        while let Some(delivery) = deliveries.next().await {
            let hands = self.clone();
            tokio::spawn(async move {
                match hands.handle(delivery.record()).await {
                    Ok(()) => delivery.ack(),
                    Err(error) => delivery.fail(error),
                }
            });
        }
    }

    async fn handle(self, record: &Record) -> Result<(), ProcessorError> {
        if self.stage.network.is_dead(&self.who) {
            std::future::pending::<()>().await;
        }
        let place = record.position();
        let given = self.known().given.get(place).cloned();
        let Some((of, checkpointer)) = given else {
            self.note(What::Misled(format!(
                "the record at {place} was handled, and given to nobody"
            )));
            return Ok(());
        };
        let call = self.stage.next_call();
        self.note(What::RecordBegan {
            of: of.clone(),
            call,
            position: place.clone(),
            is_valid: checkpointer.is_lease_valid(),
        });
        let mut handling = Handling {
            hands: &self,
            of,
            call,
            is_ok: false,
        };
        let result = self.work(&handling.of, record).await;
        handling.is_ok = result.is_ok();
        result
    }

    async fn work(&self, of: &Ownership, record: &Record) -> Result<(), ProcessorError> {
        self.alive().await;
        let (fate, time) = self.fate(record);
        if matches!(fate, Fate::FailsFirst | Fate::FailsLong) {
            return Err("not today".into());
        }
        self.asks_sink()?;
        if !time.is_zero() {
            sleep(time).await;
            self.alive().await;
            self.asks_sink()?;
        }
        self.stage.deliver(&self.who, of, record)?;
        match fate {
            Fate::FailsLast => Err("at the last moment".into()),
            // Like a panic, without its message on the screen.
            Fate::Panics => std::panic::resume_unwind(Box::new("on purpose")),
            _ => Ok(()),
        }
    }

    fn asks_sink(&self) -> Result<(), ProcessorError> {
        let sink = self.stage.sink.as_ref().filter(|_| !self.stage.is_calm());
        if sink.is_some_and(Sink::is_away) {
            self.stage.network.count("sink is away");
            return Err("the sink is away".into());
        }
        Ok(())
    }

    fn fate(&self, record: &Record) -> (Fate, Duration) {
        if self.stage.is_calm() {
            return (Fate::Good, Duration::ZERO);
        }
        let has_sink = self.stage.sink.is_some();
        let wanted = &self.stage.shared.wanted;
        let mut dice = self
            .stage
            .shared
            .dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fate = match dice.roll(200) {
            0..=5 => Fate::FailsFirst,
            6..=9 => Fate::FailsLast,
            10..=11 => Fate::Panics,
            12..=13 => Fate::FailsLong,
            _ => Fate::Good,
        };
        let work = match dice.roll(200) {
            0 => dice.roll(20_000),
            1..=9 => dice.roll(5_000),
            10..=50 => dice.roll(1_500),
            51..=130 => dice.roll(100),
            _ => 0,
        };
        let is_long = has_sink && dice.happens(Sink::LONG_CALLS);
        let work = match wanted.lacks("slow processor") {
            true => 0,
            false if is_long => dice.between(Sink::LONG_CALL.0, Sink::LONG_CALL.1),
            false => work,
        };
        let lasting = Duration::from_millis(dice.roll(25_000));
        let is_too_much = fate == Fate::FailsLong && self.stage.spares(&mut dice);
        let fate = if wanted.lacks(fate.name()) || is_too_much {
            Fate::Good
        } else {
            fate
        };
        drop(dice);
        let fate = self.lasting(record, fate, lasting, has_sink);
        if fate != Fate::Good {
            self.stage.network.count(fate.name());
        }
        (fate, Duration::from_millis(work))
    }

    /// What comes of that, with what came before.
    fn lasting(&self, record: &Record, fate: Fate, lasting: Duration, has_sink: bool) -> Fate {
        let mut known = self.known();
        let key: Name = record.partition_key().into();
        if has_sink {
            // What fails again and again while others do not is given up.
            let is_first = fate != Fate::Good && known.failed.insert(record.position().clone());
            return match fate {
                Fate::FailsLong => Fate::Good,
                _ if is_first => fate,
                _ => Fate::Good,
            };
        }
        if fate == Fate::FailsLong {
            known.fails_until.insert(key.clone(), Instant::now() + lasting);
        }
        let fails_until = known.fails_until.get(&key);
        if fails_until.is_some_and(|until| Instant::now() < *until) {
            Fate::FailsLong
        } else {
            fate
        }
    }
}

impl Singly {
    /// What makes the processors of the worker's life `who`, whose id in the lease table is `id`.
    pub fn processors(
        stage: Stage,
        who: Name,
        id: String,
        limits: Limits,
    ) -> impl Fn(&ShardContext) -> Self + Send + Sync + 'static {
        let hands = Hands {
            stage,
            who,
            limits,
            known: Arc::default(),
        };
        let its = hands.clone();
        let processors = match limits.shape {
            Shape::EachRecord => limits.calling(each_record(async move |record| its.handle(record).await)),
            Shape::Service => limits.calling(each_record_service(service_fn(move |record: Record| {
                let its = its.clone();
                async move { its.handle(&record).await }
            }))),
            Shape::Deliveries => {
                let (processors, deliveries) = limits.delivering();
                tokio::spawn(its.take(deliveries));
                processors
            }
        };
        move |shard| {
            let of = Ownership {
                shard: hands.stage.streams.name_of_acquired(&id, shard),
                token: shard.fencing_token.get(),
            };
            Self {
                inner: processors(shard),
                hands: hands.clone(),
                of,
                checkpoints: None,
            }
        }
    }

    fn note(&self, what: What) {
        self.hands.note(what);
    }

    fn begin(&mut self, checkpointer: &Checkpointer) {
        if self.checkpoints.is_some() {
            return;
        }
        self.hands.stage.enlist(&self.hands.who, &self.of, checkpointer);
        let checkpoints = Checkpoints {
            hands: self.hands.clone(),
            of: self.of.clone(),
            checkpointer: checkpointer.clone(),
            last: Arc::new(Mutex::new(checkpointer.last_checkpoint())),
        };
        self.checkpoints = Some((tokio::spawn(checkpoints.clone().watch()), checkpoints));
    }

    /// Writes down which records are handed on.
    fn give(&self, records: &[Record], checkpointer: &Checkpointer) {
        let mut known = self.hands.known();
        let mut given = Vec::with_capacity(records.len());
        for record in records {
            let place = record.position().clone();
            known
                .given
                .insert(place.clone(), (self.of.clone(), checkpointer.clone()));
            given.push(Single {
                position: place,
                lane: self.hands.limits.lane(record),
                is_unreadable: counter(record).is_err(),
            });
        }
        drop(known);
        self.note(What::Given {
            of: self.of.clone(),
            records: given,
        });
    }
}

impl Drop for Singly {
    fn drop(&mut self) {
        let (stage, who) = (&self.hands.stage, &self.hands.who);
        if let Some((watching, _)) = &self.checkpoints {
            watching.abort();
        }
        stage.processed.end(who, &self.of.shard);
        stage.strike(who, &self.of);
    }
}

#[async_trait]
impl RecordProcessor for Singly {
    async fn initialize(
        &mut self,
        shard: &ShardContext,
        checkpointer: &Checkpointer,
    ) -> Result<Begin, ProcessorError> {
        let (stage, who) = (&self.hands.stage, &self.hands.who);
        stage.processed.begin(who, &self.of.shard);
        self.note(What::Initialized { of: self.of.clone() });
        // A process that freezes in here does not know, when it goes on, that it has a successor.
        stage.thawed(who).await;
        self.inner.initialize(shard, checkpointer).await
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.begin(checkpointer);
        let mut calling = Calling {
            stage: self.hands.stage.clone(),
            who: self.hands.who.clone(),
            of: self.of.clone(),
            call: self.hands.stage.next_call(),
            is_ok: false,
        };
        self.note(What::BatchBegan {
            of: self.of.clone(),
            call: calling.call,
            is_valid: checkpointer.is_lease_valid(),
            records: batch.len(),
        });
        self.hands.stage.tell_gap(&self.hands.who, &self.of, batch);
        self.give(batch.records(), checkpointer);
        let result = self.inner.process_records(batch, checkpointer).await;
        calling.is_ok = result.is_ok();
        result
    }

    async fn lease_lost(&mut self, reason: &LossReason) {
        self.note(What::LeaseLost { of: self.of.clone() });
        self.inner.lease_lost(reason).await;
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.hands.stage.thawed(&self.hands.who).await;
        self.inner.shard_ended(checkpointer).await?;
        self.note(What::ShardEnded { of: self.of.clone() });
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.hands.stage.thawed(&self.hands.who).await;
        self.note(What::ShutdownRequested { of: self.of.clone() });
        let result = self.inner.shutdown_requested(checkpointer).await;
        if let Some((_, checkpoints)) = &self.checkpoints {
            checkpoints.look();
        }
        if self.hands.stage.shared.wanted.lacks("validity while giving up") {
            self.hands.stage.strike(&self.hands.who, &self.of);
        }
        result
    }
}

impl fmt::Debug for Singly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Singly")
            .field("of", &self.of)
            .finish_non_exhaustive()
    }
}
