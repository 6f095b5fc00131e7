//! Where the shards of a worker and whoever takes their records meet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};

use kcl_lease::Activity;
use tokio::task::coop;
use tokio::time::sleep;

use super::delivery::Delivery;
use crate::adapters::shard::{Idle, LOOK, Outlet, Shard};

const NOBODY_TAKES: &str = "deliveries-dropped";

#[derive(Debug)]
pub(super) struct Hub {
    max_unacknowledged: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Shards that have records to be delivered, in turn; each stands here once at most.
    queue: VecDeque<Weak<Shard>>,
    unacknowledged: usize,
    /// Who waits for the next record.
    waiting: Option<Waker>,
    /// There will be no more shards.
    is_over: bool,
    /// Nobody takes records any more.
    is_abandoned: bool,
}

impl Hub {
    pub(super) fn new(max_unacknowledged: usize) -> Self {
        Self {
            max_unacknowledged,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes whoever waits for that.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }

    pub(super) fn poll_next(self: &Arc<Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        // Who never has to wait for a record would keep the thread for itself.
        let progress = ready!(coop::poll_proceed(context));
        loop {
            let shard = {
                let mut state = self.state();
                let has_room = state.unacknowledged < self.max_unacknowledged;
                match state.queue.front() {
                    Some(_) if has_room => state.queue.pop_front(),
                    None if state.is_over => return Poll::Ready(None),
                    _ => {
                        state.waiting = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                }
            };
            let Some(shard) = shard.and_then(|shard| shard.upgrade()) else {
                continue;
            };
            match shard.take() {
                Ok((started, has_more)) => {
                    let mut state = self.state();
                    state.unacknowledged += 1;
                    if has_more {
                        state.queue.push_back(Arc::downgrade(&shard));
                    }
                    drop(state);
                    progress.made_progress();
                    return Poll::Ready(Some(Delivery::new(started, shard, self.clone())));
                }
                Err(Idle::Waits) => self.queue_later(&shard),
                Err(Idle::Ends) => {}
            }
        }
    }

    fn queue(&self, shard: &Arc<Shard>) {
        let shard = Arc::downgrade(shard);
        self.change(|state| state.queue.push_back(shard));
    }

    /// Its lease was not renewed in time.
    fn queue_later(self: &Arc<Self>, shard: &Arc<Shard>) {
        let (hub, shard, runtime) = (self.clone(), Arc::downgrade(shard), shard.runtime().clone());
        runtime.spawn(async move {
            sleep(LOOK).await;
            if let Some(shard) = shard.upgrade() {
                hub.queue(&shard);
            }
        });
    }

    /// A record is acknowledged, or failed.
    pub(super) fn settled(&self) {
        self.change(|state| state.unacknowledged -= 1);
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.state().unacknowledged
    }

    /// Nobody takes records any more.
    pub(super) fn abandon(&self) {
        let mut state = self.state();
        state.is_abandoned = true;
        let shards = std::mem::take(&mut state.queue);
        drop(state);
        for shard in shards.iter().filter_map(Weak::upgrade) {
            tell_abandoned(&shard);
        }
    }
}

impl Outlet for Hub {
    fn offer(&self, shard: &Arc<Shard>) {
        if self.state().is_abandoned {
            return tell_abandoned(shard);
        }
        if shard.is_to_be_queued() {
            self.queue(shard);
        }
    }

    fn handling(&self) -> Activity {
        Activity {
            code: "record-failing",
            doing: "a delivered record",
        }
    }
}

fn tell_abandoned(shard: &Shard) {
    let text = "its records are not delivered: the stream of deliveries was dropped; keep it until the worker has stopped";
    shard
        .checkpointer
        .monitor()
        .handling_failed(NOBODY_TAKES, text.to_owned(), 1);
}

/// What the processors of a worker hold: when all of them and what makes them are gone, the stream is over.
pub(super) struct Source(Arc<Hub>);

impl Source {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self(hub)
    }

    pub(super) fn outlet(&self) -> Arc<dyn Outlet> {
        self.0.clone()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.0.change(|state| state.is_over = true);
    }
}
