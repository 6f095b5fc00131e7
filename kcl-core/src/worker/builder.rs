//! Configures a worker.

mod build;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_types::SdkConfig;
use kcl_lease::{
    Balancing, Billing, Environment, LeaseStore, Load, Metrics, Recorder, TableCreation, WorkerId,
};

use super::watchdog::StallHook;
use crate::config::{
    FailurePolicy, FanOut, FormerStreams, InitialPosition, OtherStream, ReadEncoding, Streams, WorkerConfig,
};
use crate::dead_letters::DeadLetters;
use crate::failure::{FailureHandler, Handler};
use crate::processor_factory::ProcessorFactory;
use crate::status::ShardStatus;

/// Configures a [`Worker`](crate::Worker). Everything is checked together by [`build`](Self::build).
///
/// A worker runs once. A program that starts it again, after [an error that may pass](crate::Error::is_retryable), keeps a clone of the
/// builder:
///
/// ```no_run
/// # use std::time::Duration;
/// # use kcl_core::{Error, WorkerBuilder};
/// # async fn run(builder: WorkerBuilder) -> Result<(), Error> {
/// loop {
///     match builder.clone().build()?.run_until_signal().await {
///         Err(error) if error.is_retryable() => eprintln!("{error}; once more in ten seconds"),
///         ended => return ended.map(|_| ()),
///     }
///     tokio::time::sleep(Duration::from_secs(10)).await;
/// }
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until build is called"]
pub struct WorkerBuilder {
    application: String,
    streams: Streams,
    factory: ProcessorFactory,
    config: WorkerConfig,
    env: Environment,
    sdk: Option<SdkConfig>,
    kinesis: Option<aws_sdk_kinesis::Client>,
    dynamodb: Option<aws_sdk_dynamodb::Client>,
    store: Option<Arc<dyn LeaseStore>>,
    metrics: Option<Metrics>,
    handler: Handler,
    dead_letters: Option<Arc<dyn DeadLetters>>,
    stall_hook: StallHook,
}

impl WorkerBuilder {
    pub(super) fn new(application: String, streams: Streams, factory: ProcessorFactory) -> Self {
        Self {
            config: WorkerConfig::default(),
            application,
            streams,
            factory,
            env: Environment::system(),
            sdk: None,
            kinesis: None,
            dynamodb: None,
            store: None,
            metrics: None,
            handler: Handler::default(),
            dead_letters: None,
            stall_hook: StallHook::default(),
        }
    }

    /// Sets all options at once, as they were read from a file or from the environment, say. Setters that are called afterwards
    /// change single ones.
    pub fn config(mut self, config: WorkerConfig) -> Self {
        self.config = config;
        self
    }

    /// The AWS configuration from which the clients are made. Time-outs that it leaves open are set to fit: reads of
    /// Kinesis get 10 s per attempt and 30 s in all, calls of DynamoDB a fifth and a half of the fail-over time.
    pub fn aws_config(mut self, config: &SdkConfig) -> Self {
        self.sdk = Some(config.clone());
        self
    }

    /// A Kinesis client to use as it is.
    pub fn kinesis_client(mut self, client: aws_sdk_kinesis::Client) -> Self {
        self.kinesis = Some(client);
        self
    }

    /// A DynamoDB client to use as it is. Give it time-outs well below the fail-over time.
    pub fn dynamodb_client(mut self, client: aws_sdk_dynamodb::Client) -> Self {
        self.dynamodb = Some(client);
        self
    }

    /// Keeps the leases elsewhere than in DynamoDB. The options of the table have no effect then.
    pub fn lease_store(mut self, store: Arc<dyn LeaseStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The unique name of this worker in its fleet. Default: the host's name and a random UUID.
    ///
    /// A worker that restarts under a name used before takes its leases up again at once.
    pub fn worker_id(mut self, id: impl Into<WorkerId>) -> Self {
        self.config.worker_id = Some(id.into());
        self
    }

    /// The lease table. Default: the application's name, as in the Java KCL.
    pub fn table_name(mut self, name: impl Into<String>) -> Self {
        self.config.table.name = Some(name.into());
        self
    }

    /// The table in which Java workers of 3.0 to 3.4 keep the leader's lock, if they are configured with a name of their own
    /// (`CoordinatorStateTableConfig`). Default: the application's name and `-CoordinatorState`.
    pub fn coordinator_state_table(mut self, name: impl Into<String>) -> Self {
        self.config.table.coordinator_state_table = Some(name.into());
        self
    }

    /// The table in which Java workers of 3.0 to 3.4 show that they live, if they are configured with a name of their own
    /// (`WorkerMetricsTableConfig`). Default: the application's name and `-WorkerMetricStats`.
    pub fn worker_metrics_table(mut self, name: impl Into<String>) -> Self {
        self.config.table.worker_metrics_table = Some(name.into());
        self
    }

    /// Whether a missing table is created. Default: it is.
    pub fn table_creation(mut self, creation: TableCreation) -> Self {
        self.config.table.creation = creation;
        self
    }

    /// Tags of a table that is created. Default: none.
    pub fn table_tags<K: Into<String>, V: Into<String>>(
        mut self,
        tags: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.config.table.tags = tags
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        self
    }

    /// How a table that is created is paid for. Default: per request.
    pub fn table_billing(mut self, billing: Billing) -> Self {
        self.config.table.billing = billing;
        self
    }

    /// Whether a table that is created is protected from deletion. Default: no.
    pub fn table_deletion_protection(mut self, protected: bool) -> Self {
        self.config.table.deletion_protection = protected;
        self
    }

    /// Whether the table, new or not, can be restored to any moment of the last 35 days. A table that
    /// [must exist](Self::table_creation) is left alone. Default: no.
    pub fn table_point_in_time_recovery(mut self, wanted: bool) -> Self {
        self.config.table.point_in_time_recovery = wanted;
        self
    }

    /// Whether leases of the Java KCL 2.x are taken over. Its workers fail once this worker has joined, so stop them for
    /// good before. Default: no, joining is refused.
    pub fn takes_over_from_2x(mut self, takes_over: bool) -> Self {
        self.config.table.takes_over_from_2x = takes_over;
        self
    }

    /// Whether this worker moves from the three tables of the Java KCL 3.0 to 3.4 to the single one, as Java workers of 3.5
    /// do with `migrateAllEntitiesToLeaseTable`. See [`TableOptions`](kcl_lease::TableOptions::moves_to_single_table).
    /// Default: no.
    pub fn moves_to_single_table(mut self, moves: bool) -> Self {
        self.config.table.moves_to_single_table = moves;
        self
    }

    /// Where a new application starts to read. Default: with the oldest retained record.
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.config.retrieval.initial_position = position;
        self
    }

    /// What to do when the application's leases are of another stream than this one. Default: the worker refuses to start, or
    /// ends if it runs already.
    ///
    /// A worker of several streams does not end for one of them that was deleted and made anew: by default the new one is not begun, and
    /// the status says so (`other-stream`). To begin it anew, its old leases are deleted.
    pub fn on_other_stream(mut self, what: OtherStream) -> Self {
        self.config.leases.on_other_stream = what;
        self
    }

    /// How long a silent worker keeps its leases; 1 s to 1 h. Default: 10 s. All workers of an application should agree.
    /// Shorter is quicker to recover and costs more requests.
    pub fn failover_time(mut self, time: Duration) -> Self {
        self.config.fleet.failover_time = time;
        self
    }

    /// The most leases that this worker is given. Default: no limit.
    pub fn max_leases(mut self, limit: usize) -> Self {
        self.config.fleet.max_leases = Some(limit);
        self
    }

    /// By what the leases are spread over the workers; all workers of an application should agree. Default: by how busy they
    /// say they are, else by throughput, and by count while there is little to do.
    pub fn balancing(mut self, balancing: Balancing) -> Self {
        self.config.fleet.balancing = balancing;
        self
    }

    /// Whether, and by what, this worker tells how busy it is. Default: by its CPU, where that can be read and the
    /// [`environment`](Self::environment) is the machine's.
    pub fn load(mut self, load: Load) -> Self {
        self.config.fleet.load = load;
        self
    }

    /// The operating range in percent, 1 to 100: while this worker is busier than that, others get its leases. Default: 100.
    pub fn max_utilization(mut self, percent: u8) -> Self {
        self.config.fleet.max_utilization = percent;
        self
    }

    /// How often this worker tells how busy it is; 1 s to 30 s. Default: 30 s. All workers of an application should agree, for
    /// it is the unit of time of [balancing by load](Balancing): shorter evens the load out sooner, on the word of means over
    /// less time.
    pub fn report_interval(mut self, interval: Duration) -> Self {
        self.config.fleet.report_interval = interval;
        self
    }

    /// How long a worker may take to hand a lease over before the leader ends it; up to 1 h. Default: 30 s.
    pub fn hand_off_timeout(mut self, timeout: Duration) -> Self {
        self.config.fleet.hand_off_timeout = timeout;
        self
    }

    /// How long a running call of a processor may keep a lease from being given up, at a hand-off and when the worker
    /// stops; up to 1 h. Default: the hand-off time-out. Afterwards the lease is given up while the call runs on. At a stop it
    /// is no longer than three quarters of the [stop time-out](Self::stop_timeout).
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.config.processing.drain_timeout = Some(timeout);
        self
    }

    /// How long a stop may take in all, 1 s to 1 h: choose less than what passes between the signal and the kill. Default: 20 s,
    /// for the 30 s of Kubernetes and Amazon ECS; 8 s fits into the 10 s of `docker stop`.
    ///
    /// A call of a processor that is still running after three quarters of it keeps running, but its lease is handed on; after
    /// seven eighths the worker no longer waits for it. What could not be given up when all of it is over expires.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.config.processing.stop_timeout = timeout;
        self
    }

    /// Read capacity units of the lease table that the leader's scans may use each second; 0.1 to 10,000. Default: 50. A table of
    /// provisioned capacity should leave room besides for a `GetItem` of each worker each second. While the table throttles, a
    /// leader makes do with less.
    pub fn scan_budget(mut self, units_per_second: f64) -> Self {
        self.config.fleet.scan_budget = units_per_second;
        self
    }

    /// How often the leader checks that the leases cover every hash key; 1 s to 1 day. Default: 2 minutes.
    pub fn audit_interval(mut self, interval: Duration) -> Self {
        self.config.leases.audit_interval = interval;
        self
    }

    /// How often the leader looks for leases of ended shards to delete; 1 s to 1 day. Default: 1 minute, and soon after a
    /// shard ended.
    pub fn cleanup_interval(mut self, interval: Duration) -> Self {
        self.config.leases.cleanup_interval = interval;
        self
    }

    /// What the worker reads, in place of what the builder was made with.
    pub fn streams(mut self, streams: impl Into<Streams>) -> Self {
        self.streams = streams.into();
        self
    }

    /// How often the [tracker](crate::StreamTracker) of a worker of several streams is asked; 1 s to 1 day. Default: 1 minute, as in the
    /// Java KCL.
    pub fn streams_interval(mut self, interval: Duration) -> Self {
        self.config.leases.streams_interval = interval;
        self
    }

    /// What becomes of the leases of streams that are not named any more, in an application of several streams. Default: they are kept.
    pub fn former_streams(mut self, what: FormerStreams) -> Self {
        self.config.leases.former_streams = what;
        self
    }

    /// Whether a worker of several streams takes over a table of one of them, with its checkpoints: each lease gets the name that it has
    /// among several. Stop all workers of the one stream before, those of the Java KCL, too: while one of them renews a lease, nothing is
    /// taken over. Which stream the table is of is recorded in it; in a table that only the Java KCL wrote it is not, and then only that
    /// stream is to be named for the first start. There is no way back. Default: no, joining is refused.
    pub fn takes_over_from_one_stream(mut self, takes_over: bool) -> Self {
        self.config.leases.takes_over_from_one_stream = takes_over;
        self
    }

    /// The most records per read, and so per batch; 1 to 10,000 (limit of the service). Default: 10,000.
    pub fn max_records(mut self, limit: u32) -> Self {
        self.config.retrieval.max_records = limit;
        self
    }

    /// Reads by [enhanced fan-out](FanOut) instead of polling: records come as soon as they are put, and other applications take
    /// nothing of the 2 MB per second and shard. It is paid for by the consumer, the shard and the hour. What else is said of reads,
    /// as `idle_time` and `max_records`, is for polling. Default: polling.
    ///
    /// It may be changed while the fleet runs, one worker after the other: a shard goes on where it was checkpointed.
    pub fn fan_out(mut self, fan_out: FanOut) -> Self {
        self.config.retrieval.fan_out = Some(fan_out);
        self
    }

    /// The longest pause between two reads of a shard that has no new records; 1 ms to 4 min. Default: 1 s. The pause
    /// grows towards it from 200 ms, and a read that finds records resets it.
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.config.retrieval.idle_time = time;
        self
    }

    /// The shortest pause between two reads of a shard. Default: 200 ms, because Kinesis allows 5 reads per second and
    /// shard to all its readers together. Zero is for servers without limits: the limit of 2 MB per second and shard is not
    /// kept either.
    pub fn min_read_interval(mut self, interval: Duration) -> Self {
        self.config.retrieval.min_read_interval = interval;
        self
    }

    /// Bytes of one shard that are read ahead of its processor. Default: 8 MiB. A read begins while there is less; what it
    /// brings may go beyond.
    pub fn prefetch_bytes_per_shard(mut self, bytes: u64) -> Self {
        self.config.retrieval.prefetch_bytes_per_shard = bytes;
        self
    }

    /// The bound for what the worker holds of its stream, in bytes: records for as long as anybody holds them, and answers of
    /// Kinesis under way. 1 KiB to 1 TiB. Default: 256 MiB.
    ///
    /// An answer counts with what it may at most be (10 MiB of records, and their encoding), or with twice what as many
    /// records took before, from before it is asked for; with what it is from then on. Half of the bound is divided
    /// evenly between the worker's shards, and no shard gets the others' parts, so that shards whose processors are stuck do
    /// not keep the others from reading. With less than 96 MiB, a single answer may be larger than the bound.
    ///
    /// Records that the application keeps after its `process_records` returned count until it drops them. An application that keeps all that there is brings reading to a stop; the shard's status says
    /// `no-memory` after a minute. What is kept for long should be [detached](crate::Record::detach).
    pub fn prefetch_bytes_per_worker(mut self, bytes: u64) -> Self {
        self.config.retrieval.prefetch_bytes_per_worker = bytes;
        self
    }

    /// Whether processors are called for reads that found nothing. Default: no.
    pub fn empty_batches(mut self, wanted: bool) -> Self {
        self.config.retrieval.empty_batches = wanted;
        self
    }

    /// In which encoding records are read. Default: CBOR, with which the records of an answer are slices of it and which costs
    /// less than half of what JSON costs; a server that does not speak it is asked in JSON. An interceptor of your own sees an answer of the SDK
    /// without records then: they do not pass through it.
    pub fn read_encoding(mut self, encoding: ReadEncoding) -> Self {
        self.config.retrieval.read_encoding = encoding;
        self
    }

    /// Whether aggregates, in which a producer put many user records (the Kinesis Producer Library does), are taken apart.
    /// Default: yes. Processors are given the user records, and can checkpoint at each of them.
    ///
    /// User records whose hash keys are not the shard's are left out: they were put together before the shard was split, and
    /// their producer puts them once more. Without this, processors are given aggregates as they are.
    pub fn deaggregate(mut self, wanted: bool) -> Self {
        self.config.retrieval.deaggregate = wanted;
        self
    }

    /// The most records that a batch has. Default: what a read brought, or [`max_records`](Self::max_records) where aggregates
    /// hold more user records than that. What a read brought beyond it comes with the next batch.
    pub fn max_batch_records(mut self, records: u32) -> Self {
        self.config.processing.max_batch_records = Some(records);
        self
    }

    /// The most bytes that the payloads and partition keys of a batch have. Default: what a read brought. A record that is larger
    /// comes alone.
    pub fn max_batch_bytes(mut self, bytes: u64) -> Self {
        self.config.processing.max_batch_bytes = Some(bytes);
        self
    }

    /// How long a batch that has records waits for more, until it is as large as it may be, the shard ends, or it holds half of
    /// [`prefetch_bytes_per_shard`](Self::prefetch_bytes_per_shard). At most 5 minutes. Default: it does not wait.
    pub fn batch_window(mut self, window: Duration) -> Self {
        self.config.processing.batch_window = window;
        self
    }

    /// What to do when a processor keeps failing. Default: repeat the batch forever; nothing is skipped.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.config.processing.failure_policy = policy;
        self
    }

    /// A shard that has something to do and gets no further for so long is shown as
    /// [`stalled`](crate::ShardStatus::stalled), with the reason, and the log says so once. 1 s to 24 hours; default: 5 minutes.
    pub fn stalled_after(mut self, time: Duration) -> Self {
        self.config.processing.stalled_after = time;
        self
    }

    /// Called when a shard begins to [stall](crate::ShardStatus::stalled), and when it gets further again, with its status. It should
    /// return at once.
    pub fn on_stalled(mut self, hook: impl Fn(&ShardStatus) + Send + Sync + 'static) -> Self {
        self.stall_hook = StallHook::new(hook);
        self
    }

    /// Who decides about failed records in place of the [failure policy](Self::failure_policy), where it has an opinion. Default:
    /// nobody.
    pub fn on_failure(mut self, handler: impl FailureHandler) -> Self {
        self.handler = Handler::new(handler);
        self
    }

    /// Where records go that are given up as [`LastResort::DeadLetter`](crate::LastResort::DeadLetter) or
    /// [`Decision::DeadLetter`](crate::Decision::DeadLetter) says. Default: nowhere; no record is given up then.
    pub fn dead_letters(mut self, sink: impl DeadLetters) -> Self {
        self.dead_letters = Some(Arc::new(sink));
        self
    }

    /// Where the worker's numbers go: see [`Counter`](kcl_lease::Counter), [`Gauge`](kcl_lease::Gauge) and
    /// [`Histogram`](kcl_lease::Histogram) for what there is. Default: nowhere.
    pub fn recorder(mut self, recorder: Arc<dyn Recorder>) -> Self {
        self.metrics = Some(Metrics::to(recorder));
        self
    }

    /// Where time of day and randomness come from. Default: the machine. With another one, the load of the machine is not
    /// looked at either.
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }
}

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("application", &self.application)
            .field("streams", &self.streams)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
