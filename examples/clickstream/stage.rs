//! What everybody in a run shares: the time since its start, the books, and the view.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::ledger::{Delivery, Ledger, Ownership};
use crate::takeovers::{Cause, End, TakeOver, TakeOvers};
use crate::view::View;

#[derive(Debug)]
pub(crate) struct Stage {
    /// Marks the records of this run.
    pub(crate) run: u64,
    started: Instant,
    owners: AtomicU64,
    books: Mutex<Books>,
    view: View,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) ledger: Ledger,
    pub(crate) take_overs: TakeOvers,
}

impl Stage {
    pub(crate) fn new(run: u64, view: View) -> Self {
        Self {
            run,
            started: Instant::now(),
            owners: AtomicU64::new(0),
            books: Mutex::default(),
            view,
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Something worth a line.
    pub(crate) fn tell(&self, event: &str) {
        self.view.event(self.now(), event);
    }

    /// A processor was made.
    pub(crate) fn began(&self, worker: &str, shard: &str, parents: &[&str]) -> Ownership {
        let ownership = Ownership(self.owners.fetch_add(1, Ordering::Relaxed));
        let now = self.now();
        let mut books = self.books();
        let cause = books.take_overs.began(ownership, worker, shard, parents, now);
        books.ledger.began(ownership, worker, shard, cause);
        ownership
    }

    /// A processor was given a batch.
    pub(crate) fn delivered<'a>(
        &self,
        ownership: Ownership,
        shard: &str,
        batch: impl Iterator<Item = Delivery<'a>>,
    ) {
        let began = self.now();
        let take_over = {
            let mut books = self.books();
            for record in batch {
                books.ledger.delivered(ownership, &record);
            }
            books.take_overs.batch(ownership, shard, began, self.now())
        };
        if let Some(take_over) = take_over {
            self.tell(&sentence(&take_over));
        }
    }

    pub(crate) fn ended(&self, ownership: Ownership, shard: &str, end: End) {
        let mut books = self.books();
        books.take_overs.ended(ownership, shard, end);
        books.ledger.ended(ownership);
    }

    pub(crate) fn stopping(&self, worker: &str) {
        self.books().take_overs.stopping(worker);
    }

    pub(crate) fn killed(&self, worker: &str, at: Duration) {
        let mut books = self.books();
        books.take_overs.killed(worker, at);
        books.ledger.killed(worker);
    }
}

fn sentence(take_over: &TakeOver) -> String {
    let TakeOver {
        shard,
        from,
        to,
        cause,
        stall,
        ..
    } = take_over;
    let stall = stall.as_secs_f64();
    match from {
        Some(from) if *cause == Cause::Reshard => {
            format!("{to} began with {shard} {stall:.1} s after its parent at {from}")
        }
        Some(from) => format!("{to} took {shard} from {from} in {stall:.1} s ({cause})"),
        None => format!("{to} took {shard} after {stall:.1} s ({cause})"),
    }
}
