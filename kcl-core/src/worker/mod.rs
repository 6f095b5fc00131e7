//! A worker: one member of an application's fleet, processing as many shards as it is given.

mod builder;
mod clients;
mod consumers;
mod gauges;
mod handle;
mod join;
mod outcome;
mod run;
mod snapshot;
mod stop;
mod watchdog;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_lease::{Environment, Health, HeldLease, LeaseKey, LeaseStore, Membership, Problem, WorkerId};
use tokio::sync::watch;

pub use self::builder::WorkerBuilder;
pub use self::handle::{PauseError, WorkerHandle};
pub use self::outcome::{Departure, Fate, Stopped};
use self::watchdog::StallHook;
use crate::config::{Streams, WorkerConfig};
use crate::consumer::Pauses;
use crate::dead_letters::DeadLetters;
use crate::error::Error;
use crate::failure::Handler;
use crate::processor::{RecordProcessor, ShardContext};
use crate::processor_error::ProcessorError;
use crate::processor_factory::{AsyncFactory, ProcessorFactory, awaited, immediate};
use crate::status::{ShardMonitor, WorkerPhase};
use crate::streams::{ReadStream, Registry, SeveralStreams};

/// A worker that is ready to run.
///
/// It holds as many leases as the application's leader assigns to it, and runs one [`RecordProcessor`] for each.
///
/// Dropping the future of a `run` method stops everything at once, as a crash would: nothing is checkpointed or
/// released, and other workers take over after the fail-over time.
///
/// ```no_run
/// # use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor, Worker};
/// # struct Printer;
/// # #[async_trait]
/// # impl RecordProcessor for Printer {
/// #     async fn process_records(&mut self, _: &RecordBatch, _: &Checkpointer) -> Result<(), ProcessorError> { Ok(()) }
/// # }
/// # async fn main_(aws: aws_types::SdkConfig) -> Result<(), kcl_core::Error> {
/// let worker = Worker::builder("my-app", "my-stream", |_shard| Printer).aws_config(&aws).build()?;
/// let handle = worker.handle();
/// let running = tokio::spawn(worker.run());
/// // Elsewhere, later:
/// println!("{} leases", handle.status().leases_held);
/// handle.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a worker does nothing until it runs"]
pub struct Worker {
    shared: Arc<Shared>,
    /// Dropped with the worker, or with the future that runs it.
    _alive: run::Alive,
    config: WorkerConfig,
    store: Arc<dyn LeaseStore>,
    reads: Reads,
    env: Environment,
    factory: ProcessorFactory,
    handler: Handler,
    dead_letters: Option<Arc<dyn DeadLetters>>,
    stall_hook: StallHook,
}

impl Worker {
    /// Starts to configure a worker. `application` names the fleet and, by default, its lease table; `streams` is a stream's name or
    /// ARN, or [several](Streams); `factory` makes the processor of each shard.
    pub fn builder<P, F>(
        application: impl Into<String>,
        streams: impl Into<Streams>,
        factory: F,
    ) -> WorkerBuilder
    where
        P: RecordProcessor,
        F: Fn(&ShardContext) -> P + Send + Sync + 'static,
    {
        WorkerBuilder::new(application.into(), streams.into(), immediate(factory))
    }

    /// The same with a factory that has to wait for something, such as a connection, and may fail. What fails is repeated, with
    /// growing pauses, until there is a processor or the shard is lost (or as the [`FailurePolicy`](crate::FailurePolicy) says);
    /// meanwhile the shard's status says why. The closure is cloned for each call: what it captures has to be `Clone`, as clients and
    /// `Arc`s are.
    ///
    /// ```
    /// use kcl_core::Worker;
    /// # use kcl_core::{async_trait, Checkpointer, ProcessorError, RecordBatch, RecordProcessor};
    /// # struct Database;
    /// # impl Database { async fn connect(_: &str) -> Result<Self, std::io::Error> { Ok(Self) } }
    /// # struct Sink(Database);
    /// # #[async_trait]
    /// # impl RecordProcessor for Sink {
    /// #     async fn process_records(&mut self, _: &RecordBatch, _: &Checkpointer) -> Result<(), ProcessorError> { Ok(()) }
    /// # }
    ///
    /// let builder = Worker::async_builder("my-app", "my-stream", async |shard| {
    ///     let database = Database::connect(shard.shard_id.as_str()).await?;
    ///     Ok(Sink(database))
    /// });
    /// ```
    pub fn async_builder<P, F>(
        application: impl Into<String>,
        streams: impl Into<Streams>,
        factory: F,
    ) -> WorkerBuilder
    where
        P: RecordProcessor,
        // The first bound tells a closure what it is given, the second one that its future can be sent.
        F: AsyncFnOnce(&ShardContext) -> Result<P, ProcessorError> + for<'a> AsyncFactory<'a, P>,
    {
        WorkerBuilder::new(application.into(), streams.into(), awaited(factory))
    }

    /// A handle to watch and to stop the worker with, from elsewhere.
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(self.shared.clone())
    }

    /// Runs until [`WorkerHandle::shutdown`] is called.
    ///
    /// # Errors
    /// The worker cannot start, or a part of it broke: see [`Error`]. Other failures while it runs are retried and shown in
    /// its status.
    pub async fn run(self) -> Result<Stopped, Error> {
        self.run_until(std::future::pending()).await
    }

    /// Runs until `stop` completes, or [`WorkerHandle::shutdown`] is called; then lets the processors finish the batch at
    /// hand and checkpoint, hands the leases on, and leaves. That takes no longer than the
    /// [stop time-out](WorkerBuilder::stop_timeout), whatever the processors and the lease table do.
    ///
    /// A call of a processor that has not returned by then is not cancelled: it goes on in the runtime, without the lease,
    /// until it returns or the runtime ends (as it does when `main` returns).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<Stopped, Error> {
        run::run(self, stop, std::future::pending()).await
    }

    /// Runs until the process is told to stop, by ctrl-c or SIGTERM. Told a second time, it ends at once: calls of processors
    /// are cancelled, and leases that were not given up expire.
    ///
    /// # Errors
    /// As [`run`](Self::run); also when signals cannot be received.
    pub async fn run_until_signal(self) -> Result<Stopped, Error> {
        let signals = stop::Signals::listen()?;
        run::run(self, signals.at(1), signals.at(2)).await
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("application", &self.shared.application)
            .field("stream", &self.shared.stream())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// What a worker is to read.
enum Reads {
    One(Box<ReadStream>),
    Several(SeveralStreams),
}

/// What the worker and its handles know.
struct Shared {
    application: String,
    /// The streams as they were named last.
    streams: StreamNames,
    worker_id: WorkerId,
    phase: watch::Sender<WorkerPhase>,
    stop: watch::Sender<bool>,
    pauses: watch::Sender<Pauses>,
    env: Environment,
    /// A shard that has something to do and gets no further for so long stalls.
    stalled_after: Duration,
    fleet: Mutex<Option<Membership>>,
    shards: Mutex<BTreeMap<LeaseKey, (HeldLease, Arc<ShardMonitor>)>>,
    /// What keeps the worker from starting, or the leader from its work.
    health: Health,
    /// The streams, where there are several, and what is wrong with them.
    registry: Mutex<Option<Arc<Registry>>>,
}

/// How a worker's streams are called.
enum StreamNames {
    One(String),
    Several(SeveralStreams),
}

impl Shared {
    /// Its stream, or its streams with commas between them.
    fn stream(&self) -> String {
        match &self.streams {
            StreamNames::One(stream) => stream.clone(),
            StreamNames::Several(several) => several.names().join(", "),
        }
    }

    /// What is wrong with the worker, and with its streams: those that have the same problem are told as one.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.health.list();
        let registry = self.registry().clone();
        problems.extend(registry.iter().flat_map(|registry| registry.problems()));
        problems
    }

    fn registry(&self) -> MutexGuard<'_, Option<Arc<Registry>>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fleet(&self) -> MutexGuard<'_, Option<Membership>> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<LeaseKey, (HeldLease, Arc<ShardMonitor>)>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
