//! A worker's life: join, process what is assigned, drain, leave.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use kcl_lease::{Activity, Broken, HeldLease, JoinError, LeaseKey, Membership, StreamIdentity, Timers};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinError as TaskError;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::consumers::Consumers;
use super::outcome::Stopped;
use super::stop::StopTimes;
use super::{Shared, Worker, gauges, watchdog};
use crate::aws::{CallError, ErrorClass};
use crate::config::OtherStream;
use crate::error::Error;
use crate::leading::Leading;
use crate::memory::Budget;
use crate::retry::Retry;
use crate::status::{Vitals, WorkerPhase};
use crate::stream::{LeaseCreation, LeasesOfAnother};
use crate::trouble::watch_over;

const JOINING: Activity = Activity {
    code: "joining-failing",
    doing: "joining the fleet",
};

const LOOKING: Activity = Activity {
    code: "stream-failing",
    doing: "looking at the stream",
};

/// The longest pause between two questions for the stream's description. The first pauses are shorter, beginning with a second, unless
/// questions have kept coming.
const RECOGNITION_PAUSE: Duration = Duration::from_secs(10);

/// Answers in a row that may be lost without a word.
const UNMENTIONED: u32 = 2;

/// There is no such stream.
const GONE: &str = "stream-not-found";
/// Why a worker left its fleet.
enum End {
    ToldToStop,
    /// The stream was made anew.
    OtherStream(StreamIdentity),
    /// Another process was started under its name.
    Superseded,
    /// The failure policy says so.
    Fatal(Error),
    Broken(Broken),
}

pub(super) async fn run(
    worker: Worker,
    stop: impl Future<Output = ()>,
    cut_short: impl Future<Output = ()>,
) -> Result<Stopped, Error> {
    let mut asked = worker.shared.stop.subscribe();
    let stop = async {
        tokio::select! {
            biased;
            () = stop => {}
            // The worker holds the sender, so waiting cannot fail.
            _ = asked.wait_for(|asked| *asked) => {}
        }
    };
    let (mut stop, mut cut_short) = (pin!(stop), pin!(cut_short));
    loop {
        let joined = tokio::select! {
            biased;
            () = &mut stop => return Ok(Stopped::default()),
            joined = join(&worker) => joined?,
        };
        let read = joined.stream.clone();
        let (end, stopped) = work(&worker, joined, &mut stop, &mut cut_short).await;
        match end {
            End::ToldToStop => return Ok(stopped),
            End::OtherStream(_) if worker.recognition.policy == OtherStream::BeginAnew => {
                worker.shared.phase.send_replace(WorkerPhase::Starting);
            }
            End::OtherStream(now) => return Err(LeasesOfAnother::gone(&read, &now).into()),
            End::Superseded => {
                let worker_id = worker.shared.worker_id.to_string();
                return Err(Error::Superseded { worker_id });
            }
            End::Fatal(error) => return Err(error),
            End::Broken(broken) => return Err(Error::Broken(broken)),
        }
    }
}

/// Works as a member of the fleet until something ends that, and leaves it.
async fn work<S: Future<Output = ()>, C: Future<Output = ()>>(
    worker: &Worker,
    joined: Joined,
    stop: &mut Pin<&mut S>,
    cut_short: &mut Pin<&mut C>,
) -> (End, Stopped) {
    let Joined {
        fleet,
        mut acquired,
        stream,
    } = joined;
    *worker.shared.fleet() = Some(fleet.clone());
    worker.shared.phase.send_replace(WorkerPhase::Running);
    tracing::info!(worker = %worker.shared.worker_id, stream = %worker.shared.stream, "worker started");

    let creation = LeaseCreation {
        stream: worker.stream.clone(),
        identity: stream.clone(),
        store: fleet.store().clone(),
        env: worker.env.clone(),
        initial: worker.config.retrieval.initial_position,
        doubt: worker.doubt.clone(),
    };
    let shard_ended = Arc::new(Notify::new());
    let leading = Leading {
        fleet: fleet.clone(),
        creation: creation.clone(),
        audit_interval: worker.config.leases.audit_interval,
        cleanup_interval: worker.config.leases.cleanup_interval,
        health: worker.shared.health.clone(),
        shard_ended: shard_ended.clone(),
    };
    let watching = watch_over(
        fleet.clone(),
        worker.stream.clone(),
        worker.shared.health.clone(),
        Timers::of(worker.config.fleet.failover_time),
        vitals_of(&worker.shared),
    );
    let watchdog = watchdog::watch(Arc::downgrade(&worker.shared), worker.stall_hook.clone());
    let budget = Budget::new(worker.config.retrieval.prefetch_bytes_per_worker);
    let metrics = worker.config.fleet.metrics.clone();
    let gauges = gauges::tell(Arc::downgrade(&worker.shared), metrics, budget.clone());
    // None of them ever returns.
    let mut on_duty = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(leading.run(), watching, watchdog, gauges);
    }));
    let (fatal, mut fatalities) = mpsc::unbounded_channel();
    let mut consumers = Consumers::new(worker, fleet.clone(), creation, shard_ended, fatal, budget);
    let mut other = pin!(recognise(worker, &stream));
    let end = loop {
        tokio::select! {
            biased;
            () = &mut *stop => break End::ToldToStop,
            broken = fleet.broken() => break End::Broken(broken),
            ended = &mut on_duty => break End::Broken(broken_by(ended)),
            () = fleet.superseded() => break End::Superseded,
            now = &mut other => break End::OtherStream(now),
            Some(error) = fatalities.recv() => break End::Fatal(error),
            ended = consumers.ended() => consumers.settle(ended),
            Some(held) = acquired.recv() => consumers.take(held),
        }
    };

    worker.shared.phase.send_replace(WorkerPhase::Stopping);
    tracing::info!(worker = %worker.shared.worker_id, shards = consumers.shards().len(), "worker stops");
    // What broke may break again.
    let leaving = AssertUnwindSafe(leave(worker, &fleet, &mut consumers)).catch_unwind();
    let is_cut_short = tokio::select! {
        biased;
        () = &mut *cut_short => true,
        left = leaving => {
            if left.is_err() {
                tracing::error!("leaving panicked; what could not be given up expires");
            }
            false
        }
    };
    drop(on_duty);
    let stopped = consumers.part(is_cut_short);
    for departure in &stopped.shards {
        tracing::info!(worker = %worker.shared.worker_id, "{departure}");
    }
    tracing::info!(worker = %worker.shared.worker_id, is_cut_short, "worker stopped");
    (end, stopped)
}

/// Leaves in good order, as far as there is time.
async fn leave(worker: &Worker, fleet: &Membership, consumers: &mut Consumers) {
    let times = StopTimes::new(
        Instant::now(),
        worker.config.drain_timeout(),
        worker.config.processing.stop_timeout,
    );
    consumers.stopping.send_replace(Some(times.calls));
    let draining = async {
        tokio::join!(
            fleet.prepare_to_leave(times.naming),
            consumers.drain(times.drained)
        )
    };
    if timeout_at(times.drained, draining).await.is_err() {
        tracing::warn!(
            shards = ?consumers.shards().collect::<Vec<_>>(),
            "processors, or the lease table, are still busy; stopping without them"
        );
    }
    if timeout_at(times.gone, fleet.leave()).await.is_err() {
        tracing::warn!("the lease table does not answer in time; what could not be released expires");
    }
}

fn broken_by(ended: Result<(), TaskError>) -> Broken {
    const PART: &str = "looking after the shards and their leases";
    match ended.map_err(TaskError::try_into_panic) {
        Err(Ok(panic)) => Broken::panicked(PART, &*panic),
        _ => Broken::returned(PART),
    }
}

/// What works and what fails in each shard of a worker.
fn vitals_of(shared: &Arc<Shared>) -> impl Fn() -> BTreeMap<LeaseKey, Vitals> + Send + 'static {
    let shared = Arc::downgrade(shared);
    move || {
        let Some(shared) = shared.upgrade() else {
            return BTreeMap::new();
        };
        let shards = shared.shards();
        let vitals = shards
            .iter()
            .map(|(key, (_, monitor))| (key.clone(), monitor.vitals()));
        vitals.collect()
    }
}

/// Completes when the stream is not the one any more that this worker began with.
///
/// It is asked whenever reads fail in a way that this would explain, and now and then by the leader.
async fn recognise(worker: &Worker, began_with: &StreamIdentity) -> StreamIdentity {
    let (env, doubt) = (&worker.env, &worker.doubt);
    let pauses = || Retry::new(env.clone(), Duration::from_secs(1), RECOGNITION_PAUSE);
    let (mut return_of_it, mut between) = (pauses(), pauses());
    let mut unanswered = 0;
    loop {
        let answered = Instant::now();
        let question = doubt.asked().await;
        if answered.elapsed() >= RECOGNITION_PAUSE {
            between.succeeded();
        }
        let identity = worker.recognition.identity().await;
        unanswered = if identity.is_ok() { 0 } else { unanswered + 1 };
        let pause = match identity {
            Ok(now) if !now.may_be(began_with) => {
                tracing::error!(before = %began_with, %now, "the stream was deleted and made anew");
                worker.shared.health.settle(GONE);
                let anew = "the stream was deleted and made anew";
                doubt.miss(CallError::new(
                    ErrorClass::NotFound,
                    "DescribeStreamSummary",
                    anew,
                ));
                return now;
            }
            Ok(now) => {
                doubt.settle(question);
                worker.shared.health.settle(GONE);
                worker.shared.health.succeeded(LOOKING);
                return_of_it.succeeded();
                match now.created_at {
                    Some(_) => between.pause(),
                    // Denied, or not told. It will hardly be told later, and a leader may wait for the answer.
                    None => Duration::from_secs(1),
                }
            }
            Err(error) if error.class == ErrorClass::NotFound => {
                worker.shared.health.raise(GONE, error.to_string());
                doubt.miss(error);
                return_of_it.pause()
            }
            Err(error) => {
                // Shards may wait for the answer.
                if unanswered > UNMENTIONED {
                    worker.shared.health.failed(LOOKING, &error);
                }
                RECOGNITION_PAUSE
            }
        };
        sleep(pause).await;
    }
}

/// A member of its fleet.
struct Joined {
    fleet: Membership,
    acquired: mpsc::UnboundedReceiver<HeldLease>,
    /// The stream that it reads.
    stream: StreamIdentity,
}

/// Joins the fleet, if its leases are of the stream that this worker reads; a failure that may pass is shown and retried.
async fn join(worker: &Worker) -> Result<Joined, Error> {
    let env = &worker.env;
    let pauses = || Retry::new(env.clone(), Duration::from_millis(250), Duration::from_secs(10));
    let (probed, mut stream) = tokio::join!(
        worker.stream.probe(),
        worker.recognition.identity_at_start(pauses())
    );
    if let Err(error) = probed {
        let is_lasting = match error.class {
            ErrorClass::NotFound | ErrorClass::AccessDenied | ErrorClass::InvalidArgument => true,
            ErrorClass::NotSigned(problem) => problem.is_lasting(),
            _ => false,
        };
        if is_lasting {
            return Err(Error::Stream {
                stream: worker.shared.stream.clone(),
                reason: error.to_string(),
                source: error.into(),
            });
        }
        worker.shared.health.failed(LOOKING, &error);
    }
    let mut retry = pauses();
    let recorded = Mutex::new(None);
    loop {
        let admission = |store, found: Option<StreamIdentity>| {
            (*recorded.lock().unwrap_or_else(PoisonError::into_inner)).clone_from(&found);
            worker.recognition.admit(&stream, store, found).boxed()
        };
        let joining = Membership::join_if(
            worker.store.clone(),
            worker.shared.worker_id.clone(),
            worker.config.fleet.clone(),
            env.clone(),
            &admission,
        );
        match joining.await {
            Ok((fleet, acquired)) => {
                worker.shared.health.succeeded(JOINING);
                // From here on each shard tells how it is read.
                worker.shared.health.ended(LOOKING);
                worker.doubt.settle_all();
                if stream.created_at.is_none() {
                    worker.doubt.raise();
                }
                let recorded = recorded.into_inner().unwrap_or_else(PoisonError::into_inner);
                let known =
                    recorded.filter(|recorded| stream.created_at.is_none() && recorded.may_be(&stream));
                return Ok(Joined {
                    fleet,
                    acquired,
                    stream: known.unwrap_or(stream),
                });
            }
            Err(JoinError::Refused(reason)) => return Err(Error::OtherStream(reason.to_string())),
            Err(JoinError::Store(error)) if error.is_retryable() => {
                worker.shared.health.failed(JOINING, &error);
                sleep(retry.pause()).await;
                // It may have been made anew meanwhile.
                let now = worker.recognition.identity_at_start(pauses()).await;
                if now.created_at.is_some() {
                    stream = now;
                }
            }
            Err(error) => return Err(error.into()),
        }
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
