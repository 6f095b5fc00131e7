//! Drives the state machine of one shard: does each step, and reports what came of it.

mod ending;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use kcl_lease::{Activity, Checkpoint, Fleet, HeldLease, Lease, LeaseKey, LeaseWriteError, Standing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::latest::{needs_note, note_to_leave, noted_start};
use super::pieces::Pieces;
use super::state::{Event, Machine, Step};
use crate::aws::CallError;
use crate::checkpointer::Checkpointer;
use crate::config::{FailurePolicy, Reaction, ShardId};
use crate::processor::{ProcessorError, ProcessorFactory, RecordProcessor, ShardContext};
use crate::record::{Record, RecordBatch};
use crate::retrieval::{Budget, Cursor, Delivery, Outlet, Poller, PollingOptions, Start};
use crate::retry::{Hush, Retry};
use crate::status::ShardMonitor;
use crate::status::ShardState;
use crate::stream::{Child, Discovery};

/// A call of the processor that takes longer is mentioned in the log, again and again.
const LONG_CALL: Duration = Duration::from_secs(60);

const PROCESSING: Activity = Activity {
    code: "processor-failing",
    doing: "process_records",
};
const INITIALIZING: Activity = Activity {
    code: "initialize-failing",
    doing: "initialize",
};
const ASKING_THE_TIME: Activity = Activity {
    code: "shard-start-failing",
    doing: "asking Kinesis for the time",
};
const NOTING_THE_START: Activity = Activity {
    code: "shard-start-failing",
    doing: "recording where reading starts",
};
const LOOKING_FOR_PARENTS: Activity = Activity {
    code: "parents-failing",
    doing: "reading the leases of the shard's parents",
};
const READING: Activity = Activity {
    code: "reader-failing",
    doing: "reading the shard",
};
const GIVING_UP: Activity = Activity {
    code: "give-up-failing",
    doing: "giving the lease up",
};

/// What a consumer is made of.
#[derive(Clone)]
pub(crate) struct ConsumerParts {
    pub(crate) fleet: Fleet,
    pub(crate) discovery: Discovery,
    pub(crate) factory: ProcessorFactory,
    pub(crate) polling: PollingOptions,
    pub(crate) budget: Budget,
    pub(crate) failure_policy: FailurePolicy,
    /// How long a running call may go on when the lease is to be given up.
    pub(crate) drain_timeout: Duration,
    /// When the worker stops: until when it may.
    pub(crate) stopping: watch::Receiver<Option<Instant>>,
}

/// Processes one shard until its lease is lost or given up.
pub(crate) async fn consume(parts: ConsumerParts, held: HeldLease, monitor: Arc<ShardMonitor>) {
    let mut task = Task::new(parts, held, monitor);
    while *task.machine.step() != Step::Finish {
        let step = task.machine.step().clone();
        task.report(&step);
        let event = match task.interruption() {
            Some(interruption) => interruption,
            None => task.perform(step).await,
        };
        let is_success = match event {
            Event::Succeeded => *task.machine.step() != Step::Pause,
            Event::PieceDone => true,
            _ => false,
        };
        if is_success {
            task.retry.succeeded();
            task.hush.reset();
            task.monitor.recovered();
        }
        task.machine.on(event);
    }
}

struct Task {
    parts: ConsumerParts,
    held: HeldLease,
    shard: ShardId,
    monitor: Arc<ShardMonitor>,
    standing: watch::Receiver<Standing>,
    machine: Machine,
    checkpointer: Checkpointer,
    processor: Option<Box<dyn RecordProcessor>>,
    reader: Option<Reader>,
    /// The batch at hand, until it is processed.
    delivery: Option<Delivery>,
    /// What is left of it.
    pieces: Pieces,
    /// When an earlier reader began at the latest record.
    noted_start: Option<SystemTime>,
    /// The shards that follow, once the last batch has arrived.
    children: Vec<Child>,
    retry: Retry,
    hush: Hush,
    /// When the lease was first seen to be given up soon.
    drain_began: Arc<OnceLock<Instant>>,
}

struct Reader {
    outlet: Outlet,
    _task: AbortOnDropHandle<()>,
}

impl Task {
    fn new(parts: ConsumerParts, held: HeldLease, monitor: Arc<ShardMonitor>) -> Self {
        let env = parts.discovery.env.clone();
        Self {
            shard: ShardId::from(held.key()),
            monitor,
            standing: held.watch(),
            machine: Machine::new(held.lease().has_ended()),
            checkpointer: Checkpointer::new(held.clone(), env.clone()),
            processor: None,
            reader: None,
            delivery: None,
            pieces: Pieces::default(),
            noted_start: None,
            children: Vec::new(),
            retry: Retry::new(env, Duration::from_millis(100), Duration::from_secs(10)),
            hush: Hush::default(),
            drain_began: Arc::default(),
            parts,
            held,
        }
    }

    /// What has to be told to the machine before the next step.
    fn interruption(&mut self) -> Option<Event> {
        match &*self.standing.borrow_and_update() {
            Standing::Lost(reason) => Some(Event::Lost(reason.clone()))
                .filter(|_| !matches!(self.machine.step(), Step::TellLoss(_) | Step::Finish)),
            Standing::Draining { .. } if self.machine.heeds_drain() => Some(Event::DrainBegan),
            _ => None,
        }
    }

    async fn interrupted(&mut self) -> Event {
        loop {
            if let Some(event) = self.interruption() {
                return event;
            }
            if self.standing.changed().await.is_err() {
                // The lease holds the other end, and this task holds the lease.
                return std::future::pending().await;
            }
        }
    }

    async fn perform(&mut self, step: Step) -> Event {
        match step {
            Step::AwaitParents => self.await_parents().await,
            Step::Initialize => self.initialize().await,
            Step::AwaitBatch => self.await_batch().await,
            Step::Process => self.process().await,
            Step::Pause => {
                let pause = self.retry.pause();
                tokio::select! {
                    biased;
                    event = self.interrupted() => event,
                    () = sleep(pause) => Event::Succeeded,
                }
            }
            Step::EndShard => self.end_shard().await,
            Step::CreateChildren => self.create_children().await,
            Step::RecordEnd => self.record_end().await,
            Step::RequestShutdown => self.request_shutdown().await,
            Step::GiveUp => self.give_up().await,
            Step::TellLoss(reason) => {
                self.reader = None;
                tracing::info!(shard = %self.shard, %reason, "lease lost");
                if let Some(mut processor) = self.processor.take() {
                    let call = async {
                        processor.lease_lost(&reason).await;
                        Ok(())
                    };
                    if let Err(error) = self.supervise("lease_lost", call).await {
                        tracing::warn!(shard = %self.shard, error = %error.chain(), "lease_lost failed");
                    }
                }
                Event::Succeeded
            }
            Step::Finish => Event::Succeeded,
        }
    }

    async fn await_parents(&mut self) -> Event {
        let parents = self.held.lease().parents;
        let (store, ended) = (
            self.parts.discovery.store.clone(),
            self.parts.discovery.shard_ended.clone(),
        );
        let mut polls = Retry::new(
            self.parts.discovery.env.clone(),
            Duration::from_millis(250),
            Duration::from_secs(2),
        );
        for parent in parents {
            let key = LeaseKey::from(parent.as_str());
            loop {
                let mut news = pin!(ended.notified());
                news.as_mut().enable();
                match store.get(&key).await {
                    // Deleted because it was processed, or together with the whole table, and then this lease is gone too.
                    Ok(None) => match self.held.renew().await {
                        Ok(()) => break,
                        Err(LeaseWriteError::Lost(reason)) => return Event::Lost(reason),
                        Err(error) => self.complain(LOOKING_FOR_PARENTS, error.to_string()),
                    },
                    Ok(Some(lease)) if lease.has_ended() => break,
                    Ok(Some(_)) => {
                        if polls.attempts() == 0 {
                            tracing::info!(shard = %self.shard, %parent, "waiting until the parent is processed");
                        }
                        self.monitor.enter(
                            ShardState::WaitingOnParents,
                            Some(format!("{parent} is not processed yet")),
                        );
                    }
                    Err(error) => self.complain(LOOKING_FOR_PARENTS, error.to_string()),
                }
                let pause = polls.pause();
                tokio::select! {
                    biased;
                    event = self.interrupted() => return event,
                    () = news => {}
                    () = sleep(pause) => {}
                }
            }
        }
        Event::Succeeded
    }

    async fn initialize(&mut self) -> Event {
        let lease = self.held.lease();
        // Read before a note is left: the reader that leaves it starts at the latest record itself.
        self.noted_start = noted_start(&lease);
        let note = match self.note(&lease).await {
            Ok(note) => note,
            Err(error) => return self.failed(ASKING_THE_TIME, &error.into()),
        };
        if let Some(note) = note {
            match self.held.record_reading_since(note).await {
                Ok(()) => {}
                Err(LeaseWriteError::Lost(reason)) => return Event::Lost(reason),
                Err(error) => return self.failed(NOTING_THE_START, &error.into()),
            }
        }
        let context = ShardContext {
            stream: self.parts.discovery.stream.stream().clone(),
            shard_id: self.shard.clone(),
            hash_range: lease.hash_range,
            parents: lease
                .parents
                .iter()
                .map(|parent| ShardId::from(parent.as_str()))
                .collect(),
            start: lease.checkpoint,
            pending_checkpoint: lease.pending_checkpoint,
            fencing_token: self.held.fencing_token(),
        };
        let made = match self.processor.take() {
            Some(processor) => Ok(processor),
            None => {
                let factory = self.parts.factory.clone();
                catch_unwind(AssertUnwindSafe(|| factory(&context))).map_err(ProcessorError::from_panic)
            }
        };
        let result = match made {
            Ok(mut processor) => {
                let result = self.supervise("initialize", processor.initialize(&context)).await;
                self.processor = Some(processor);
                result
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                tracing::info!(shard = %self.shard, start = %context.start, token = %context.fencing_token, "processing");
                self.monitor.progressed(0, 0);
                self.held.record_throughput(0);
                self.read_from(&context.start);
                Event::Succeeded
            }
            Err(error) => self.failed(INITIALIZING, &error),
        }
    }

    /// The time by the clock of the service: this worker's own may be ahead, and nobody could read from there yet.
    async fn note(&mut self, lease: &Lease) -> Result<Option<u64>, CallError> {
        if !needs_note(lease) {
            return Ok(None);
        }
        let now = self.parts.discovery.stream.probe().await?;
        Ok(note_to_leave(
            now.unwrap_or_else(|| self.parts.discovery.env.now()),
        ))
    }

    /// Starts to read behind a checkpoint.
    fn read_from(&mut self, checkpoint: &Checkpoint) {
        let cursor = match self.noted_start {
            Some(start) if *checkpoint == Checkpoint::Latest => Some(Cursor::from_time(start)),
            _ => Cursor::from_checkpoint(checkpoint, self.parts.discovery.initial),
        };
        let Some(cursor) = cursor else { return };
        self.noted_start = noted_start(&self.held.lease());
        let start = Start {
            cursor,
            checkpoint: checkpoint.clone(),
            hash_range: self.held.lease().hash_range,
        };
        let (poller, outlet) = Poller::new(
            self.shard.clone(),
            self.parts.discovery.clone(),
            self.parts.polling.clone(),
            &self.parts.budget,
            self.monitor.clone(),
            start,
        );
        self.reader = Some(Reader {
            outlet,
            _task: AbortOnDropHandle::new(tokio::spawn(poller.run())),
        });
    }

    async fn await_batch(&mut self) -> Event {
        let Some(mut reader) = self.reader.take() else {
            let position = self.checkpointer.rules().processed().clone();
            self.read_from(&position);
            return Event::Succeeded;
        };
        let event = tokio::select! {
            biased;
            event = self.interrupted() => event,
            delivery = reader.outlet.next() => match delivery {
                Some(delivery) => {
                    let is_last = delivery.batch.is_last();
                    self.delivery = Some(delivery);
                    Event::BatchArrived { is_last }
                }
                None => {
                    self.complain(READING, "the shard's reader stopped unexpectedly; it is started again".into());
                    return Event::Failed;
                }
            },
        };
        self.reader = Some(reader);
        event
    }

    async fn process(&mut self) -> Event {
        while !self.held.is_valid() {
            self.monitor.enter(
                ShardState::Processing,
                Some("the lease was not renewed in time".to_owned()),
            );
            tokio::select! {
                biased;
                event = self.interrupted() => return event,
                () = sleep(Duration::from_millis(100)) => {}
            }
        }
        let (Some(delivery), Some(mut processor)) = (self.delivery.take(), self.processor.take()) else {
            return Event::Succeeded;
        };
        let whole = &delivery.batch;
        if whole.is_empty() && whole.gap().is_none() && !self.parts.polling.wants_empty_batches {
            self.processor = Some(processor);
            self.children = delivery.children;
            return Event::Succeeded;
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        let next = pieces.next(whole);
        let (batch, is_probe) = (next.batch(), next.is_probe());
        let (records, weight) = (batch.len(), batch.weight());
        let last = batch.records().last();
        self.checkpointer.rules().batch_begins(last.map(Record::position));
        let checkpointer = self.checkpointer.clone();
        let result = self
            .supervise("process_records", processor.process_records(batch, &checkpointer))
            .await;
        self.processor = Some(processor);
        let event = match result {
            result if is_probe => {
                self.checkpointer.rules().batch_ends(false);
                pieces.probed(result.is_ok());
                match result {
                    Ok(()) => Event::Undecided,
                    Err(error) => {
                        let text = format!(
                            "{} (not skipped: the record in front of it fails now, too, so it is not the record)",
                            error.chain()
                        );
                        self.failed(PROCESSING, &text.into())
                    }
                }
            }
            Ok(()) => {
                self.checkpointer.rules().batch_ends(true);
                self.monitor.progressed(records, weight);
                self.held.record_throughput(weight);
                match pieces.done(whole, true) {
                    true => Event::Succeeded,
                    false => Event::PieceDone,
                }
            }
            Err(error) => {
                let reaction = pieces.failed(whole, self.parts.failure_policy);
                // Nor is a checkpoint implied at a record that is skipped: whoever reads on from there would have it as the
                // one in front, and could not tell the next bad one from a sink that is away.
                self.checkpointer.rules().batch_ends(false);
                self.react(reaction, &error, &mut pieces, whole)
            }
        };
        self.pieces = pieces;
        match event {
            Event::Succeeded => self.children = delivery.children,
            _ => self.delivery = Some(delivery),
        }
        event
    }

    /// Does what the failure policy says about a call that failed.
    fn react(
        &mut self,
        reaction: Reaction,
        error: &ProcessorError,
        pieces: &mut Pieces,
        whole: &RecordBatch,
    ) -> Event {
        match reaction {
            Reaction::Repeat => self.failed(PROCESSING, error),
            Reaction::AwaitProof => {
                let text = format!(
                    "{} (not skipped: no record in front of it is there to show that it is the record, and not the sink)",
                    error.chain()
                );
                self.failed(PROCESSING, &text.into())
            }
            Reaction::Halve => {
                tracing::info!(shard = %self.shard, "a batch that fails is cut in halves, to find the record at fault");
                self.retry.succeeded();
                self.failed(PROCESSING, error)
            }
            Reaction::Probe => {
                self.complain(PROCESSING, error.chain());
                Event::Undecided
            }
            Reaction::Skip => {
                let skipped = pieces.next(whole);
                let records = skipped.batch().records();
                tracing::error!(
                    shard = %self.shard, error = %error.chain(), record = ?records.first(),
                    "skipping a record that fails while others do not, as the failure policy says"
                );
                self.monitor.skipped(records.len());
                match pieces.done(whole, false) {
                    true => Event::Succeeded,
                    false => Event::PieceDone,
                }
            }
        }
    }

    async fn request_shutdown(&mut self) -> Event {
        self.reader = None;
        self.delivery = None;
        self.pieces.clear();
        tracing::info!(shard = %self.shard, "giving the shard up");
        let Some(mut processor) = self.processor.take() else {
            return Event::Succeeded;
        };
        let checkpointer = self.checkpointer.clone();
        let result = self
            .supervise("shutdown_requested", processor.shutdown_requested(&checkpointer))
            .await;
        self.processor = Some(processor);
        if let Err(error) = result {
            tracing::warn!(
                shard = %self.shard, error = %error.chain(),
                "shutdown_requested failed; records after the last checkpoint are delivered again"
            );
        }
        Event::Succeeded
    }

    async fn give_up(&mut self) -> Event {
        self.reader = None;
        match self.held.give_up().await {
            Ok(()) => {
                let checkpoint = self.checkpointer.last_checkpoint();
                tracing::info!(shard = %self.shard, %checkpoint, "gave the shard up");
                Event::Succeeded
            }
            Err(LeaseWriteError::Lost(_)) => Event::Succeeded,
            Err(error) => self.failed(GIVING_UP, &error.into()),
        }
    }

    /// Lets a call of the processor run. It is never cancelled; but when the lease is to be given up and the call takes
    /// longer than there is time for, the lease is given up without it.
    async fn supervise<T>(
        &mut self,
        name: &'static str,
        call: impl Future<Output = Result<T, ProcessorError>>,
    ) -> Result<T, ProcessorError> {
        let mut call = pin!(AssertUnwindSafe(call).catch_unwind());
        let mut leaving = pin!(self.leave_without(name));
        let began = Instant::now();
        let mut reminder = began + LONG_CALL;
        loop {
            tokio::select! {
                biased;
                result = &mut call => return result.unwrap_or_else(|panic| Err(ProcessorError::from_panic(panic))),
                () = &mut leaving => {}
                () = sleep_until(reminder) => {
                    let seconds = began.elapsed().as_secs();
                    tracing::warn!(shard = %self.shard, call = name, seconds, "the processor is still busy with one call");
                    reminder = Instant::now() + LONG_CALL;
                }
            }
        }
    }

    /// Gives the lease up once a call may no longer keep it. Never completes.
    fn leave_without(&mut self, call: &'static str) -> impl Future<Output = ()> + use<> {
        let (held, shard) = (self.held.clone(), self.shard.clone());
        let (timeout, mut stopping) = (self.parts.drain_timeout, self.parts.stopping.clone());
        let began = self.drain_began.clone();
        async move {
            let mut standing = held.watch();
            let is_draining = |standing: &Standing| matches!(standing, Standing::Draining { .. });
            if standing.wait_for(is_draining).await.is_err() {
                return std::future::pending().await;
            }
            let deadline = *began.get_or_init(Instant::now) + timeout;
            loop {
                let at = stopping
                    .borrow_and_update()
                    .map_or(deadline, |at| at.min(deadline));
                tokio::select! {
                    biased;
                    () = sleep_until(at) => break,
                    Ok(()) = stopping.changed() => {}
                }
            }
            while is_draining(&held.standing()) {
                tracing::warn!(%shard, call, "the call outlasts the drain time-out; giving the lease up");
                if let Err(error) = held.give_up().await {
                    tracing::warn!(%shard, %error, "cannot give the lease up");
                    sleep(Duration::from_secs(1)).await;
                }
            }
            std::future::pending().await
        }
    }

    /// A step failed: shows it, and lets the machine pause.
    fn failed(&mut self, what: Activity, error: &ProcessorError) -> Event {
        self.complain(what, error.chain());
        Event::Failed
    }

    fn complain(&mut self, what: Activity, error: String) {
        let attempts = self.machine.attempts().saturating_add(1);
        let text = format!("{} fails: {error}", what.doing);
        if self.hush.may_speak() {
            tracing::warn!(shard = %self.shard, code = what.code, attempts, "{text}");
        }
        self.monitor.failed(what.code, text, attempts);
    }

    fn report(&self, step: &Step) {
        let state = match step {
            Step::AwaitParents => ShardState::WaitingOnParents,
            Step::Initialize => ShardState::Initializing,
            Step::AwaitBatch | Step::Process => ShardState::Processing,
            Step::EndShard | Step::CreateChildren | Step::RecordEnd => ShardState::Ending,
            Step::RequestShutdown | Step::GiveUp => ShardState::Draining,
            Step::TellLoss(_) => ShardState::Lost,
            Step::Pause | Step::Finish => return,
        };
        self.monitor.enter(state, None);
    }
}
