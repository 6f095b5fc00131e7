//! A backend with a stream, workers on it, and the tool beside them.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType};
use aws_sdk_kinesis::primitives::Blob;
use kcl_cli::{Arguments, Screen, run};
use kcl_core::{Environment, ProcessorError, Streams, Worker, WorkerHandle, each_batch};
use kcl_lease::{DynamoDbLeaseStore, Lease, LeaseStore as _, TableOptions, TableSnapshot};
use kcl_local::Backend;
use kcl_local::clock::Clock;
use kcl_local::faults::FaultScript;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub(crate) const APPLICATION: &str = "app";
pub(crate) const STREAM: &str = "clicks";

/// What happens takes no longer, in virtual time.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) faults: FaultScript,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    /// What workers processed.
    pub(crate) processed: Arc<Mutex<Vec<String>>>,
}

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// That all of this was written, with this code.
    #[track_caller]
    pub(crate) fn says(&self, code: u8, parts: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        let all = format!("{}\n{}", self.out, self.err);
        for part in parts {
            assert!(all.contains(part), "{part:?} is not in:\n{all}");
        }
    }
}

pub(crate) struct Running {
    pub(crate) handle: WorkerHandle,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn stop(self) {
        self.handle.shutdown().await;
        self.task.await.expect("ended");
    }

    /// Ends it without a word.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) fn leases(&self) -> usize {
        self.handle.status().leases_held
    }
}

impl World {
    pub(crate) fn without_stream() -> Self {
        let faults = FaultScript::new();
        let clock = Clock::starting_at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let backend = Backend::builder().faults(faults.clone()).clock(clock).build();
        let sdk = backend.sdk_config();
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
            kinesis: aws_sdk_kinesis::Client::new(&sdk),
            backend,
            faults,
            processed: Arc::default(),
        }
    }

    pub(crate) async fn with_shards(shards: i32) -> Self {
        let world = Self::without_stream();
        world.create_stream(STREAM, shards).await;
        world
    }

    pub(crate) async fn create_stream(&self, name: &str, shards: i32) {
        let creation = self.kinesis.create_stream().stream_name(name);
        creation.shard_count(shards).send().await.expect("created");
        sleep(Duration::from_secs(60)).await;
    }

    /// A stream and workers, each with its part of the shards.
    pub(crate) async fn with_fleet<const N: usize>(shards: i32, names: [&str; N]) -> (Self, [Running; N]) {
        let world = Self::with_shards(shards).await;
        let fleet = names.map(|name| world.worker(name));
        let most = usize::try_from(shards).unwrap().div_ceil(N);
        world
            .until("the fleet is balanced", async || {
                let counts: Vec<_> = fleet.iter().map(Running::leases).collect();
                counts.iter().sum::<usize>() == usize::try_from(shards).unwrap()
                    && counts.iter().all(|count| *count <= most)
            })
            .await;
        (world, fleet)
    }

    pub(crate) fn environment(&self) -> Environment {
        let clock = self.backend.clock().clone();
        Environment::seeded(7, move || clock.now())
    }

    /// A worker that notes and checkpoints what it gets.
    pub(crate) fn worker(&self, name: &str) -> Running {
        self.worker_on(name, STREAM)
    }

    /// The same, on other streams.
    pub(crate) fn worker_on(&self, name: &str, streams: impl Into<Streams>) -> Running {
        let processed = Arc::clone(&self.processed);
        let processor = each_batch(async move |batch, checkpointer| {
            let texts = batch
                .iter()
                .map(|record| String::from_utf8_lossy(record.data()).into_owned());
            processed.lock().unwrap().extend(texts);
            checkpointer.checkpoint().await?;
            Ok::<(), ProcessorError>(())
        });
        let worker = Worker::builder(APPLICATION, streams, processor)
            .worker_id(name)
            .aws_config(&self.backend.sdk_config())
            .environment(self.environment())
            .build()
            .expect("valid");
        let handle = worker.handle();
        let task = tokio::spawn(async move {
            worker.run().await.expect("it runs");
        });
        Running { handle, task }
    }

    pub(crate) async fn put(&self, text: &str, key: &str) {
        self.put_to(STREAM, text, key).await;
    }

    pub(crate) async fn put_to(&self, stream: &str, text: &str, key: &str) {
        let record = self.kinesis.put_record().stream_name(stream);
        let record = record.partition_key(key).data(Blob::new(text));
        record.send().await.expect("put");
    }

    pub(crate) fn processed(&self) -> Vec<String> {
        self.processed.lock().unwrap().clone()
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, is_so: impl AsyncFn() -> bool) {
        let start = Instant::now();
        while !is_so().await {
            assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn store(&self) -> DynamoDbLeaseStore {
        DynamoDbLeaseStore::new(self.dynamodb.clone(), TableOptions::new(APPLICATION))
    }

    pub(crate) async fn table(&self) -> TableSnapshot {
        self.store().scan().await.expect("scanned")
    }

    pub(crate) async fn lease(&self, key: &str) -> Lease {
        let lease = self.store().get(&key.into()).await.expect("read");
        lease.unwrap_or_else(|| panic!("no lease {key}"))
    }

    /// Runs a command on the table.
    pub(crate) async fn kcl(&self, arguments: &[&str]) -> Told {
        self.kcl_with(arguments, None).await
    }

    /// Runs a command for somebody who answers questions so.
    pub(crate) async fn kcl_with(&self, arguments: &[&str], answer: Option<bool>) -> Told {
        use clap::Parser as _;
        let all = ["kcl", "--application", APPLICATION];
        let arguments = Arguments::try_parse_from(all.iter().chain(arguments)).expect("valid arguments");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err).json(arguments.is_json());
        if let Some(answer) = answer {
            screen = screen.asking(Box::new(move |_| Ok(answer)));
        }
        let sdk = self.backend.sdk_config_named("kcl");
        let result = run(arguments, &sdk, &self.environment(), &mut screen).await;
        let code = match result {
            Ok(status) => status.code(),
            Err(failure) => {
                screen.say(&failure).expect("written");
                failure.code()
            }
        };
        drop(screen);
        Told {
            code,
            out: String::from_utf8(out).expect("text"),
            err: String::from_utf8(err).expect("text"),
        }
    }

    /// A table with nothing but a key.
    pub(crate) async fn create_table(&self, table: &str, key: &str) {
        let attribute = AttributeDefinition::builder()
            .attribute_name(key)
            .attribute_type("S".into());
        let schema = KeySchemaElement::builder()
            .attribute_name(key)
            .key_type(KeyType::Hash);
        let request = self
            .dynamodb
            .create_table()
            .table_name(table)
            .attribute_definitions(attribute.build().unwrap())
            .key_schema(schema.build().unwrap())
            .billing_mode(BillingMode::PayPerRequest);
        request.send().await.unwrap();
    }

    pub(crate) async fn put_item(&self, table: &str, item: &[(&str, AttributeValue)]) {
        let item = item
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let request = self
            .dynamodb
            .put_item()
            .table_name(table)
            .set_item(Some(item.collect()));
        request.send().await.unwrap();
    }

    /// The tables of a recording of Java workers, under the names that this application's have.
    pub(crate) async fn of_java(recording: &str) -> Self {
        let world = Self::without_stream();
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../kcl-lease/tests/java-kcl-tables")
            .join(recording);
        let stage: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for (name, table) in stage["tables"].as_object().unwrap() {
            let (suffix, key) = match name.split_once('-') {
                Some((_, "CoordinatorState")) => ("-CoordinatorState", "key"),
                Some((_, "WorkerMetricStats")) => ("-WorkerMetricStats", "wid"),
                _ => ("", "leaseKey"),
            };
            let name = format!("{APPLICATION}{suffix}");
            world.create_table(&name, key).await;
            for item in table["items"].as_array().unwrap() {
                let attributes = item.as_object().unwrap().iter();
                let item: Vec<_> = attributes
                    .map(|(name, value)| (name.as_str(), attribute(value)))
                    .collect();
                world.put_item(&name, &item).await;
            }
        }
        world
    }
}

pub(crate) fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

pub(crate) fn number(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let list = || value.as_array().unwrap().iter();
    match kind.as_str() {
        "S" => text(value.as_str().unwrap()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "SS" => AttributeValue::Ss(list().map(|text| text.as_str().unwrap().to_owned()).collect()),
        "L" => AttributeValue::L(list().map(attribute).collect()),
        "M" => {
            let attributes = value.as_object().unwrap().iter();
            AttributeValue::M(
                attributes
                    .map(|(name, value)| (name.clone(), attribute(value)))
                    .collect(),
            )
        }
        other => panic!("type {other} is not in the recordings"),
    }
}
