//! One shard whose records are handled beside each other: what its calls, its runners and its keeper share.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{Activity, ExtendedSequenceNumber};
use tokio::sync::{Notify, Semaphore};
use tokio::task::coop;
use tokio::time::{Instant, sleep, sleep_until};

use super::failure::Failures;
use super::handler::RecordHandler;
use super::keyed::{HeldBack, Limits, Schedule, Started, Ticket};
use crate::checkpointer::{CheckpointError, Checkpointer};
use crate::config::Reaction;
use crate::log_limiter::LogLimiter;
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};
use crate::record_failures::RecordFailures;

const HANDLING: Activity = Activity {
    code: "record-failing",
    doing: "the handler of a record",
};
const CHECKPOINTING: Activity = Activity {
    code: "checkpoint-failing",
    doing: "a checkpoint",
};

/// How often a runner looks whether a lease that was not renewed in time is valid again.
const LOOK: Duration = Duration::from_millis(100);

/// Starts a task that handles records of the shard as long as there are some.
pub(super) type SpawnRunner = dyn Fn(Arc<Shard>) + Send + Sync;

pub(super) struct Shard {
    state: Mutex<State>,
    pub(super) checkpointer: Checkpointer,
    /// What all shards of a worker have together, if that is bounded.
    permits: Option<Arc<Semaphore>>,
    /// What is done about records that fail; `None` outside of a worker, where they are repeated.
    failures: Option<Arc<dyn RecordFailures>>,
    spawn_runner: Arc<SpawnRunner>,
    checkpoint_interval: Duration,
    /// Told when what a call of the processor waits for is so. There is one call at a time.
    call: Notify,
    /// Told when a record pauses.
    pauses: Notify,
    /// Told when there is something new to checkpoint.
    news: Notify,
}

struct State {
    schedule: Schedule<Undone>,
    /// Records that were done.
    done: u64,
    /// Tasks that handle records, or are about to look for one.
    runners: usize,
    /// What the call of the processor waits for.
    awaited: Option<Awaited>,
    /// Since when there has been something to tell: records that are done, and maybe a checkpoint to make.
    news_since: Option<Instant>,
    log_limiter: LogLimiter,
}

/// A record that is not done.
pub(super) struct Undone {
    record: Record,
    failures: Option<Box<Failures>>,
}

impl HeldBack for Undone {
    fn held_back(&mut self) {
        self.record.set_apart();
    }
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// There is room for more.
    Room,
    /// Nothing is under way.
    Quiet,
    /// All is done.
    Done,
}

impl State {
    fn is_so(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Room => self.schedule.is_roomy(),
            Awaited::Quiet => self.schedule.under_way() == 0,
            Awaited::Done => self.schedule.undone() == 0,
        }
    }
}

impl Shard {
    pub(super) fn new(
        checkpointer: Checkpointer,
        limits: Limits,
        permits: Option<Arc<Semaphore>>,
        failures: Option<Arc<dyn RecordFailures>>,
        checkpoint_interval: Duration,
        spawn_runner: Arc<SpawnRunner>,
    ) -> Arc<Self> {
        checkpointer.monitor().tells_records_itself();
        Arc::new(Self {
            state: Mutex::new(State {
                schedule: Schedule::new(limits),
                done: 0,
                runners: 0,
                awaited: None,
                news_since: None,
                log_limiter: LogLimiter::default(),
            }),
            checkpointer,
            permits,
            failures,
            spawn_runner,
            checkpoint_interval,
            call: Notify::new(),
            pauses: Notify::new(),
            news: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many records may be admitted.
    pub(super) fn room(&self) -> usize {
        self.state().schedule.room()
    }

    /// The position of the record that was admitted last.
    pub(super) fn last_admitted(&self) -> Option<ExtendedSequenceNumber> {
        self.state().schedule.last_admitted().cloned()
    }

    /// Takes in records with their keys, in their order, while there is room; how many it took.
    pub(super) fn admit(self: &Arc<Self>, records: impl Iterator<Item = (u64, Record)>) -> usize {
        self.take_in(records, |schedule| schedule.room() > 0)
    }

    /// Takes them in whether there is room or not.
    pub(super) fn admit_all(self: &Arc<Self>, records: impl Iterator<Item = (u64, Record)>) {
        self.take_in(records, |_| true);
    }

    fn take_in(
        self: &Arc<Self>,
        records: impl Iterator<Item = (u64, Record)>,
        may_go_on: impl Fn(&Schedule<Undone>) -> bool,
    ) -> usize {
        let mut state = self.state();
        let was_idle = state.schedule.undone() == 0;
        let mut taken = 0;
        for (key, record) in records {
            if !may_go_on(&state.schedule) {
                break;
            }
            let position = record.position().clone();
            let undone = Undone {
                record,
                failures: None,
            };
            state.schedule.admit(key, &position, undone);
            taken += 1;
        }
        if was_idle && taken > 0 {
            self.checkpointer.monitor().records_are_undone(true);
        }
        drop(state);
        self.run();
        taken
    }

    /// Waits for something.
    pub(super) async fn until(&self, awaited: Awaited) {
        loop {
            {
                let mut state = self.state();
                if state.is_so(awaited) {
                    state.awaited = None;
                    return;
                }
                state.awaited = Some(awaited);
            }
            self.call.notified().await;
        }
    }

    /// Whether this is so now.
    pub(super) fn is_so(&self, awaited: Awaited) -> bool {
        self.state().is_so(awaited)
    }

    /// Starts no record any more.
    pub(super) fn stop(&self) {
        self.state().schedule.stop();
    }

    /// Starts as many runners as have something to do.
    fn run(self: &Arc<Self>) {
        let more = {
            let mut state = self.state();
            let looking = state.runners - state.schedule.under_way();
            let more = state.schedule.startable().saturating_sub(looking);
            state.runners += more;
            more
        };
        for _ in 0..more {
            (self.spawn_runner)(self.clone());
        }
    }

    /// Handles records until there is none to be started.
    pub(super) async fn handle<H>(self: Arc<Self>, handler: H)
    where
        H: for<'a> RecordHandler<'a>,
    {
        loop {
            // Given back after each record: whoever waits for it, in whatever shard, comes first.
            let permit = match &self.permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            let Started { ticket, content } = match self.next() {
                Ok(started) => started,
                Err(Idle::Waits) => {
                    drop(permit);
                    sleep(LOOK).await;
                    continue;
                }
                Err(Idle::Ends) => return,
            };
            let call = async { handler.clone()(&content.record).await };
            match AssertUnwindSafe(call).catch_unwind().await {
                Ok(Ok(())) => self.done(ticket, content),
                Ok(Err(error)) => self.failed(ticket, content, &error).await,
                Err(panic) => {
                    self.failed(ticket, content, &ProcessorError::from_panic(panic))
                        .await;
                }
            }
            drop(permit);
            // Handlers that never wait would keep the thread for themselves.
            coop::consume_budget().await;
        }
    }

    fn next(&self) -> Result<Started<Undone>, Idle> {
        let is_valid = self.checkpointer.is_lease_valid();
        let mut state = self.state();
        if !is_valid && state.schedule.startable() > 0 {
            return Err(Idle::Waits);
        }
        state.schedule.start().ok_or_else(|| {
            state.runners -= 1;
            Idle::Ends
        })
    }

    fn done(&self, ticket: Ticket, content: Undone) {
        self.state().done += 1;
        self.leave_behind(ticket, content);
    }

    /// The record is done, or given up.
    fn leave_behind(&self, ticket: Ticket, content: Undone) {
        let mut state = self.state();
        state.schedule.done(ticket);
        if content.failures.is_some() && state.schedule.failing_keys() == 0 {
            self.checkpointer.monitor().handling_recovered();
            state.log_limiter.reset();
        }
        if state.schedule.undone() == 0 {
            self.checkpointer.monitor().records_are_undone(false);
        }
        if state.news_since.is_none() {
            state.news_since = Some(Instant::now());
            self.news.notify_one();
        }
        self.tell_call(&mut state);
        // What the record holds is given back without the lock.
        drop(state);
        drop(content);
    }

    async fn failed(&self, ticket: Ticket, mut content: Undone, error: &ProcessorError) {
        let env = self.checkpointer.env();
        let own = content.failures.get_or_insert_with(|| {
            let policy = self.failures.as_ref().map(|failures| failures.policy().clone());
            Box::new(Failures::new(env.clone(), &policy.unwrap_or_default()))
        });
        let done = self.state().done;
        let (failure, pause) = own.add(done);
        let attempts = failure.attempts;
        let is_proven = own.is_proven();
        let reaction = self.failures.as_ref().map_or(Reaction::Repeat, |failures| {
            let alone = RecordBatch::new(vec![content.record.clone()], None, false, env.now());
            failures.react(&failure, &alone, error)
        });
        let mut note = String::new();
        match (reaction, &self.failures) {
            (Reaction::Skip, _) => {
                tracing::error!(
                    shard = %self.checkpointer.shard(), error = %error.chain(), record = ?content.record,
                    "skipping what fails while the rest does not, as the failure policy says"
                );
                self.checkpointer.monitor().skipped(1);
                return self.leave_behind(ticket, content);
            }
            (Reaction::DeadLetter, Some(failures)) => {
                let record = std::slice::from_ref(&content.record);
                match failures.give_up(&failure, error, record).await {
                    Ok(()) => {
                        self.checkpointer.monitor().dead_lettered(1);
                        return self.leave_behind(ticket, content);
                    }
                    Err(refused) => note = format!(" (and {refused})"),
                }
            }
            (Reaction::Stop, Some(failures)) => failures.stop(HANDLING.doing, error),
            (Reaction::Probe, _) if !is_proven => {
                note = " (not given up: no other record of the shard went through meanwhile, so it may be the sink)".to_owned();
            }
            _ => {}
        }
        let record = &content.record;
        let (key, at) = (record.partition_key().to_owned(), record.position().clone());
        let mut state = self.state();
        state.schedule.failed(ticket, content, Instant::now() + pause);
        let (keys, held_back) = (state.schedule.failing_keys(), state.schedule.held_back());
        let text = format!(
            "{} fails: {}{note} (record {at} of the key {key:?}; {held_back} records are held back by {keys} failing keys)",
            HANDLING.doing,
            error.chain()
        );
        if state.log_limiter.may_log() {
            let shard = self.checkpointer.shard();
            tracing::warn!(%shard, code = HANDLING.code, attempts, "{text}");
        }
        self.checkpointer
            .monitor()
            .handling_failed(HANDLING.code, text, attempts);
        if reaction == Reaction::Release {
            self.checkpointer.monitor().gives_up();
        }
        self.tell_call(&mut state);
        drop(state);
        self.pauses.notify_one();
    }

    fn tell_call(&self, state: &mut State) {
        if state.awaited.is_some_and(|awaited| state.is_so(awaited)) {
            state.awaited = None;
            self.call.notify_one();
        }
    }

    /// Checkpoints behind the last record up to which all are done.
    pub(super) async fn checkpoint(&self) -> Result<(), CheckpointError> {
        let watermark = self.state().schedule.watermark().cloned();
        match watermark {
            Some(watermark) => self.checkpointer.checkpoint_at_position(watermark).await,
            None => Ok(()),
        }
    }

    /// What has to be done with time, for as long as the shard is processed: records are repeated, and checkpoints made.
    pub(super) async fn keep(self: Arc<Self>) {
        tokio::join!(self.repeat_in_time(), self.checkpoint_in_time());
    }

    async fn repeat_in_time(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                state.schedule.wake(Instant::now());
                state.schedule.next_wake()
            };
            self.run();
            tokio::select! {
                biased;
                () = self.pauses.notified() => {}
                () = sleep_until_some(next) => {}
            }
        }
    }

    async fn checkpoint_in_time(&self) {
        let mut attempts = 0;
        loop {
            let since = self.state().news_since;
            let Some(since) = since else {
                self.news.notified().await;
                continue;
            };
            sleep_until(since + self.checkpoint_interval).await;
            {
                let mut state = self.state();
                state.news_since = None;
                state.schedule.shrink();
            }
            match self.checkpoint().await {
                Ok(()) => {
                    self.checkpointer.monitor().records_done();
                    let is_failing = self.state().schedule.failing_keys() > 0;
                    if std::mem::take(&mut attempts) > 0 && !is_failing {
                        self.checkpointer.monitor().handling_recovered();
                    }
                }
                // The processor is told, too.
                Err(CheckpointError::LeaseLost(_)) => return,
                Err(error) => {
                    attempts += 1;
                    let mut state = self.state();
                    state.news_since.get_or_insert_with(Instant::now);
                    let text = format!("{} fails: {error}", CHECKPOINTING.doing);
                    if state.log_limiter.may_log() {
                        let shard = self.checkpointer.shard();
                        tracing::warn!(%shard, code = CHECKPOINTING.code, attempts, "{text}");
                    }
                    self.checkpointer
                        .monitor()
                        .handling_failed(CHECKPOINTING.code, text, attempts);
                }
            }
        }
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Why a runner has no record to handle.
enum Idle {
    /// The lease was not renewed in time, and another worker may be at work: it looks again later.
    Waits,
    /// There is none, and it ends.
    Ends,
}
