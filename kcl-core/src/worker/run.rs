//! A worker's life: join, process what is assigned, drain, leave.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{Activity, Fleet, HeldLease, JoinError, LeaseKey, StreamIdentity};
use tokio::sync::{Notify, mpsc};
use tokio::task::{Id, JoinError as TaskError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::status::WorkerPhase;
use super::{Shared, Worker};
use crate::aws::ErrorClass;
use crate::config::OtherStream;
use crate::consumer::{ConsumerParts, ShardMonitor, consume};
use crate::error::Error;
use crate::retrieval::Budget;
use crate::retry::Retry;
use crate::stream::{Discovery, LeasesOfAnother};

const JOINING: Activity = Activity {
    code: "joining-failing",
    doing: "joining the fleet",
};

/// The stream's description is not asked for more often, whatever fails.
const RECOGNITION_PAUSE: Duration = Duration::from_secs(10);

/// How much longer than a single processor may take to drain the worker waits for all of them.
const AFTER_DRAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(worker: Worker, stop: impl Future<Output = ()>) -> Result<(), Error> {
    let mut asked = worker.shared.stop.subscribe();
    let stop = async {
        tokio::select! {
            biased;
            () = stop => {}
            // The worker holds the sender, so waiting cannot fail.
            _ = asked.wait_for(|asked| *asked) => {}
        }
    };
    let mut stop = pin!(stop);

    loop {
        match run_on_one_stream(&worker, &mut stop).await? {
            End::Stopped => return Ok(()),
            End::StreamChanged => tracing::info!("begins with the new stream"),
        }
    }
}

/// Why a worker left its fleet.
#[derive(Debug)]
enum End {
    Stopped,
    /// The stream was made anew, and is to be begun with.
    StreamChanged,
}

/// What happened while a worker ran.
enum Turn {
    ToldToStop,
    Superseded,
    OtherStream(StreamIdentity),
}

async fn run_on_one_stream<S: Future<Output = ()>>(
    worker: &Worker,
    stop: &mut Pin<&mut S>,
) -> Result<End, Error> {
    let joined = tokio::select! {
        biased;
        () = &mut *stop => return Ok(End::Stopped),
        joined = join(worker) => joined?,
    };
    let (fleet, mut acquired, stream) = joined;
    *worker.shared.fleet() = Some(fleet.clone());
    worker.shared.phase.send_replace(WorkerPhase::Running);
    tracing::info!(worker = %worker.shared.worker_id, stream = %worker.shared.stream, "worker started");

    let discovery = Discovery {
        store: fleet.store().clone(),
        ..worker.discovery.clone()
    };
    let leading = fleet.clone();
    let duties = discovery.clone();
    let discovering = AbortOnDropHandle::new(tokio::spawn(async move { duties.run(&leading).await }));
    let mut consumers = Consumers::new(worker, discovery.clone(), fleet.clone());
    let mut other = pin!(recognise(worker, &stream, &discovery.doubt));
    let turn = loop {
        tokio::select! {
            biased;
            () = &mut *stop => break Turn::ToldToStop,
            () = fleet.superseded() => break Turn::Superseded,
            now = &mut other => break Turn::OtherStream(now),
            Some(ended) = consumers.tasks.join_next_with_id() => consumers.ended(ended).await,
            Some(held) = acquired.recv() => consumers.take(held),
        }
    };

    worker.shared.phase.send_replace(WorkerPhase::Stopping);
    tracing::info!(worker = %worker.shared.worker_id, shards = consumers.tasks.len(), "worker stops");
    fleet.prepare_to_leave().await;
    consumers.drain(worker.drain_timeout + AFTER_DRAIN).await;
    drop(discovering);
    fleet.leave().await;
    tracing::info!(worker = %worker.shared.worker_id, "worker stopped");
    match turn {
        Turn::ToldToStop => Ok(End::Stopped),
        Turn::Superseded => Err(Error::Superseded {
            worker_id: worker.shared.worker_id.clone(),
        }),
        Turn::OtherStream(_) if worker.recognition.policy == OtherStream::BeginAnew => {
            worker.shared.phase.send_replace(WorkerPhase::Starting);
            Ok(End::StreamChanged)
        }
        Turn::OtherStream(now) => Err(Error::OtherStream(
            LeasesOfAnother {
                ours: now.to_string(),
                evidence: format!("they were made for {stream}, which is gone"),
            }
            .to_string(),
        )),
    }
}

/// Completes when the stream is not the one any more that this worker began with.
///
/// It is asked whenever reads fail in a way that this would explain, and now and then by the leader.
async fn recognise(worker: &Worker, began_with: &StreamIdentity, doubt: &Notify) -> StreamIdentity {
    loop {
        doubt.notified().await;
        match worker.recognition.identity().await {
            Ok(now) if !now.may_be(began_with) => {
                tracing::error!(before = %began_with, %now, "the stream was deleted and made anew");
                return now;
            }
            Ok(_) => {}
            Err(_) => doubt.notify_one(),
        }
        sleep(RECOGNITION_PAUSE).await;
    }
}

/// Joins the fleet, if its leases are of the stream that this worker reads; a failure that may pass is shown and retried.
async fn join(worker: &Worker) -> Result<(Fleet, mpsc::UnboundedReceiver<HeldLease>, StreamIdentity), Error> {
    let env = &worker.discovery.env;
    let pauses = || Retry::new(env.clone(), Duration::from_millis(250), Duration::from_secs(10));
    let (probed, stream) = tokio::join!(
        worker.discovery.stream.probe(),
        worker.recognition.identity_at_start(pauses())
    );
    if let Err(error) = probed {
        match error.class {
            ErrorClass::NotFound | ErrorClass::AccessDenied | ErrorClass::InvalidArgument => {
                return Err(Error::Stream {
                    stream: worker.shared.stream.clone(),
                    reason: error.to_string(),
                });
            }
            _ => tracing::warn!(%error, "cannot look at the stream yet"),
        }
    }
    let mut retry = pauses();
    let recorded = Mutex::new(None);
    let admission = |store, found: Option<StreamIdentity>| {
        (*recorded.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&found);
        worker.recognition.admit(&stream, store, found).boxed()
    };
    loop {
        let joining = Fleet::join_if(
            worker.store.clone(),
            worker.fleet.clone(),
            env.clone(),
            &admission,
        );
        match joining.await {
            Ok((fleet, acquired)) => {
                worker.shared.health.succeeded(JOINING);
                if stream.created_at.is_none() {
                    worker.discovery.doubt.notify_one();
                }
                let recorded = recorded.into_inner().unwrap_or_else(PoisonError::into_inner);
                let known =
                    recorded.filter(|recorded| stream.created_at.is_none() && recorded.may_be(&stream));
                return Ok((fleet, acquired, known.unwrap_or(stream)));
            }
            Err(JoinError::Refused(reason)) => return Err(Error::OtherStream(reason.to_string())),
            Err(JoinError::Store(error)) if error.is_retryable() => {
                worker.shared.health.failed(JOINING, &error);
                sleep(retry.pause()).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Completes at ctrl-c or SIGTERM.
pub(super) fn signal() -> Result<impl Future<Output = ()>, Error> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(async move {
            tokio::select! {
                biased;
                _ = terminate.recv() => tracing::info!("told to stop by SIGTERM"),
                _ = interrupt.recv() => tracing::info!("told to stop by ctrl-c"),
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            if let Err(error) = tokio::signal::ctrl_c().await {
                tracing::warn!(%error, "ctrl-c cannot be received");
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Ends the worker when it, or the future that runs it, is dropped.
pub(super) struct Alive(pub(super) Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(fleet) = self.0.fleet().take() {
            fleet.abandon();
        }
        self.0.shards().clear();
        self.0.phase.send_replace(WorkerPhase::Stopped);
    }
}

/// The consumers of a worker: at most one at a time for each shard.
struct Consumers {
    shared: Arc<Shared>,
    parts: ConsumerParts,
    tasks: JoinSet<()>,
    keys: BTreeMap<Id, LeaseKey>,
    /// Leases acquired again while the consumer that lost them is still busy.
    waiting: BTreeMap<LeaseKey, HeldLease>,
}

impl Consumers {
    fn new(worker: &Worker, discovery: Discovery, fleet: Fleet) -> Self {
        let parts = ConsumerParts {
            fleet,
            discovery,
            factory: worker.factory.clone(),
            polling: worker.polling.clone(),
            budget: Budget::new(worker.prefetch_bytes),
            failure_policy: worker.failure_policy,
            drain_timeout: worker.drain_timeout,
        };
        Self {
            shared: worker.shared.clone(),
            parts,
            tasks: JoinSet::new(),
            keys: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn take(&mut self, held: HeldLease) {
        tracing::info!(shard = %held.key(), token = %held.fencing_token(), "lease acquired");
        if self.keys.values().any(|key| key == held.key()) {
            tracing::warn!(shard = %held.key(), "its previous processor is still busy; waiting for it");
            self.waiting.insert(held.key().clone(), held);
        } else {
            self.start(held);
        }
    }

    fn start(&mut self, held: HeldLease) {
        let monitor = Arc::new(ShardMonitor::new());
        self.shared
            .shards()
            .insert(held.key().clone(), (held.clone(), monitor.clone()));
        let key = held.key().clone();
        let task = self.tasks.spawn(consume(self.parts.clone(), held, monitor));
        self.keys.insert(task.id(), key);
    }

    async fn ended(&mut self, outcome: Result<(Id, ()), TaskError>) {
        let (id, failure) = match outcome {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(key) = self.keys.remove(&id) else { return };
        let consumer = self.shared.shards().remove(&key);
        if let (Some(failure), Some((held, _))) = (failure.filter(|failure| failure.is_panic()), consumer) {
            tracing::error!(shard = %key, %failure, "the shard's consumer failed; giving its lease up");
            if let Err(error) = held.give_up().await {
                tracing::warn!(shard = %key, %error, "cannot give the lease up");
            }
        }
        if let Some(held) = self.waiting.remove(&key) {
            self.start(held);
        }
    }

    /// Waits until all consumers have given their leases up, but not for longer than `patience`.
    async fn drain(&mut self, patience: Duration) {
        self.waiting.clear();
        let deadline = Instant::now() + patience;
        loop {
            tokio::select! {
                biased;
                ended = self.tasks.join_next_with_id() => match ended {
                    Some(ended) => self.ended(ended).await,
                    None => return,
                },
                () = sleep_until(deadline) => {
                    tracing::warn!(shards = ?self.keys.values().collect::<Vec<_>>(), "processors are still busy; stopping without them");
                    self.tasks.abort_all();
                    return;
                }
            }
        }
    }
}
