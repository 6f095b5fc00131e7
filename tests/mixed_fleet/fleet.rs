//! A stream and a lease table on a port, with workers of both kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use kcl_core::WorkerBuilder;
use kcl_lease::{Lease, LeaseStore, StoreErrorKind, TableSnapshot};
use kcl_local::transport::tcp::Server;
use kcl_tests::{Behaviour, Delivery, Producer, Running, World, WorldOptions};
use tokio::time::{Instant, sleep};

use crate::java::{JavaOptions, JavaWorker};

/// The version of the KCL that the library keeps company with.
pub(crate) const CURRENT: &str = "3.5.1";

/// The fail-over time of both kinds of workers.
pub(crate) const FAILOVER: Duration = Duration::from_secs(5);

/// How long anything may take that a Java worker's timers decide.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The fleet of one scenario.
pub(crate) struct MixedFleet {
    pub(crate) world: World,
    scenario: &'static str,
    server: Server,
}

impl MixedFleet {
    pub(crate) async fn new(scenario: &'static str, shards: i32) -> Self {
        Self::with_failover_time(scenario, shards, FAILOVER).await
    }

    /// Whose stream ends subscriptions after this time.
    pub(crate) async fn with_subscriptions(
        scenario: &'static str,
        shards: i32,
        subscription_lifetime: Duration,
    ) -> Self {
        let options = WorldOptions {
            shards,
            subscription_lifetime,
            failover_time: FAILOVER,
            ..WorldOptions::default()
        };
        Self::with(scenario, options).await
    }

    pub(crate) async fn with_failover_time(
        scenario: &'static str,
        shards: i32,
        failover_time: Duration,
    ) -> Self {
        let options = WorldOptions {
            shards,
            failover_time,
            ..WorldOptions::default()
        };
        Self::with(scenario, options).await
    }

    async fn with(scenario: &'static str, options: WorldOptions) -> Self {
        let world = World::new(WorldOptions {
            machine_time: true,
            is_policed: false,
            ..options
        })
        .await;
        let server = world
            .servers
            .backend
            .listen("127.0.0.1:0")
            .await
            .expect("a free port");
        Self {
            world,
            scenario,
            server,
        }
    }

    /// Timers of the Java KCL, short enough for a test and in proportion to our own.
    pub(crate) fn java_options(&self, version: &'static str) -> JavaOptions {
        let settings = [
            ("failoverTimeMillis", FAILOVER.as_millis().to_string()),
            ("leaseAssignmentIntervalMillis", "2000".to_owned()),
            ("varianceBalancingFrequency", "1".to_owned()),
            ("dynamoDbLockBasedLeaderLeaseDurationInMillis", "5000".to_owned()),
            (
                "dynamoDbLockBasedLeaderHeartbeatPeriodInMillis",
                "1000".to_owned(),
            ),
            ("disableWorkerMetrics", "true".to_owned()),
            ("shardSyncIntervalMillis", "500".to_owned()),
            ("leasesRecoveryAuditorExecutionFrequencyMillis", "5000".to_owned()),
            ("gracefulLeaseHandoffTimeoutMillis", "10000".to_owned()),
            ("idleTimeBetweenReadsInMillis", "200".to_owned()),
            ("parentShardPollIntervalMillis", "1000".to_owned()),
            ("shardConsumerDispatchPollIntervalMillis", "200".to_owned()),
        ];
        JavaOptions {
            version,
            endpoint: self.server.endpoint_url().to_owned(),
            application: "app".to_owned(),
            stream: "clicks".to_owned(),
            settings: BTreeMap::from(settings),
        }
    }

    /// The Java KCL's own timers, but for the pause after the first look at the shards.
    pub(crate) fn default_java_options(&self) -> JavaOptions {
        let mut options = self.java_options(CURRENT);
        options
            .settings
            .retain(|setting, _| ["disableWorkerMetrics", "shardSyncIntervalMillis"].contains(setting));
        options
    }

    /// How a worker of ours reaches the backend, which knows it by its access key id, as it knows Java workers.
    pub(crate) fn aws(&self, worker: &str) -> aws_types::SdkConfig {
        let credentials = Credentials::new(worker, "secret", None, None, "tests");
        self.world
            .servers
            .backend
            .sdk_config()
            .into_builder()
            .endpoint_url(self.server.endpoint_url())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// Starts a Java worker of the current version.
    pub(crate) fn java(&self, name: &str) -> JavaWorker {
        self.java_with(name, &self.java_options(CURRENT))
    }

    pub(crate) fn java_with(&self, name: &str, options: &JavaOptions) -> JavaWorker {
        JavaWorker::start(name, self.scenario, options, &self.world.ledger)
    }

    /// Starts a worker of this library.
    pub(crate) fn rust(&self, name: &str) -> Running {
        self.rust_with(name, |builder| builder)
    }

    /// Starts one that works so long on each batch.
    pub(crate) fn rust_at_work(&self, name: &str, work: Duration) -> Running {
        let behaviour = Behaviour {
            work,
            ..Behaviour::default()
        };
        let builder = self.world.builder(name, behaviour);
        self.world.run(name, builder.aws_config(&self.aws(name)))
    }

    pub(crate) fn rust_with(
        &self,
        name: &str,
        change: impl FnOnce(WorkerBuilder) -> WorkerBuilder,
    ) -> Running {
        let builder = self.world.builder(name, Behaviour::default());
        self.world.run(name, change(builder.aws_config(&self.aws(name))))
    }

    /// Keys of all rows of a table, sorted.
    pub(crate) async fn keys(&self, table: &str, key: &str) -> Vec<String> {
        let page = self
            .dynamodb()
            .scan()
            .table_name(table)
            .send()
            .await
            .expect("scanned");
        let mut keys: Vec<_> = page
            .items()
            .iter()
            .map(|item| item[key].as_s().expect("a string").clone())
            .collect();
        keys.sort();
        keys
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.world.servers.backend.sdk_config())
    }

    /// Keeps records flowing on all shards.
    pub(crate) fn produce(&self) -> Producer {
        Producer::start(&self.world, Duration::from_millis(500))
    }

    /// The lease table; empty while there is none.
    pub(crate) async fn table(&self) -> TableSnapshot {
        match self.world.store().scan().await {
            Err(error) if error.kind() == StoreErrorKind::TableMissing => TableSnapshot::default(),
            scanned => scanned.expect("scanned"),
        }
    }

    /// Who holds the leader's lock.
    pub(crate) async fn leader(&self) -> Option<String> {
        match self.world.store().read_leader().await {
            Err(error) if error.kind() == StoreErrorKind::TableMissing => None,
            read => {
                let lock = read.expect("read").filter(|lock| !lock.released);
                lock.map(|lock| lock.owner.to_string())
            }
        }
    }

    /// Waits until exactly these workers own the open shards' leases, and each owner is given records of its shards that
    /// were put from now on.
    pub(crate) async fn until_run_by(&self, workers: &[&str]) {
        self.until_run_within(PATIENCE, workers).await;
    }

    /// As [`MixedFleet::until_run_by`], within this time.
    pub(crate) async fn until_run_within(&self, limit: Duration, workers: &[&str]) {
        let since = Instant::now();
        let wanted: BTreeSet<_> = workers.iter().copied().collect();
        self.until(limit, &format!("{workers:?} run the stream"), async || {
            let open = self.open_leases().await;
            let mut owners = BTreeSet::new();
            for lease in &open {
                let owner = lease.owner.as_ref().filter(|_| !lease.is_in_hand_off())?.as_str();
                let to_owner = |d: &Delivery| d.shard == lease.key.as_str() && d.worker == owner;
                self.world.ledger.first_since(since, to_owner)?;
                owners.insert(owner);
            }
            (owners == wanted).then_some(())
        })
        .await;
    }

    /// Waits until these workers own these numbers of open shards.
    pub(crate) async fn until_shared(&self, shares: &[(&str, usize)]) {
        let wanted: BTreeMap<_, _> = shares
            .iter()
            .map(|(worker, count)| ((*worker).to_owned(), *count))
            .collect();
        self.until(PATIENCE, &format!("shares are {shares:?}"), async || {
            (self.shares().await? == wanted).then_some(())
        })
        .await;
    }

    /// Waits until these workers, and no others, own open shards, and none is on its way.
    pub(crate) async fn until_owned_by(&self, workers: &[&str]) {
        let wanted: BTreeSet<_> = workers.iter().map(|worker| (*worker).to_owned()).collect();
        self.until(PATIENCE, &format!("{workers:?} have the leases"), async || {
            let owners: BTreeSet<_> = self.shares().await?.into_keys().collect();
            (owners == wanted).then_some(())
        })
        .await;
    }

    /// How many open shards each worker owns; `None` while a lease is nobody's or on its way.
    pub(crate) async fn shares(&self) -> Option<BTreeMap<String, usize>> {
        let mut owners = BTreeMap::new();
        for lease in &self.open_leases().await {
            let owner = lease.owner.as_ref().filter(|_| !lease.is_in_hand_off())?;
            *owners.entry(owner.to_string()).or_default() += 1;
        }
        Some(owners)
    }

    /// Leases of shards that are not processed to their ends.
    pub(crate) async fn open_leases(&self) -> Vec<Lease> {
        let mut leases = self.table().await.leases;
        leases.retain(|lease| !lease.has_ended());
        leases
    }

    /// Waits until so many shards are open and each is processed by its owner.
    pub(crate) async fn until_open(&self, shards: usize) {
        let since = Instant::now();
        self.until(
            PATIENCE,
            &format!("{shards} open shards are processed"),
            async || {
                let open = self.open_leases().await;
                for lease in &open {
                    let owner = lease.owner.as_ref().filter(|_| !lease.is_in_hand_off())?.as_str();
                    let to_owner = |d: &Delivery| d.shard == lease.key.as_str() && d.worker == owner;
                    self.world.ledger.first_since(since, to_owner)?;
                }
                (open.len() == shards).then_some(())
            },
        )
        .await;
    }

    /// Waits until every record was delivered that has been put so far.
    pub(crate) async fn until_caught_up(&self) {
        let puts = self.world.ledger.puts();
        self.until(PATIENCE * 2, "all that was put arrived", async || {
            (self.world.ledger.missing(&puts) == 0).then_some(())
        })
        .await;
    }

    /// Panics if within this time any lease goes to another worker, were it only on its way.
    pub(crate) async fn stays_run_by(&self, worker: &str, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            for lease in self.open_leases().await {
                assert_eq!(lease.owner, Some(worker.into()), "{lease:?}");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until this worker has reported.
    pub(crate) async fn until_announced(&self, worker: &str) {
        self.until(PATIENCE, &format!("{worker} is there"), async || {
            let store = self.world.store();
            let there = store.is_announced(&worker.into()).await.expect("read");
            there.then_some(())
        })
        .await;
    }

    /// Waits until this worker leads.
    pub(crate) async fn until_led_by(&self, worker: &str) {
        self.until(PATIENCE, &format!("{worker} leads"), async || {
            (self.leader().await.as_deref() == Some(worker)).then_some(())
        })
        .await;
    }

    /// Waits for a condition; panics with the state of the fleet.
    pub(crate) async fn until<T>(
        &self,
        limit: Duration,
        what: &str,
        check: impl AsyncFn() -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = check().await {
                println!(
                    "{}: {what} after {:.1} s",
                    self.scenario,
                    start.elapsed().as_secs_f64()
                );
                return found;
            }
            if start.elapsed() > limit {
                let table = self.table().await;
                let leader = self.leader().await;
                panic!(
                    "{}: not within {limit:?}: {what}; leader {leader:?}; {table:#?}",
                    self.scenario
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops the producer, and waits until all that was put was delivered. Panics if anything was lost, came out of
    /// order, or came again although it had been checkpointed.
    pub(crate) async fn settle(&self, producer: Producer) {
        producer.stop().await;
        self.world.until_drained(PATIENCE).await;
        self.world.assert_nothing_lost();
        println!("{}: {}", self.scenario, self.world.ledger.tally());
    }
}
