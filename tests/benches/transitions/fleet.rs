//! A stream on which records flow in every shard, and the workers on it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard};
use kcl_local::faults::{Fault, Rule};
use kcl_local::transport::tcp::Server;
use kcl_tests::{Running, Servers, World, WorldOptions, eventually};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::flow::{Flow, Noting};

/// How long a request is under way in virtual time.
const LATENCY: Duration = Duration::from_millis(5);
/// How often each shard gets a record.
const PERIOD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    InProcess,
    Tcp,
}

/// How one run is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) place: Place,
    pub(crate) failover: Duration,
    pub(crate) run: u64,
}

impl Setting {
    /// A moment within the first ten seconds, another one in each run.
    pub(crate) fn moment(self) -> Duration {
        Duration::from_millis(fastrand::Rng::with_seed(self.run).u64(0..10_000))
    }
}

pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) flow: Flow,
    pub(crate) members: Vec<Running>,
    server: Option<Server>,
    started: u64,
    setting: Setting,
    _producer: JoinSet<()>,
}

impl Fleet {
    pub(crate) async fn new(setting: Setting, shards: i32) -> Self {
        let is_virtual = setting.place == Place::InProcess;
        let world = World::new(WorldOptions {
            shards,
            failover_time: setting.failover,
            machine_time: !is_virtual,
            ..WorldOptions::default()
        })
        .await;
        let server = match setting.place {
            Place::InProcess => {
                world
                    .servers
                    .faults
                    .add(Rule::any().fault(Fault::none().after(LATENCY)));
                None
            }
            Place::Tcp => Some(
                world
                    .servers
                    .backend
                    .listen("127.0.0.1:0")
                    .await
                    .expect("a free port"),
            ),
        };
        let mut producer = JoinSet::new();
        producer.spawn(produce(world.clone()));
        Self {
            world,
            flow: Flow::default(),
            members: Vec::new(),
            server,
            started: 0,
            setting,
            _producer: producer,
        }
    }

    /// One on which this many workers share the shards, calm for as long as `moment`.
    pub(crate) async fn at_work(setting: Setting, shards: i32, workers: usize) -> Self {
        let mut fleet = Self::new(setting, shards).await;
        (0..workers).for_each(|_| fleet.start());
        fleet.until_balanced().await;
        sleep(Duration::from_secs(2) + setting.moment()).await;
        fleet
    }

    pub(crate) fn start(&mut self) {
        self.started += 1;
        let name = format!("w{}", self.started);
        let (flow, worker) = (self.flow.clone(), name.clone());
        let mut aws = self.world.aws(&name);
        if let Some(server) = &self.server {
            let builder = aws.into_builder().endpoint_url(server.endpoint_url());
            aws = builder
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .build();
        }
        let builder = self.world.builder_of(&name, move |shard| Noting {
            flow: flow.clone(),
            worker: worker.clone(),
            shard: shard.shard_id.to_string(),
        });
        let seed = self.setting.run * 1_000 + self.started;
        let builder = builder
            .aws_config(&aws)
            .environment(self.world.servers.environment(seed));
        self.members.push(self.world.run(&name, builder));
    }

    /// Takes out the one that leads, or one that does not.
    pub(crate) fn take(&mut self, is_leader: bool) -> Running {
        let found = self
            .members
            .iter()
            .position(|member| member.handle.status().is_leader == is_leader);
        self.members.remove(found.expect("there is one"))
    }

    /// The open shards whose records a worker was given last.
    pub(crate) async fn shards_of(&self, worker: &str) -> Vec<String> {
        let mut its = self.open_shards().await;
        let last = self.flow.last();
        its.retain(|shard| last.get(shard).is_some_and(|(_, now)| now.worker == worker));
        its
    }

    pub(crate) async fn open_shards(&self) -> Vec<String> {
        let open = open(self.world.shards().await);
        open.iter().map(|shard| shard.shard_id().to_owned()).collect()
    }

    /// Waits until each shard's records reach a worker and no worker has two shards more than another.
    pub(crate) async fn until_balanced(&self) -> Instant {
        let shards = self.open_shards().await;
        let balanced = || {
            let mut shares: BTreeMap<_, usize> = self
                .members
                .iter()
                .map(|member| (member.name.clone(), 0))
                .collect();
            let mut last = self.flow.last();
            last.retain(|shard, _| shards.contains(shard));
            for (_, now) in last.values() {
                *shares.get_mut(&now.worker)? += 1;
            }
            let is_even = shares.values().max()? - shares.values().min()? <= 1;
            let since = last.values().map(|(_, now)| now.first).max();
            since.filter(|_| is_even && last.len() == shards.len())
        };
        eventually(PATIENCE, balanced, || {
            format!("not balanced: {:?}", self.flow.last())
        })
        .await
    }

    /// How long after `since` each of the shards has flowed to another worker than `from`: the first and the last.
    pub(crate) async fn until_taken(&self, shards: &[String], from: &str, since: Instant) -> (f64, f64) {
        let taken = |shard: &String| self.flow.taken(shard, from, since);
        let all = || shards.iter().map(taken).collect::<Option<Vec<_>>>();
        let times = eventually(PATIENCE, all, || format!("not all of {shards:?} flow")).await;
        let after = |at: Option<Instant>| (at.expect("some shards") - since).as_secs_f64();
        (
            after(times.iter().min().copied()),
            after(times.iter().max().copied()),
        )
    }
}

pub(crate) fn open(shards: Vec<Shard>) -> Vec<Shard> {
    let is_open = |shard: &Shard| {
        let range = shard.sequence_number_range();
        range.is_some_and(|range| range.ending_sequence_number().is_none())
    };
    shards.into_iter().filter(is_open).collect()
}

/// Puts records into every open shard, numbered within it.
async fn produce(world: World) {
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let shards = open(world.shards().await);
        let mut entries = Vec::new();
        for shard in &shards {
            let number = next.entry(shard.shard_id().to_owned()).or_default();
            let hash_key = shard
                .hash_key_range()
                .expect("it has a range")
                .starting_hash_key();
            let entry = PutRecordsRequestEntry::builder()
                .partition_key("key")
                .explicit_hash_key(hash_key)
                .data(Blob::new(format!("{} {number}", shard.shard_id())));
            entries.push(entry.build().expect("complete"));
        }
        let request = world.kinesis.put_records().stream_name("clicks");
        let answer = request.set_records(Some(entries)).send().await.expect("put");
        // A shard may have been closed meanwhile: its record is in a child, where it is not counted.
        for (shard, record) in shards.iter().zip(answer.records()) {
            if record.shard_id() == Some(shard.shard_id()) {
                *next.entry(shard.shard_id().to_owned()).or_default() += 1;
            }
        }
        sleep(PERIOD).await;
    }
}
