//! A worker's life: join, process what is assigned, drain, leave.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kcl_lease::{Broken, LeaseKey, Membership, StreamIdentity, Timers};
use tokio::sync::mpsc;
use tokio::task::JoinError as TaskError;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::consumers::Consumers;
use super::join::{Joined, join};
use super::outcome::Stopped;
use super::stop::StopTimes;
use super::{Reads, Shared, Worker, gauges, watchdog};
use crate::config::OtherStream;
use crate::error::Error;
use crate::memory::Budget;
use crate::status::{Vitals, WorkerPhase};
use crate::stream::{LeaseScans, LeasesOfAnother};
use crate::streams::{MemberParts, Registry, StreamParts, StreamsRead, Tracking, recognise};
use crate::trouble::watch_over;

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
        let policy = worker.config.leases.on_other_stream;
        let (end, stopped) = work(&worker, joined, &mut stop, &mut cut_short).await;
        match end {
            End::ToldToStop => return Ok(stopped),
            End::OtherStream(_) if policy == OtherStream::BeginAnew => {
                worker.shared.phase.send_replace(WorkerPhase::Starting);
            }
            End::OtherStream(now) => {
                let before = read.unwrap_or_else(|| now.clone());
                return Err(LeasesOfAnother::gone(&before, &now).into());
            }
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
    tracing::info!(worker = %worker.shared.worker_id, stream = worker.shared.stream(), "worker started");

    let budget = Budget::new(worker.config.retrieval.prefetch_bytes_per_worker);
    let member = MemberParts {
        fleet: fleet.clone(),
        env: worker.env.clone(),
        config: worker.config.clone(),
        application: worker.shared.application.clone(),
        budget: budget.clone(),
        scans: match worker.reads {
            Reads::One(_) => LeaseScans::ALONE,
            Reads::Several(_) => LeaseScans::shared(),
        },
    };
    let (streams, duties) = streams_of(worker, member, stream.as_ref());
    let watching = watch_over(
        fleet.clone(),
        streams.clone(),
        worker.shared.health.clone(),
        Timers::of(worker.config.fleet.failover_time),
        vitals_of(&worker.shared),
    );
    let watchdog = watchdog::watch(Arc::downgrade(&worker.shared), worker.stall_hook.clone());
    let metrics = worker.config.fleet.metrics.clone();
    let gauges = gauges::tell(Arc::downgrade(&worker.shared), metrics, budget);
    // None of them ever returns.
    let mut on_duty = AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(duties, watching, watchdog, gauges);
    }));
    let (fatal, mut fatalities) = mpsc::unbounded_channel();
    let mut consumers = Consumers::new(worker, fleet.clone(), streams, fatal);
    let mut other = pin!(other_stream(worker, stream.as_ref()));
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

/// The streams that a worker reads, and what it does for them beside reading, for ever.
fn streams_of(
    worker: &Worker,
    member: MemberParts,
    began_with: Option<&StreamIdentity>,
) -> (StreamsRead, BoxFuture<'static, ()>) {
    let fleet = member.fleet.clone();
    match &worker.reads {
        Reads::One(read) => {
            let name = read.client.stream().name();
            let identity = began_with
                .cloned()
                .unwrap_or_else(|| StreamIdentity::new(name, None));
            let parts = StreamParts::new(read, identity, &member);
            let leading = parts.leading(fleet);
            let duties = async move { leading.run().await };
            (StreamsRead::One(Arc::new(parts)), duties.boxed())
        }
        Reads::Several(several) => {
            let registry = Arc::new(Registry::new(several.clone(), member));
            *worker.shared.registry() = Some(registry.clone());
            let shared = &worker.shared;
            let tracking = Tracking::new(registry.clone(), shared.health.clone(), shared.pauses.clone());
            let duties = async move { tracking.run().await };
            (StreamsRead::Several(registry), duties.boxed())
        }
    }
}

/// Completes when a worker's only stream is not the one any more that it began with.
async fn other_stream(worker: &Worker, began_with: Option<&StreamIdentity>) -> StreamIdentity {
    match (&worker.reads, began_with) {
        (Reads::One(read), Some(began_with)) => recognise(read, &worker.env, began_with).await,
        _ => std::future::pending().await,
    }
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

/// Ends the worker when it, or the future that runs it, is dropped.
pub(super) struct Alive(pub(super) Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(fleet) = self.0.fleet().take() {
            fleet.abandon();
        }
        self.0.registry().take();
        self.0.shards().clear();
        self.0.phase.send_replace(WorkerPhase::Stopped);
    }
}
