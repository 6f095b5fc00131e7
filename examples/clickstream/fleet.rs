//! The workers of a run: started, stopped, killed, and looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_core::{ShardState, Worker, WorkerBuilder, WorkerHandle, WorkerPhase, WorkerStatus};
use tokio::task::{JoinHandle, JoinSet};

use crate::AnyError;
use crate::processor::ClickProcessor;
use crate::stage::Stage;
use crate::view::Row;

/// Completes the configuration of a worker of this name.
type Configure = Box<dyn Fn(&str, WorkerBuilder) -> WorkerBuilder + Send + Sync>;

pub(crate) struct Fleet {
    stage: Arc<Stage>,
    application: String,
    stream: String,
    configure: Configure,
    members: Mutex<BTreeMap<String, Member>>,
}

struct Member {
    handle: WorkerHandle,
    /// `None` once somebody ends it.
    task: Option<JoinHandle<Result<kcl_core::Stopped, kcl_core::Error>>>,
    was_killed: bool,
}

impl Fleet {
    pub(crate) fn new(
        stage: Arc<Stage>,
        application: &str,
        stream: &str,
        configure: impl Fn(&str, WorkerBuilder) -> WorkerBuilder + Send + Sync + 'static,
    ) -> Self {
        Self {
            stage,
            application: application.to_owned(),
            stream: stream.to_owned(),
            configure: Box::new(configure),
            members: Mutex::default(),
        }
    }

    pub(crate) fn start(&self, name: &str) -> Result<(), AnyError> {
        let (stage, worker) = (self.stage.clone(), name.to_owned());
        let builder = Worker::builder(self.application.as_str(), self.stream.as_str(), move |shard| {
            ClickProcessor::new(stage.clone(), &worker, shard)
        })
        // An empty batch shows that a new owner reads, even when nothing is written.
        .empty_batches(true)
        .worker_id(name);
        let worker = (self.configure)(name, builder).build()?;
        let member = Member {
            handle: worker.handle(),
            task: Some(tokio::spawn(worker.run())),
            was_killed: false,
        };
        self.members().insert(name.to_owned(), member);
        Ok(())
    }

    /// Stops a worker in good order.
    pub(crate) async fn stop(&self, name: &str) -> Result<(), AnyError> {
        let Some((handle, task)) = self.take(name) else {
            return Ok(());
        };
        self.stage.stopping(name);
        handle.shutdown().await;
        task.await
            .map_err(|error| format!("{name} panicked: {error}"))?
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(())
    }

    /// Ends a worker as a crash would: nothing is checkpointed, nothing released.
    pub(crate) async fn kill(&self, name: &str) {
        let Some((_, task)) = self.take(name) else { return };
        let at = self.stage.now();
        task.abort();
        // Cancelled, unless it ended by itself.
        let _ = task.await;
        self.stage.killed(name, at);
        if let Some(member) = self.members().get_mut(name) {
            member.was_killed = true;
        }
    }

    /// Stops all that run, at the same time.
    pub(crate) async fn stop_all(self: &Arc<Self>, patience: Duration) -> Result<(), AnyError> {
        let mut stops = JoinSet::new();
        for name in self.running() {
            let fleet = self.clone();
            stops.spawn(async move { fleet.stop(&name).await });
        }
        let stopped = tokio::time::timeout(patience, async {
            while let Some(stopped) = stops.join_next().await {
                stopped??;
            }
            Ok::<(), AnyError>(())
        });
        let too_long = |_| format!("the workers did not stop within {} s", patience.as_secs());
        stopped.await.map_err(too_long)?
    }

    /// The workers that nobody has stopped or killed.
    pub(crate) fn running(&self) -> Vec<String> {
        let members = self.members();
        let running = members.iter().filter(|(_, member)| member.task.is_some());
        running.map(|(name, _)| name.clone()).collect()
    }

    /// Why a worker ended that nobody has stopped or killed.
    pub(crate) async fn failure(&self) -> Option<String> {
        let (name, task) = {
            let mut members = self.members();
            members.iter_mut().find_map(|(name, member)| {
                let task = member.task.take_if(|task| task.is_finished())?;
                Some((name.clone(), task))
            })?
        };
        Some(match task.await {
            Ok(Ok(_)) => format!("{name} stopped by itself"),
            Ok(Err(error)) => format!("{name}: {error}"),
            Err(error) => format!("{name} panicked: {error}"),
        })
    }

    /// What a worker says about itself.
    pub(crate) fn status(&self, name: &str) -> Option<WorkerStatus> {
        Some(self.members().get(name)?.handle.status())
    }

    /// A line of the view for each worker; the rates are left open.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let members = self.members();
        let books = self.stage.books();
        let row = |(name, member): (&String, &Member)| {
            let status = member.handle.status();
            let works = |state| state != ShardState::Lost;
            let shards: Vec<_> = status.shards.iter().filter(|shard| works(shard.state)).collect();
            Row {
                worker: name.clone(),
                state: match status.phase {
                    _ if member.was_killed => "killed",
                    WorkerPhase::Starting => "starting",
                    WorkerPhase::Running if status.is_leader => "leads",
                    WorkerPhase::Running => "runs",
                    WorkerPhase::Stopping => "stopping",
                    _ => "stopped",
                },
                rate: 0.0,
                behind: shards
                    .iter()
                    .map(|shard| books.ledger.behind_in(&shard.shard_id))
                    .sum(),
                millis_behind: shards.iter().filter_map(|shard| shard.millis_behind_latest).max(),
                problem: status.problems.first().map(ToString::to_string).or_else(|| {
                    shards
                        .iter()
                        .find_map(|shard| shard.problem.as_ref().map(ToString::to_string))
                }),
                shards: shards.into_iter().map(|shard| shard.shard_id.clone()).collect(),
            }
        };
        members.iter().map(row).collect()
    }

    fn take(
        &self,
        name: &str,
    ) -> Option<(
        WorkerHandle,
        JoinHandle<Result<kcl_core::Stopped, kcl_core::Error>>,
    )> {
        let mut members = self.members();
        let member = members.get_mut(name)?;
        Some((member.handle.clone(), member.task.take()?))
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
