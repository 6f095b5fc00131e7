//! Servers with one stream, and workers on it.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use aws_types::SdkConfig;
use kcl_core::{
    Error, RecordProcessor, ShardContext, Stopped, Worker, WorkerBuilder, WorkerHandle, WorkerStatus,
};
use kcl_lease::{DynamoDbLeaseStore, Lease, LeaseStore, TableOptions};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::ledger::Ledger;
use crate::processor::{Behaviour, LedgerProcessor};
use crate::servers::{Bundled, Servers};

/// How a world is made.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The application, which names the lease table.
    pub application: &'static str,
    /// The stream.
    pub stream: &'static str,
    /// Open shards of the stream at first.
    pub shards: i32,
    /// Whether workers may do only what the documented policy grants. (Those of the Java KCL need more.)
    pub is_policed: bool,
    /// Whether the shards enforce the service's rates.
    pub enforce_limits: bool,
    /// The workers' fail-over time.
    pub failover_time: Duration,
    /// How long a subscription to a shard lasts.
    pub subscription_lifetime: Duration,
    /// Whether the backend shows the machine's time instead of a fixed date: other processes know no other.
    pub machine_time: bool,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            application: "app",
            stream: "clicks",
            shards: 4,
            is_policed: true,
            enforce_limits: false,
            failover_time: Duration::from_secs(10),
            subscription_lifetime: Duration::from_secs(300),
            machine_time: false,
        }
    }
}

/// A stream, and the account of what happens on it.
#[derive(Debug, Clone)]
pub struct World<S = Bundled> {
    /// Where it is.
    pub servers: S,
    /// Everything put and delivered.
    pub ledger: Ledger,
    /// A client that no fault is aimed at.
    pub kinesis: Client,
    pub(crate) options: WorldOptions,
}

/// A worker that runs.
#[derive(Debug)]
pub struct Running {
    /// Status and shutdown.
    pub handle: WorkerHandle,
    /// Its name.
    pub name: String,
    task: JoinHandle<Result<Stopped, Error>>,
}

impl Running {
    /// Stops it in good order.
    pub async fn stop(self) -> Stopped {
        self.handle.shutdown().await;
        self.task.await.expect("no panic").expect("a clean stop")
    }

    /// Ends it without warning: nothing is released.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> Result<Stopped, Error> {
        self.task.await.expect("no panic")
    }

    /// Waits until its status is so.
    pub async fn until(&self, limit: Duration, is_so: impl Fn(&WorkerStatus) -> bool) {
        let status = || self.handle.status();
        eventually(
            limit,
            || is_so(&status()).then_some(()),
            || format!("{:?}", status()),
        )
        .await;
    }

    /// Shards that are being processed to their end or beyond, or otherwise held.
    pub fn leases(&self) -> usize {
        self.handle.status().leases_held
    }

    /// Shards whose records are being processed.
    pub fn processing(&self) -> Vec<String> {
        let processing = |shard: &kcl_core::ShardStatus| shard.state == kcl_core::ShardState::Processing;
        self.handle
            .status()
            .shards
            .into_iter()
            .filter(processing)
            .map(|shard| shard.shard_id)
            .collect()
    }
}

impl World {
    /// A world with defaults and this many shards.
    pub async fn with_shards(shards: i32) -> Self {
        Self::new(WorldOptions {
            shards,
            ..WorldOptions::default()
        })
        .await
    }

    /// A world on a backend of its own.
    pub async fn new(options: WorldOptions) -> Self {
        Self::on(Bundled::new(&options), options).await
    }
}

impl<S: Servers> World<S> {
    /// A world with a new, active stream.
    pub async fn on(servers: S, options: WorldOptions) -> Self {
        let world = Self::on_there(servers, options);
        world.create_stream(world.options.shards).await;
        world
    }

    /// A world with a stream that is there already.
    pub fn on_there(servers: S, options: WorldOptions) -> Self {
        // RUST_LOG shows what happens; a second world in the process finds the subscriber set.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        Self {
            kinesis: Client::new(&servers.aws("")),
            servers,
            ledger: Ledger::default(),
            options,
        }
    }

    /// The same servers and ledger, and a stream of this name that is there, or that [`World::create_stream`] makes. Only the
    /// stream that the world was made with is in the policy.
    pub fn on_stream(&self, stream: &'static str) -> Self {
        let mut world = self.clone();
        world.options.stream = stream;
        world
    }

    /// Makes the stream, and waits until it is active.
    pub async fn create_stream(&self, shards: i32) {
        let creation = self.kinesis.create_stream().stream_name(self.options.stream);
        creation.shard_count(shards).send().await.expect("created");
        self.until_active().await;
    }

    /// Waits until the stream takes requests to change it.
    async fn until_active(&self) {
        let start = Instant::now();
        loop {
            let summary = self.kinesis.describe_stream_summary();
            let described = summary.stream_name(self.options.stream).send().await;
            let described = described.expect("described").stream_description_summary;
            if described.is_some_and(|stream| *stream.stream_status() == StreamStatus::Active) {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the stream does not become active"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A builder for a worker of this name on the stream.
    pub fn builder(&self, name: &str, behaviour: Behaviour) -> WorkerBuilder {
        let (ledger, worker, stream) = (self.ledger.clone(), name.to_owned(), self.options.stream);
        self.builder_of(name, move |shard| {
            // Where a worker reads several, the shards of the others have their streams' names in front.
            let (of, id) = (&shard.stream, &shard.shard_id);
            let is_ours = of.name() == stream || of.arn() == Some(stream);
            let called = if is_ours {
                id.to_string()
            } else {
                format!("{}:{id}", of.name())
            };
            let token = shard.fencing_token.get();
            LedgerProcessor::new(ledger.clone(), behaviour.clone(), &worker, called, token)
        })
    }

    /// A builder for a worker of this name on the stream, with processors of one's own.
    pub fn builder_of<P, F>(&self, name: &str, factory: F) -> WorkerBuilder
    where
        P: RecordProcessor,
        F: Fn(&ShardContext) -> P + Send + Sync + 'static,
    {
        let builder = Worker::builder(self.options.application, self.options.stream, factory);
        self.configure(builder, name)
    }

    /// Gives a builder what a worker of this name has.
    pub fn configure(&self, builder: WorkerBuilder, name: &str) -> WorkerBuilder {
        let seed = name
            .bytes()
            .fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        builder
            .aws_config(&self.servers.aws(name))
            .worker_id(name)
            .failover_time(self.options.failover_time)
            .environment(self.servers.environment(seed))
    }

    /// How a client of this name reaches the servers.
    pub fn aws(&self, client: &str) -> SdkConfig {
        self.servers.aws(client)
    }

    /// The workers' fail-over time.
    pub fn failover_time(&self) -> Duration {
        self.options.failover_time
    }

    /// Starts a worker that checkpoints after each batch.
    pub fn start(&self, name: &str) -> Running {
        self.start_with(name, Behaviour::default())
    }

    /// Starts a worker that behaves.
    pub fn start_with(&self, name: &str, behaviour: Behaviour) -> Running {
        self.run(name, self.builder(name, behaviour))
    }

    /// Starts a worker as configured.
    pub fn run(&self, name: &str, builder: WorkerBuilder) -> Running {
        let worker = builder.build().expect("a valid configuration");
        let handle = worker.handle();
        Running {
            handle,
            name: name.to_owned(),
            task: tokio::spawn(worker.run()),
        }
    }

    /// Puts `count` records, spread over `keys` partition keys, each with its key's next counter.
    pub async fn put(&self, keys: usize, count: usize) {
        let mut entries = Vec::with_capacity(count);
        for i in 0..count {
            let key = format!("user-{}", i % keys);
            let counter = self.ledger.next_counter(&key);
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(key)
                .data(Blob::new(counter.to_string()));
            entries.push(entry.build().expect("complete"));
        }
        for chunk in entries.chunks(500) {
            let mut left = chunk.to_vec();
            while !left.is_empty() {
                let request = self
                    .kinesis
                    .put_records()
                    .stream_name(self.options.stream)
                    .set_records(Some(left.clone()));
                let answer = request.send().await.expect("put");
                let answered = left.into_iter().zip(answer.records());
                let failed = answered.filter_map(|(entry, record)| {
                    let Some((shard, sequence)) = record.shard_id().zip(record.sequence_number()) else {
                        return Some(entry);
                    };
                    self.ledger.received(shard, sequence);
                    None
                });
                left = failed.collect();
                if !left.is_empty() {
                    sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    /// All shards of the stream.
    pub async fn shards(&self) -> Vec<Shard> {
        self.kinesis
            .list_shards()
            .stream_name(self.options.stream)
            .send()
            .await
            .expect("listed")
            .shards
            .unwrap_or_default()
    }

    /// The ids of shards that are neither split nor merged, in the order of their hash keys.
    pub async fn open_shards(&self) -> Vec<String> {
        let shards = self.shards().await;
        let open = shards.iter().filter(|shard| {
            shard
                .sequence_number_range()
                .is_some_and(|range| range.ending_sequence_number().is_none())
        });
        let mut open: Vec<(u128, String)> = open
            .map(|shard| {
                let range = shard.hash_key_range().expect("it has a range");
                let start = range.starting_hash_key().parse().expect("a number");
                (start, shard.shard_id().to_owned())
            })
            .collect();
        open.sort();
        open.into_iter().map(|(_, shard)| shard).collect()
    }

    /// Splits a shard in the middle.
    pub async fn split(&self, shard_id: &str) {
        let shards = self.shards().await;
        let shard = shards
            .iter()
            .find(|shard| shard.shard_id() == shard_id)
            .expect("the shard exists");
        let range = shard.hash_key_range().expect("it has a range");
        let start: u128 = range.starting_hash_key().parse().expect("a number");
        let end: u128 = range.ending_hash_key().parse().expect("a number");
        let middle = start + (end - start) / 2 + 1;
        let request = self
            .kinesis
            .split_shard()
            .stream_name(self.options.stream)
            .shard_to_split(shard_id);
        request
            .new_starting_hash_key(middle.to_string())
            .send()
            .await
            .expect("split");
        self.until_active().await;
    }

    /// Merges two adjacent shards.
    pub async fn merge(&self, shard_id: &str, adjacent: &str) {
        let request = self
            .kinesis
            .merge_shards()
            .stream_name(self.options.stream)
            .shard_to_merge(shard_id);
        request
            .adjacent_shard_to_merge(adjacent)
            .send()
            .await
            .expect("merged");
        self.until_active().await;
    }

    /// Waits for a condition; servers in real time are given some slack.
    pub async fn until<T>(
        &self,
        limit: Duration,
        check: impl FnMut() -> Option<T>,
        describe: impl Fn() -> String,
    ) -> T {
        eventually(limit * self.servers.slack(), check, describe).await
    }

    /// Waits until every record put so far was delivered.
    pub async fn until_drained(&self, limit: Duration) {
        self.until(
            limit,
            || (self.ledger.unique() >= self.ledger.put()).then_some(()),
            || {
                format!(
                    "{} of {} records were delivered",
                    self.ledger.unique(),
                    self.ledger.put()
                )
            },
        )
        .await;
    }

    /// Waits until processors were called by this name so often.
    pub async fn until_called(&self, name: &str, times: usize, limit: Duration) {
        let calls = || self.ledger.calls(name);
        let describe = || format!("{} calls of {name}, not {times}", calls());
        self.until(limit, || (calls() >= times).then_some(()), describe)
            .await;
    }

    /// As [`World::until_drained`], and until checkpoints cover all of it: whoever comes next repeats nothing.
    pub async fn until_checkpointed(&self, limit: Duration) {
        self.until_drained(limit).await;
        let covered = || (self.ledger.unconfirmed() == 0).then_some(());
        let describe = || format!("{} deliveries have no checkpoint", self.ledger.unconfirmed());
        self.until(limit, covered, describe).await;
    }

    /// Waits until these workers process these numbers of shards, in any order; how long it took.
    pub async fn until_processing(
        &self,
        workers: &[&Running],
        expected: &[usize],
        limit: Duration,
    ) -> Duration {
        let start = Instant::now();
        let counts = || {
            let mut counts: Vec<_> = workers.iter().map(|worker| worker.processing().len()).collect();
            counts.sort_unstable();
            counts
        };
        self.until(
            limit,
            || (counts() == expected).then_some(()),
            || format!("the workers process {:?} shards, not {expected:?}", counts()),
        )
        .await;
        start.elapsed()
    }

    /// Panics unless every record was delivered, in the order of its key and from the shard where it was put, in its order.
    pub fn assert_nothing_lost(&self) {
        let tally = self.ledger.tally();
        assert!(
            tally.lost.is_empty() && tally.disorder.is_empty() && tally.rewinds.is_empty(),
            "{tally}"
        );
        assert_eq!(self.ledger.misdelivered(), BTreeSet::new());
    }

    /// As [`World::assert_nothing_lost`], and none was delivered twice.
    pub fn assert_exactly_once(&self) {
        self.assert_nothing_lost();
        assert_eq!(self.ledger.tally().duplicates, 0);
    }

    /// The lease table, as an outsider reads it.
    pub fn store(&self) -> DynamoDbLeaseStore {
        let client = aws_sdk_dynamodb::Client::new(&self.servers.aws(""));
        DynamoDbLeaseStore::new(client, TableOptions::new(self.options.application))
    }

    /// The leases now.
    pub async fn leases(&self) -> Vec<Lease> {
        self.store().scan().await.expect("scanned").leases
    }
}

/// Waits for a condition, looking every 20 ms; panics with a description after `limit`.
pub async fn eventually<T>(
    limit: Duration,
    mut check: impl FnMut() -> Option<T>,
    describe: impl Fn() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < limit, "after {limit:?}: {}", describe());
        sleep(Duration::from_millis(20)).await;
    }
}
