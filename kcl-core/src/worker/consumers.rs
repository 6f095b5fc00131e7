//! The consumers of a worker: started with its leases, followed to their ends.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{HeldLease, LeaseKey, LeaseWriteError, Membership, Metrics};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError as TaskError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::outcome::{Departure, Stopped};
use super::{Shared, Worker};
use crate::consumer::{CommonParts, PauseWatch, consume};
use crate::error::Error;
use crate::failure::Failures;
use crate::status::ShardMonitor;
use crate::streams::StreamsRead;

/// A consumer, which is ours and not the application's, panicked.
const PANICKED: &str = "consumer-panicked";
/// How long that is told.
const QUIET: Duration = Duration::from_secs(60);

/// The consumers of a worker: at most one at a time for each shard.
pub(super) struct Consumers {
    shared: Arc<Shared>,
    metrics: Metrics,
    streams: StreamsRead,
    common: CommonParts,
    tasks: JoinSet<()>,
    keys: BTreeMap<Id, LeaseKey>,
    /// Leases whose consumers panicked, being given up.
    letting_go: JoinSet<HeldLease>,
    /// When a panic of a consumer is no longer a problem.
    quiet_at: Option<Instant>,
    /// Leases acquired again while the consumer that lost them is still busy.
    waiting: BTreeMap<LeaseKey, HeldLease>,
    /// Tells consumers when leases are handed on that busy processors keep.
    pub(super) stopping: watch::Sender<Option<Instant>>,
    departed: Vec<Departure>,
}

/// A task that ended.
pub(super) enum Ended {
    Consumer(Result<(Id, ()), TaskError>),
    LetGo(Result<HeldLease, TaskError>),
    Quiet,
}

impl Consumers {
    pub(super) fn new(
        worker: &Worker,
        fleet: Membership,
        streams: StreamsRead,
        fatal: mpsc::UnboundedSender<Error>,
    ) -> Self {
        let stopping = watch::Sender::new(None);
        let common = CommonParts {
            fleet,
            factory: worker.factory.clone(),
            failures: Failures {
                policy: worker.config.processing.failure_policy.clone(),
                handler: worker.handler.clone(),
                dead_letters: worker.dead_letters.clone(),
                application: worker.shared.application.clone(),
                worker: worker.shared.worker_id.clone(),
                fatal,
            },
            drain_timeout: worker.config.drain_timeout(),
            pauses: PauseWatch::new(&worker.shared.pauses),
            stopping: stopping.subscribe(),
        };
        Self {
            shared: worker.shared.clone(),
            metrics: worker.config.fleet.metrics.clone(),
            streams,
            common,
            tasks: JoinSet::new(),
            keys: BTreeMap::new(),
            letting_go: JoinSet::new(),
            quiet_at: None,
            waiting: BTreeMap::new(),
            stopping,
            departed: Vec::new(),
        }
    }

    /// Those that are at work.
    pub(super) fn shards(&self) -> impl ExactSizeIterator<Item = &LeaseKey> {
        self.keys.values()
    }

    pub(super) fn take(&mut self, held: HeldLease) {
        tracing::info!(shard = %held.key(), token = %held.fencing_token(), "lease acquired");
        if self.keys.values().any(|key| key == held.key()) {
            tracing::warn!(shard = %held.key(), "its previous processor is still busy; waiting for it");
            self.waiting.insert(held.key().clone(), held);
        } else {
            self.start(held);
        }
    }

    fn start(&mut self, held: HeldLease) {
        let monitor = Arc::new(ShardMonitor::new(held.key().as_str(), self.metrics.clone()));
        // A number that was never told is missed on a dashboard.
        monitor.tell_stall(false);
        self.shared
            .shards()
            .insert(held.key().clone(), (held.clone(), monitor.clone()));
        let key = held.key().clone();
        let (streams, common) = (self.streams.clone(), self.common.clone());
        let task = self.tasks.spawn(async move {
            if let Some(stream) = streams.of_lease(&held, &monitor).await {
                consume(common, stream, held, monitor).await;
            }
        });
        self.keys.insert(task.id(), key);
    }

    /// The next task that ends.
    pub(super) async fn ended(&mut self) -> Ended {
        let quiet_at = self.quiet_at;
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next_with_id() => Ended::Consumer(ended),
            Some(ended) = self.letting_go.join_next() => Ended::LetGo(ended),
            () = sleep_until(quiet_at.unwrap_or_else(Instant::now)), if quiet_at.is_some() => Ended::Quiet,
            else => std::future::pending().await,
        }
    }

    pub(super) fn settle(&mut self, ended: Ended) {
        let (id, failure) = match ended {
            Ended::Quiet => {
                self.quiet_at = None;
                return self.shared.health.settle(PANICKED);
            }
            Ended::LetGo(Ok(held)) => return self.depart(&held),
            Ended::LetGo(Err(_)) => return,
            Ended::Consumer(Ok((id, ()))) => (id, None),
            Ended::Consumer(Err(error)) => (error.id(), Some(error)),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        let consumer = self.shared.shards().remove(&key);
        if let Some((_, monitor)) = &consumer {
            monitor.is_gone();
        }
        match (failure.filter(|failure| failure.is_panic()), consumer) {
            (Some(failure), Some((held, _))) => {
                let text = format!("the consumer of {key} panicked, and its lease is given up: {failure}");
                self.shared.health.raise(PANICKED, text);
                self.quiet_at = Some(Instant::now() + QUIET);
                self.letting_go.spawn(let_go(held));
            }
            (None, Some((held, _))) => self.depart(&held),
            (_, None) => {}
        }
        if let Some(held) = self.waiting.remove(&key) {
            self.start(held);
        }
    }

    fn depart(&mut self, held: &HeldLease) {
        if self.stopping.borrow().is_some() {
            let me = self.common.fleet.worker_id();
            self.departed.push(Departure::of(held, me, false));
        }
    }

    /// Waits until all consumers have given their leases up, but not for longer than until `deadline`.
    pub(super) async fn drain(&mut self, deadline: Instant) {
        self.waiting.clear();
        while !self.tasks.is_empty() || !self.letting_go.is_empty() {
            tokio::select! {
                biased;
                ended = self.ended() => self.settle(ended),
                () = sleep_until(deadline) => return,
            }
        }
    }

    /// Leaves the processors that are busy to themselves, or ends them; what became of all shards.
    pub(super) fn part(mut self, is_cut_short: bool) -> Stopped {
        let me = self.common.fleet.worker_id();
        for key in self.keys.values() {
            // A worker that begins the next stream has nothing to tell of it any more, and does not learn when the call is over.
            if let Some((held, monitor)) = self.shared.shards().remove(key) {
                monitor.is_gone();
                self.departed.push(Departure::of(&held, me, true));
            }
        }
        if is_cut_short {
            self.tasks.abort_all();
        } else {
            self.tasks.detach_all();
        }
        Stopped {
            shards: self.departed,
            is_cut_short,
        }
    }
}

/// Gives a lease up whose consumer is gone. Nobody processes it: where the table cannot be told, it must not be renewed.
async fn let_go(held: HeldLease) -> HeldLease {
    match AssertUnwindSafe(held.give_up()).catch_unwind().await {
        Ok(Ok(()) | Err(LeaseWriteError::Lost(_))) => {}
        Ok(Err(error)) => {
            tracing::warn!(shard = %held.key(), %error, "cannot give the lease up; letting go of it");
            held.forsake();
        }
        Err(_) => {
            tracing::warn!(shard = %held.key(), "giving the lease up panicked; letting go of it");
            held.forsake();
        }
    }
    held
}
