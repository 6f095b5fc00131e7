//! A backend with several streams, workers that read them, and what was delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_types::SdkConfig;
use kcl_core::{
    Checkpointer, Error, InitialPosition, ProcessorError, RecordBatch, RecordProcessor, ShardContext,
    Stopped, StreamId, StreamTracker, Streams, TrackedStream, Worker, WorkerBuilder, WorkerHandle,
    async_trait,
};
use kcl_lease::{DynamoDbLeaseStore, Lease, LeaseStore, StoreErrorKind, TableOptions};
use kcl_local::Backend;
use kcl_tests::eventually;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(super) const SOON: Duration = Duration::from_secs(20);

/// A backend, and what was delivered: by stream, each record as often as it came.
#[derive(Clone)]
pub(super) struct Streamed {
    pub(super) aws: SdkConfig,
    pub(super) kinesis: Client,
    pub(super) delivered: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    _backend: Arc<Backend>,
}

struct Noting {
    stream: String,
    delivered: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

#[async_trait]
impl RecordProcessor for Noting {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            let text = String::from_utf8(record.data().to_vec())?;
            let mut delivered = self.delivered.lock().expect("not poisoned");
            delivered.entry(self.stream.clone()).or_default().push(text);
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }
}

/// A worker that runs.
pub(super) struct Working {
    pub(super) handle: WorkerHandle,
    pub(super) task: JoinHandle<Result<Stopped, Error>>,
}

impl Working {
    pub(super) async fn stop(self) -> Stopped {
        self.handle.shutdown().await;
        self.task.await.expect("no panic").expect("a clean stop")
    }

    pub(super) fn codes(&self) -> BTreeSet<&'static str> {
        let problems = self.handle.status().problems;
        problems.iter().map(|problem| problem.code).collect()
    }
}

impl Streamed {
    /// With these streams and numbers of shards.
    pub(super) async fn with(streams: &[(&str, i32)]) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let backend = Arc::new(Backend::start());
        let aws = backend.sdk_config();
        let world = Self {
            kinesis: Client::new(&aws),
            aws,
            delivered: Arc::default(),
            _backend: backend,
        };
        for (stream, shards) in streams {
            world.create(stream, *shards).await;
        }
        world
    }

    pub(super) async fn create(&self, stream: &str, shards: i32) {
        let request = self.kinesis.create_stream().stream_name(stream);
        request.shard_count(shards).send().await.expect("created");
        let is_active = async || {
            let summary = self.kinesis.describe_stream_summary().stream_name(stream);
            let told = summary.send().await.expect("described");
            told.stream_description_summary
                .is_some_and(|it| it.stream_status.as_str() == "ACTIVE")
        };
        let deadline = Instant::now() + SOON;
        while !is_active().await {
            assert!(Instant::now() < deadline, "{stream} is not active in time");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn delete(&self, stream: &str) {
        let request = self.kinesis.delete_stream().stream_name(stream);
        request.send().await.expect("deleted");
        let deadline = Instant::now() + SOON;
        let summary = || self.kinesis.describe_stream_summary().stream_name(stream);
        while summary().send().await.is_ok() {
            assert!(Instant::now() < deadline, "{stream} is not deleted in time");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn builder(&self, name: &str, streams: impl Into<Streams>) -> WorkerBuilder {
        let delivered = self.delivered.clone();
        let factory = move |shard: &ShardContext| Noting {
            stream: shard.stream.name().to_owned(),
            delivered: delivered.clone(),
        };
        Worker::builder("app", streams, factory)
            .aws_config(&self.aws)
            .worker_id(name)
            .initial_position(InitialPosition::TrimHorizon)
    }

    pub(super) fn start(&self, builder: WorkerBuilder) -> Working {
        let worker = builder.build().expect("valid");
        let handle = worker.handle();
        Working {
            handle,
            task: tokio::spawn(worker.run()),
        }
    }

    /// Puts these records, each into the shard that its text hashes to.
    pub(super) async fn put(&self, stream: &str, texts: std::ops::Range<u32>) {
        for text in texts {
            let text = format!("{stream}-{text}");
            let request = self.kinesis.put_record().stream_name(stream);
            let request = request.partition_key(&text).data(Blob::new(text.as_bytes()));
            request.send().await.expect("put");
        }
    }

    pub(super) fn of(&self, stream: &str) -> Vec<String> {
        let delivered = self.delivered.lock().expect("not poisoned");
        let mut texts = delivered.get(stream).cloned().unwrap_or_default();
        texts.sort();
        texts
    }

    /// Waits until just these were delivered, each once.
    pub(super) async fn until_delivered(&self, stream: &str, texts: std::ops::Range<u32>) {
        let mut expected: Vec<_> = texts.map(|text| format!("{stream}-{text}")).collect();
        expected.sort();
        eventually(
            SOON,
            || (self.of(stream) == expected).then_some(()),
            || format!("{:?}", self.of(stream)),
        )
        .await;
    }

    pub(super) async fn leases(&self) -> Vec<Lease> {
        let client = aws_sdk_dynamodb::Client::new(&self.aws);
        let store = DynamoDbLeaseStore::new(client, TableOptions::new("app"));
        match store.scan().await {
            Ok(table) => table.leases,
            Err(error) if error.kind() == StoreErrorKind::TableMissing => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the leases are so.
    pub(super) async fn until_leases(&self, is_so: impl Fn(&[Lease]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let leases = self.leases().await;
            if is_so(&leases) {
                return;
            }
            assert!(Instant::now() < deadline, "{leases:#?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The streams that leases are of, by name.
pub(super) fn streams_of(leases: &[Lease]) -> BTreeSet<String> {
    let names = leases.iter().map(|lease| {
        let stream = &lease.stream_shard.as_ref().expect("of several").stream;
        stream.parse::<StreamId>().expect("an id").name().to_owned()
    });
    names.collect()
}

pub(super) fn both() -> Streams {
    Streams::fixed(["orders", "clicks"])
}

/// A tracker whose list a test changes; `None` is a failure.
#[derive(Clone, Default)]
pub(super) struct List(Arc<Mutex<Option<Vec<&'static str>>>>);

impl List {
    pub(super) fn of(streams: &[&'static str]) -> Self {
        let list = Self::default();
        list.set(Some(streams));
        list
    }

    pub(super) fn set(&self, streams: Option<&[&'static str]>) {
        *self.0.lock().expect("not poisoned") = streams.map(<[_]>::to_vec);
    }
}

#[async_trait]
impl StreamTracker for List {
    async fn streams(&self) -> Result<Vec<TrackedStream>, ProcessorError> {
        let streams = self.0.lock().expect("not poisoned").clone();
        let streams = streams.ok_or("the registry is away")?;
        assert!(!streams.contains(&"panic"), "as the test wants it");
        Ok(streams.into_iter().map(TrackedStream::from).collect())
    }
}
