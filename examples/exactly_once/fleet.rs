//! Workers that are started, stopped and killed.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{Error, Stopped, Worker, WorkerHandle};
use kcl_examples::exactly_once::{ExactlyOnce, Target};
use kcl_examples::{AnyError, streams};
use kcl_local::Backend;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::network::{Network, Writes};

/// Workers at a time.
const WORKERS: usize = 3;

/// How long a killed worker keeps its leases.
const FAILOVER: Duration = Duration::from_secs(2);

/// When a network is stuck, a write arrives after this time. The shard has another owner by then.
const LATE: Duration = Duration::from_secs(5);

/// A worker is killed while its network is stuck for so long.
const STUCK: Duration = Duration::from_millis(300);

/// Time between two deeds, in milliseconds.
const PAUSE: std::ops::Range<u64> = 700..1800;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Deeds {
    pub(crate) killed: usize,
    pub(crate) stopped: usize,
    pub(crate) split: usize,
    pub(crate) merged: usize,
}

pub(crate) struct Fleet {
    backend: Backend,
    target: Target,
    name: String,
    /// What the database knows the stream by.
    identity: String,
    dice: fastrand::Rng,
    members: Vec<Member>,
    started: usize,
    pub(crate) deeds: Deeds,
    pub(crate) writes: Arc<Writes>,
}

struct Member {
    handle: WorkerHandle,
    task: JoinHandle<Result<Stopped, Error>>,
    network: Arc<Network>,
}

impl Fleet {
    pub(crate) fn new(backend: &Backend, target: &Target, stream: &str, identity: &str, seed: u64) -> Self {
        Self {
            backend: backend.clone(),
            target: target.clone(),
            name: stream.to_owned(),
            identity: identity.to_owned(),
            dice: fastrand::Rng::with_seed(seed),
            members: Vec::new(),
            started: 0,
            deeds: Deeds::default(),
            writes: Arc::default(),
        }
    }

    fn start(&mut self) -> Result<(), Error> {
        self.started += 1;
        let name = format!("w{}", self.started);
        let network = Network::new(&self.writes, self.dice.u64(..), LATE);
        let (link, target, identity) = (network.clone(), self.target.clone(), self.identity.clone());
        let worker = Worker::builder("accounts", self.name.as_str(), move |shard| {
            ExactlyOnce::new(link.to(target.database()), &identity, shard)
        });
        let worker = worker
            .aws_config(&self.backend.sdk_config_named(name.as_str()))
            .worker_id(name.as_str())
            .failover_time(FAILOVER)
            .max_batch_records(100)
            .build()?;
        self.members.push(Member {
            handle: worker.handle(),
            task: tokio::spawn(worker.run()),
            network,
        });
        Ok(())
    }

    /// Kills and stops workers, and starts others in their place, and splits and merges shards, for a time.
    pub(crate) async fn disturb(&mut self, kinesis: &Client, time: Duration) -> Result<(), AnyError> {
        let start = Instant::now();
        loop {
            while self.members.len() < WORKERS {
                self.start()?;
            }
            sleep(Duration::from_millis(self.dice.u64(PAUSE))).await;
            if start.elapsed() > time {
                return Ok(());
            }
            match self.dice.u8(..8) {
                0 => self.stop_one().await?,
                1 => match streams::split(kinesis, &self.name).await {
                    Ok(_) => self.deeds.split += 1,
                    Err(error) => eprintln!("{error}"),
                },
                2 => match streams::merge(kinesis, &self.name).await {
                    Ok(_) => self.deeds.merged += 1,
                    Err(error) => eprintln!("{error}"),
                },
                _ => self.kill_one().await,
            }
        }
    }

    fn choose(&mut self) -> Member {
        let index = self.dice.usize(..self.members.len());
        self.members.swap_remove(index)
    }

    /// Drops a worker's future, as a crash would end its process. Its last writes arrive late.
    async fn kill_one(&mut self) {
        let member = self.choose();
        member.network.get_stuck();
        sleep(STUCK).await;
        member.task.abort();
        // Cancelled, unless it ended by itself.
        let _ = member.task.await;
        self.deeds.killed += 1;
    }

    async fn stop_one(&mut self) -> Result<(), AnyError> {
        let member = self.choose();
        self.deeds.stopped += 1;
        end(member).await
    }

    /// Stops all workers. Writes of those that were killed have arrived when it returns.
    pub(crate) async fn stop(&mut self) -> Result<(), AnyError> {
        for member in std::mem::take(&mut self.members) {
            end(member).await?;
        }
        sleep(LATE).await;
        Ok(())
    }
}

async fn end(member: Member) -> Result<(), AnyError> {
    member.handle.shutdown().await;
    member.task.await??;
    Ok(())
}
