//! Drives the state machine of one shard: does each step, and reports what came of it.

mod calls;
mod ending;
mod failing;
mod leaving;
mod processing;
mod starting;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use kcl_lease::{Activity, HeldLease, HeldState, Membership};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::pauses::PauseWatch;
use super::pieces::Pieces;
use super::state::{Event, Machine, Step};
use crate::checkpointer::Checkpointer;
use crate::config::ShardId;
use crate::failure::{Failures, ShardFailures};
use crate::log_limiter::LogLimiter;
use crate::processor::RecordProcessor;
use crate::processor_error::ProcessorError;
use crate::processor_factory::ProcessorFactory;
use crate::retrieval::{Batches, Delivery};
use crate::retry::Retry;
use crate::status::{ShardMonitor, ShardState};
use crate::stream::Child;
use crate::streams::{NOT_NAMED, StreamParts};

/// What all consumers of a worker share.
#[derive(Clone)]
pub(crate) struct CommonParts {
    pub(crate) fleet: Membership,
    pub(crate) factory: ProcessorFactory,
    pub(crate) failures: Failures,
    /// How long a running call may go on when the lease is to be given up.
    pub(crate) drain_timeout: Duration,
    /// Whether the shard is paused.
    pub(crate) pauses: PauseWatch,
    /// When the worker stops: until when it may.
    pub(crate) stopping: watch::Receiver<Option<Instant>>,
}

/// Processes one shard until its lease is lost or given up.
pub(crate) async fn consume(
    parts: CommonParts,
    stream: StreamParts,
    held: HeldLease,
    monitor: Arc<ShardMonitor>,
) {
    let mut task = Task::new(parts, stream, held, monitor);
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
            task.failing_since = None;
            task.log_limiter.reset();
            task.monitor.recovered();
        }
        if event == Event::DrainBegan {
            task.drain_began.get_or_init(Instant::now);
        }
        task.machine.on(event);
    }
}

struct Task {
    parts: CommonParts,
    stream: StreamParts,
    held: HeldLease,
    shard: ShardId,
    monitor: Arc<ShardMonitor>,
    held_state: watch::Receiver<HeldState>,
    machine: Machine,
    checkpointer: Checkpointer,
    processor: Option<Box<dyn RecordProcessor>>,
    reader: Option<Reader>,
    /// The batch at hand, until it is processed.
    delivery: Option<Delivery>,
    /// What is left of it.
    pieces: Pieces,
    /// What is done about what fails.
    failures: Arc<ShardFailures>,
    /// When an earlier reader began at the latest record.
    noted_start: Option<SystemTime>,
    /// The shards that follow, once the last batch has arrived.
    children: Vec<Child>,
    retry: Retry,
    /// Since when the present call fails, if it is not about records.
    failing_since: Option<Instant>,
    /// The worker is to stop for what failed.
    stops_the_worker: bool,
    log_limiter: LogLimiter,
    /// When the lease was first seen to be given up soon.
    drain_began: Arc<OnceLock<Instant>>,
}

struct Reader {
    batches: Batches,
    _task: AbortOnDropHandle<()>,
}

impl Task {
    fn new(parts: CommonParts, stream: StreamParts, held: HeldLease, monitor: Arc<ShardMonitor>) -> Self {
        let env = stream.creation.env.clone();
        let shard = stream.creation.keys.shard(held.key());
        let shard = shard.unwrap_or_else(|| ShardId::of_lease(held.key()));
        let failures = ShardFailures {
            all: parts.failures.clone(),
            stream: stream.creation.stream.stream().clone(),
            shard: shard.clone(),
            env: env.clone(),
        };
        Self {
            shard,
            failures: Arc::new(failures),
            held_state: held.watch(),
            machine: Machine::new(held.lease().has_ended()),
            checkpointer: Checkpointer::new(held.clone(), env.clone(), monitor.clone()),
            monitor,
            processor: None,
            reader: None,
            delivery: None,
            pieces: Pieces::default(),
            noted_start: None,
            children: Vec::new(),
            retry: Retry::new(
                env,
                parts.failures.policy.first_pause(),
                parts.failures.policy.longest_pause(),
            ),
            failing_since: None,
            stops_the_worker: false,
            log_limiter: LogLimiter::default(),
            drain_began: Arc::default(),
            parts,
            stream,
            held,
        }
    }

    /// What has to be told to the machine before the next step.
    fn interruption(&mut self) -> Option<Event> {
        match &*self.held_state.borrow_and_update() {
            HeldState::Lost(reason) => Some(Event::Lost(reason.clone()))
                .filter(|_| !matches!(self.machine.step(), Step::TellLoss(_) | Step::Finish)),
            HeldState::Draining { .. } if self.machine.heeds_drain() => Some(Event::DrainBegan),
            _ => None,
        }
    }

    async fn interrupted(&mut self) -> Event {
        loop {
            if let Some(event) = self.interruption() {
                return event;
            }
            if self.held_state.changed().await.is_err() {
                // The lease holds the other end, and this task holds the lease.
                return std::future::pending().await;
            }
        }
    }

    /// Waits while the shard is paused; what interrupted that.
    async fn paused(&mut self) -> Option<Event> {
        if !self.parts.pauses.has(self.held.key().as_str()) && !self.held.is_paused() {
            return None;
        }
        tracing::info!(shard = %self.shard, "paused");
        let is_left = self.parts.pauses.has_stream_of(self.held.key().as_str());
        let reason = is_left.then(|| NOT_NAMED.to_owned());
        self.monitor.enter(ShardState::Paused, reason);
        let (mut pauses, held) = (self.parts.pauses.clone(), self.held.clone());
        let key = held.key().clone();
        tokio::select! {
            biased;
            event = self.interrupted() => Some(event),
            () = pauses.resumed(key.as_str(), || held.is_paused()) => {
                tracing::info!(shard = %self.shard, "resumed");
                self.monitor.enter(ShardState::Processing, None);
                None
            }
        }
    }

    async fn perform(&mut self, step: Step) -> Event {
        if step == Step::AwaitBatch
            && let Some(interruption) = self.paused().await
        {
            return interruption;
        }
        match step {
            Step::AwaitParents => self.await_parents().await,
            Step::Initialize => self.initialize().await,
            Step::AwaitBatch => self.await_batch().await,
            Step::Process => self.process().await,
            // What failed is not tried again until the worker has got so far; then it is the lease that is given up.
            Step::Pause if self.stops_the_worker && self.machine.heeds_drain() => self.interrupted().await,
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
            Step::TellLoss(reason) => self.tell_loss(&reason).await,
            Step::Finish => Event::Succeeded,
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
        if self.log_limiter.may_log() {
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
