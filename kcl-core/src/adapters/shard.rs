//! One shard whose records are handled beside each other: what its calls, whoever takes its records, and its keeper share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_lease::{Activity, ExtendedSequenceNumber};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::failure::Failures;
use super::keyed::{HeldBack, Limits, Schedule, Started, Ticket};
use super::worker_bound::WorkerBound;
use crate::checkpointer::{CheckpointError, Checkpointer};
use crate::config::Reaction;
use crate::log_limiter::LogLimiter;
use crate::processor_error::ProcessorError;
use crate::record::{Record, RecordBatch};
use crate::record_failures::RecordFailures;

const CHECKPOINTING: Activity = Activity {
    code: "checkpoint-failing",
    doing: "a checkpoint",
};

/// A record that the worker stops for is not tried again until it has.
const LONGER_THAN_A_STOP: Duration = Duration::from_secs(24 * 60 * 60);

/// How often it is looked whether a lease that was not renewed in time is valid again.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Who takes the records of shards, and handles them.
pub(super) trait Outlet: Send + Sync {
    /// The shard may have records that can be started.
    fn offer(&self, shard: &Arc<Shard>);

    /// What fails when a record fails.
    fn handling(&self) -> Activity;
}

pub(super) struct Shard {
    state: Mutex<State>,
    pub(super) checkpointer: Checkpointer,
    /// What is done about records that fail; `None` outside of a worker, where they are repeated.
    failures: Option<Arc<dyn RecordFailures>>,
    outlet: Arc<dyn Outlet>,
    /// Of the worker.
    runtime: Handle,
    /// What all shards of the worker may have undone together, if that is bounded.
    worker_bound: Option<Arc<WorkerBound>>,
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
    /// Those that were not counted yet, and their bytes.
    uncounted: (u64, u64),
    /// How many handle records, or are about to look for one.
    takers: usize,
    /// What the call of the processor waits for.
    awaited: Option<Awaited>,
    /// Since when there has been something to tell: records that are done, and maybe a checkpoint to make.
    news_since: Option<Instant>,
    log_limiter: LogLimiter,
}

/// A record that is not done.
pub(super) struct Undone {
    pub(super) record: Record,
    failures: Option<Box<Failures>>,
}

impl Undone {
    /// How often it failed.
    pub(super) fn failed_attempts(&self) -> u32 {
        self.failures.as_ref().map_or(0, |failures| failures.attempts())
    }
}

/// Why there is no record to handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    /// The lease was not renewed in time, and another worker may be at work: it is to be looked again later.
    Waits,
    /// There is none.
    Ends,
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
        failures: Option<Arc<dyn RecordFailures>>,
        checkpoint_interval: Duration,
        worker_bound: Option<Arc<WorkerBound>>,
        outlet: Arc<dyn Outlet>,
    ) -> Arc<Self> {
        checkpointer.monitor().tells_records_itself();
        Arc::new(Self {
            state: Mutex::new(State {
                schedule: Schedule::new(limits),
                done: 0,
                uncounted: (0, 0),
                takers: 0,
                awaited: None,
                news_since: None,
                log_limiter: LogLimiter::default(),
            }),
            checkpointer,
            failures,
            outlet,
            runtime: Handle::current(),
            worker_bound,
            checkpoint_interval,
            call: Notify::new(),
            pauses: Notify::new(),
            news: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its tasks run, for those who are elsewhere.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Takes places for as many of so many records as may be admitted.
    pub(super) fn reserve(&self, records: usize) -> usize {
        let (room, undone) = {
            let state = self.state();
            (state.schedule.room(), state.schedule.undone())
        };
        let records = records.min(room);
        match &self.worker_bound {
            Some(bound) => bound.reserve(records, undone == 0),
            None => records,
        }
    }

    /// Waits until more may be admitted, or might be.
    pub(super) async fn until_roomy(&self) {
        self.until(Awaited::Room).await;
        if let Some(bound) = &self.worker_bound {
            tokio::select! {
                () = bound.freed() => {}
                // It may always have one.
                () = self.until(Awaited::Done) => {}
            }
        }
    }

    /// The position of the record that was admitted last.
    pub(super) fn last_admitted(&self) -> Option<ExtendedSequenceNumber> {
        self.state().schedule.last_admitted().cloned()
    }

    /// Takes in records with their keys, in their order, while there is room; how many it took. So many places were reserved.
    pub(super) fn admit(self: &Arc<Self>, reserved: usize, records: Vec<(u64, Record)>) -> usize {
        let taken = self.take_in(records, |schedule| schedule.room() > 0);
        if let Some(bound) = &self.worker_bound {
            bound.release(reserved - taken);
        }
        taken
    }

    /// Takes them in whether there is room or not.
    pub(super) fn admit_all(self: &Arc<Self>, records: Vec<(u64, Record)>) {
        // Before any of them is done.
        if let Some(bound) = &self.worker_bound {
            bound.force(records.len());
        }
        self.take_in(records, |_| true);
    }

    fn take_in(
        self: &Arc<Self>,
        records: Vec<(u64, Record)>,
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
        self.offer();
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

    /// There may be records that can be started.
    pub(super) fn offer(self: &Arc<Self>) {
        self.outlet.offer(self);
    }

    /// How many more could handle a record now. They count as there from now on.
    pub(super) fn more_takers(&self) -> usize {
        let mut state = self.state();
        let looking = state.takers - state.schedule.under_way();
        let more = state.schedule.startable().saturating_sub(looking);
        state.takers += more;
        more
    }

    /// The next record for one that handles it before it looks again. Where there is none, it counts as gone.
    pub(super) fn next(&self) -> Result<Started<Undone>, Idle> {
        let is_valid = self.checkpointer.is_lease_valid();
        let mut state = self.state();
        if !is_valid && state.schedule.startable() > 0 {
            return Err(Idle::Waits);
        }
        state.schedule.start().ok_or_else(|| {
            state.takers -= 1;
            Idle::Ends
        })
    }

    /// Whether somebody who takes one record after another has to look here from now on, and did not before.
    pub(super) fn is_to_be_queued(&self) -> bool {
        let mut state = self.state();
        let is_new = state.takers == 0 && state.schedule.startable() > 0;
        state.takers += usize::from(is_new);
        is_new
    }

    /// The next record for somebody who takes one after another, and whether there is one behind it. Where there is none, nobody looks
    /// here any more.
    pub(super) fn take(&self) -> Result<(Started<Undone>, bool), Idle> {
        let is_valid = self.checkpointer.is_lease_valid();
        let mut state = self.state();
        if !is_valid && state.schedule.startable() > 0 {
            return Err(Idle::Waits);
        }
        let started = state.schedule.start();
        let has_more = state.schedule.startable() > 0;
        state.takers = usize::from(has_more);
        started.map(|started| (started, has_more)).ok_or(Idle::Ends)
    }

    pub(super) fn done(&self, ticket: Ticket, content: Undone) {
        {
            let mut state = self.state();
            state.done += 1;
            state.uncounted.0 += 1;
            state.uncounted.1 += content.record.data().len() as u64;
        }
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
        if let Some(bound) = &self.worker_bound {
            bound.release(1);
        }
    }

    pub(super) async fn failed(&self, ticket: Ticket, mut content: Undone, error: &ProcessorError) {
        let handling = self.outlet.handling();
        let env = self.checkpointer.env();
        let own = content.failures.get_or_insert_with(|| {
            let policy = self.failures.as_ref().map(|failures| failures.policy().clone());
            Box::new(Failures::new(env.clone(), &policy.unwrap_or_default()))
        });
        let done = self.state().done;
        let (failure, mut pause) = own.add(done);
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
            (Reaction::Stop, Some(failures)) => {
                failures.stop(handling.doing, error);
                pause = LONGER_THAN_A_STOP;
            }
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
            handling.doing,
            error.chain()
        );
        if state.log_limiter.may_log() {
            let shard = self.checkpointer.shard();
            tracing::warn!(%shard, code = handling.code, attempts, "{text}");
        }
        self.checkpointer
            .monitor()
            .handling_failed(handling.code, text, attempts);
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
        let (watermark, (records, bytes)) = {
            let mut state = self.state();
            let uncounted = std::mem::take(&mut state.uncounted);
            (state.schedule.watermark().cloned(), uncounted)
        };
        self.checkpointer.monitor().handled(records, bytes);
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
            self.offer();
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

impl Drop for Shard {
    fn drop(&mut self) {
        if let Some(bound) = &self.worker_bound {
            // They are another worker's.
            bound.release(self.state().schedule.undone());
        }
    }
}

async fn sleep_until_some(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
