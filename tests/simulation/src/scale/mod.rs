//! A large fleet in virtual time without faults: how soon it is balanced, and what it asks of DynamoDB and Kinesis.

mod memory;
mod report;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use kcl_core::{
    Checkpointer, Environment, Error, ProcessorError, RecordBatch, RecordProcessor, Stopped, Worker,
    WorkerHandle, async_trait,
};
use kcl_local::Backend;
use kcl_local::clock::Clock;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub use self::report::{Phase, Report};
pub use self::traffic::{Counts, Traffic};
use crate::crew::Stopwatch;
use crate::fleet::APPLICATION;
use crate::table::{Leases, Table};
use crate::workload::STREAM;

/// How often it is looked whether the fleet is balanced.
const PERIOD: Duration = Duration::from_millis(250);
/// How long the fleet may calm down before it is watched at rest.
const CALM: Duration = Duration::from_secs(15);
/// How long the fleet is watched at rest.
const REST: Duration = Duration::from_secs(30);

/// How large the fleet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Workers at first. A hundredth of them is killed, a tenth of them joins, a tenth of them stops.
    pub workers: usize,
    /// Shards.
    pub shards: i32,
    /// The workers' fail-over time.
    pub failover: Duration,
    /// How long each request is under way.
    pub latency: Duration,
    /// Virtual time that each phase may take.
    pub patience: Duration,
    /// Whether the leader is killed at the end.
    pub kills_leader: bool,
}

impl Default for Scale {
    /// 10 workers and 100 shards, a fail-over time of 10 s, 5 ms per request, and five minutes.
    fn default() -> Self {
        Self {
            workers: 10,
            shards: 100,
            failover: Duration::from_secs(10),
            latency: Duration::from_millis(5),
            patience: Duration::from_secs(300),
            kills_leader: true,
        }
    }
}

/// Starts the fleet on a fresh table, disturbs it in several ways, one after the other, and measures. `tell` hears of each
/// phase as it ends.
pub fn run(scale: &Scale, tell: impl FnMut(&Phase)) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O");
    fastrand::seed(1);
    runtime.block_on(measure(scale, tell))
}

async fn measure(scale: &Scale, mut tell: impl FnMut(&Phase)) -> Report {
    let memory_before = memory::resident();
    let mut fleet = Fleet::on_a_fresh_table(scale).await;
    let mut phases = Vec::new();
    let mut ended = |phase: Phase| {
        tell(&phase);
        phases.push(phase);
    };

    let start = fleet.phase("start");
    (0..scale.workers).for_each(|_| fleet.start());
    ended(fleet.until_balanced(start).await);
    let fleet_memory = memory::resident()
        .zip(memory_before)
        .map(|(after, before)| after.saturating_sub(before));

    sleep(CALM).await;
    let rest = fleet.phase("rest");
    sleep(REST).await;
    ended(fleet.end(rest, None).await);

    let killed = (scale.workers / 100).max(1);
    let kill = fleet.phase(format!("{killed} killed, not the leader"));
    (0..killed).for_each(|_| fleet.kill(false));
    ended(fleet.until_balanced(kill).await);

    let some = (scale.workers / 10).max(1);
    let join = fleet.phase(format!("{some} join"));
    (0..some).for_each(|_| fleet.start());
    ended(fleet.until_balanced(join).await);

    let stop = fleet.phase(format!("{some} stop in good order"));
    (0..some).for_each(|_| fleet.stop());
    ended(fleet.until_balanced(stop).await);

    if scale.kills_leader {
        let kill = fleet.phase("the leader killed");
        fleet.kill(true);
        ended(fleet.until_balanced(kill).await);
    }

    let units = fleet.leases.table().scan_units();
    Report {
        scale: scale.clone(),
        phases,
        units_per_scan_request: units.iter().sum::<f64>() / (units.len().max(1) as f64),
        peak_memory: memory::peak(),
        fleet_memory,
    }
}

struct Member {
    handle: WorkerHandle,
    task: JoinHandle<Result<Stopped, Error>>,
}

struct Fleet {
    scale: Scale,
    backend: Backend,
    traffic: Traffic,
    leases: Leases,
    /// By number: the oldest comes first.
    members: BTreeMap<usize, Member>,
    started: usize,
}

/// A phase that has begun.
struct Begun {
    name: String,
    at: Instant,
    second: u64,
    watch: Stopwatch,
}

fn id(number: usize) -> String {
    format!("w{number:05}")
}

impl Fleet {
    async fn on_a_fresh_table(scale: &Scale) -> Self {
        let traffic = Traffic::new(scale.latency);
        let backend = Backend::builder()
            .clock(Clock::starting_at(
                UNIX_EPOCH + Duration::from_secs(1_800_000_000),
            ))
            .faults(traffic.clone())
            .build();
        let kinesis = aws_sdk_kinesis::Client::new(&backend.sdk_config());
        let request = kinesis.create_stream().stream_name(STREAM);
        request.shard_count(scale.shards).send().await.expect("created");
        Self {
            scale: scale.clone(),
            leases: Leases::new(Table::new(backend.dynamodb(), APPLICATION)),
            backend,
            traffic,
            members: BTreeMap::new(),
            started: 0,
        }
    }

    fn start(&mut self) {
        self.started += 1;
        let (number, name) = (self.started, id(self.started));
        let clock = self.backend.clock().clone();
        let worker = Worker::builder(APPLICATION, STREAM, |_: &kcl_core::ShardContext| Checkpoints)
            .aws_config(&self.backend.sdk_config_named(name.as_str()))
            .worker_id(name)
            .failover_time(self.scale.failover)
            .environment(Environment::seeded(number as u64, move || clock.now()))
            .build()
            .expect("a valid configuration");
        let member = Member {
            handle: worker.handle(),
            task: tokio::spawn(worker.run()),
        };
        self.members.insert(number, member);
    }

    /// Ends the leader, or the oldest worker that is not the leader, without warning.
    fn kill(&mut self, leader: bool) {
        let is_meant = |member: &Member| member.handle.status().is_leader == leader;
        let found = self.members.iter().find(|(_, member)| is_meant(member));
        let number = found.map(|(number, _)| *number);
        if let Some((number, member)) = number.and_then(|number| self.members.remove_entry(&number)) {
            self.traffic.bury(&id(number));
            member.task.abort();
        }
    }

    /// Tells the oldest worker to stop.
    fn stop(&mut self) {
        if let Some((_, member)) = self.members.pop_first() {
            tokio::spawn(async move { member.handle.shutdown().await });
        }
    }

    fn phase(&self, name: impl Into<String>) -> Begun {
        Begun {
            name: name.into(),
            at: Instant::now(),
            second: self.traffic.now(),
            watch: Stopwatch::start(),
        }
    }

    /// Ends a phase with a whole second, so that each second belongs to one phase.
    async fn end(&self, begun: Begun, balanced_after: Option<Duration>) -> Phase {
        let second = self.traffic.next_second().await;
        Phase {
            name: begun.name,
            workers: self.members.len(),
            balanced_after,
            seconds: self.traffic.between(begun.second, second),
            took: begun.watch.elapsed(),
        }
    }

    async fn until_balanced(&mut self, begun: Begun) -> Phase {
        let mut balanced_after = None;
        while balanced_after.is_none() && begun.at.elapsed() < self.scale.patience {
            sleep(PERIOD).await;
            self.leases.look();
            if self.is_balanced() {
                balanced_after = Some(begun.at.elapsed());
            }
        }
        self.end(begun, balanced_after).await
    }

    fn is_balanced(&self) -> bool {
        let rows = self.leases.rows();
        if rows.len() != usize::try_from(self.scale.shards).unwrap_or(usize::MAX) {
            return false;
        }
        let ids: BTreeSet<String> = self.members.keys().map(|number| id(*number)).collect();
        let mut held: BTreeMap<&str, usize> = ids.iter().map(|id| (id.as_str(), 0)).collect();
        for row in rows.values() {
            let owner = row.owner.as_deref().filter(|_| row.checkpoint_owner.is_none());
            match owner.and_then(|owner| held.get_mut(owner)) {
                Some(count) => *count += 1,
                None => return false,
            }
        }
        let (least, most) = (held.values().min(), held.values().max());
        least.zip(most).is_some_and(|(least, most)| most - least <= 1)
    }
}

/// A processor with nothing to do.
struct Checkpoints;

#[async_trait]
impl RecordProcessor for Checkpoints {
    async fn process_records(
        &mut self,
        _: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        Ok(checkpointer.checkpoint().await?)
    }
}
