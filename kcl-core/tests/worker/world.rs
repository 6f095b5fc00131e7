//! A stream, the workers that read it, and everything that their processors saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use kcl_core::{
    Checkpointer, Environment, InitialPosition, LossReason, ProcessorError, RecordBatch, RecordProcessor,
    ShardContext, Worker, WorkerBuilder, async_trait,
};
use kcl_lease::{DynamoDbLeaseStore, Lease, LeaseStore as _, TableOptions};
use kcl_local::Backend;
use tokio::time::{Instant, sleep};

/// What a processor does with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    Process,
    ProcessWithoutCheckpoint,
    Fail,
    Panic,
    /// Works for this long, then succeeds.
    Work(Duration),
}

type Script = Arc<dyn Fn(&str, &RecordBatch) -> Reaction + Send + Sync>;

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Per shard, in order: the payloads of batches that were processed.
    pub(crate) records: BTreeMap<String, Vec<String>>,
    /// Shard and payload, in the order in which they were processed first.
    pub(crate) first: Vec<(String, String)>,
    /// Worker, shard and call.
    pub(crate) calls: Vec<(String, String, String)>,
}

pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    pub(crate) seen: Arc<Mutex<Seen>>,
    put: Mutex<BTreeMap<String, Vec<String>>>,
    script: Mutex<Script>,
}

pub(crate) const STREAM: &str = "orders";

impl World {
    pub(crate) async fn with_shards(shards: i32) -> Self {
        Self::new(shards, Backend::start()).await
    }

    pub(crate) async fn new(shards: i32, backend: Backend) -> Self {
        let kinesis = aws_sdk_kinesis::Client::new(&backend.sdk_config());
        kinesis
            .create_stream()
            .stream_name(STREAM)
            .shard_count(shards)
            .send()
            .await
            .expect("created");
        let world = Self {
            backend,
            kinesis,
            seen: Arc::default(),
            put: Mutex::default(),
            script: Mutex::new(Arc::new(|_, _| Reaction::Process)),
        };
        world.until_active().await;
        world
    }

    pub(crate) async fn until_active(&self) {
        for _ in 0..600 {
            let summary = self
                .kinesis
                .describe_stream_summary()
                .stream_name(STREAM)
                .send()
                .await
                .expect("described");
            let status = summary
                .stream_description_summary
                .map(|summary| summary.stream_status);
            if status.as_ref().is_some_and(|status| status.as_str() == "ACTIVE") {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("the stream never became active");
    }

    /// Puts records under as many keys.
    pub(crate) async fn put(&self, count: usize) {
        let before: usize = self.put.lock().expect("unpoisoned").values().map(Vec::len).sum();
        for number in before..before + count {
            let text = format!("order {number}");
            let request = self
                .kinesis
                .put_record()
                .stream_name(STREAM)
                .data(Blob::new(text.as_bytes()));
            let answer = request
                .partition_key(format!("customer {number}"))
                .send()
                .await
                .expect("put");
            self.put
                .lock()
                .expect("unpoisoned")
                .entry(answer.shard_id().to_owned())
                .or_default()
                .push(text);
        }
    }

    /// What processors do from the next batch on.
    pub(crate) fn react(&self, script: impl Fn(&str, &RecordBatch) -> Reaction + Send + Sync + 'static) {
        *self.script.lock().expect("unpoisoned") = Arc::new(script);
    }

    pub(crate) fn worker(self: &World, id: &str) -> WorkerBuilder {
        self.worker_for(id, STREAM)
    }

    pub(crate) fn worker_for(&self, id: &str, stream: &str) -> WorkerBuilder {
        let seed = id.bytes().map(u64::from).sum();
        let clock = self.backend.clock().clone();
        let (seen, script, worker) = (
            self.seen.clone(),
            self.script.lock().expect("unpoisoned").clone(),
            id.to_owned(),
        );
        let factory = move |shard: &ShardContext| Probe {
            worker: worker.clone(),
            shard: shard.shard_id.to_string(),
            seen: seen.clone(),
            script: script.clone(),
        };
        Worker::builder("billing", stream, factory)
            .aws_config(&self.backend.sdk_config_named(id))
            .environment(Environment::seeded(seed, move || clock.now()))
            .worker_id(id)
            .initial_position(InitialPosition::TrimHorizon)
    }

    pub(crate) fn put_per_shard(&self) -> BTreeMap<String, Vec<String>> {
        self.put.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn delivered_per_shard(&self) -> BTreeMap<String, Vec<String>> {
        self.seen.lock().expect("unpoisoned").records.clone()
    }

    pub(crate) fn delivered(&self) -> usize {
        self.seen
            .lock()
            .expect("unpoisoned")
            .records
            .values()
            .map(Vec::len)
            .sum()
    }

    /// Whether every record was delivered, once or more often.
    pub(crate) fn is_complete(&self) -> bool {
        let (put, seen) = (self.put_per_shard(), self.delivered_per_shard());
        put.iter().all(|(shard, records)| {
            seen.get(shard)
                .is_some_and(|seen| records.iter().all(|record| seen.contains(record)))
        })
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.calls_of(method).len()
    }

    /// Worker and shard of the calls of a method, in order.
    pub(crate) fn calls_of(&self, method: &str) -> Vec<(String, String)> {
        let seen = self.seen.lock().expect("unpoisoned");
        let calls = seen.calls.iter().filter(|(_, _, call)| call == method);
        calls
            .map(|(worker, shard, _)| (worker.clone(), shard.clone()))
            .collect()
    }

    pub(crate) async fn leases(&self) -> Vec<Lease> {
        let client = aws_sdk_dynamodb::Client::new(&self.backend.sdk_config());
        DynamoDbLeaseStore::new(client, TableOptions::new("billing"))
            .scan()
            .await
            .expect("readable")
            .leases
    }

    pub(crate) async fn eventually(&self, what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        while !holds() {
            assert!(
                Instant::now() < deadline,
                "not within {seconds} s: {what}; {:#?}",
                self.seen.lock().expect("ok").calls
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

struct Probe {
    worker: String,
    shard: String,
    seen: Arc<Mutex<Seen>>,
    script: Script,
}

impl Probe {
    fn log(&self, call: &str) {
        let entry = (self.worker.clone(), self.shard.clone(), call.to_owned());
        self.seen.lock().expect("unpoisoned").calls.push(entry);
    }
}

#[async_trait]
impl RecordProcessor for Probe {
    async fn initialize(&mut self, _: &ShardContext) -> Result<(), ProcessorError> {
        self.log("initialize");
        Ok(())
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let reaction = (self.script)(&self.worker, batch);
        self.log(match reaction {
            Reaction::Fail | Reaction::Panic => "fail",
            _ => "process",
        });
        match reaction {
            Reaction::Fail => return Err("not today".into()),
            // Like a panic, without its message on the screen.
            Reaction::Panic => std::panic::resume_unwind(Box::new("on purpose")),
            Reaction::Work(time) => sleep(time).await,
            Reaction::Process | Reaction::ProcessWithoutCheckpoint => {}
        }
        {
            let mut seen = self.seen.lock().expect("unpoisoned");
            for record in batch {
                let text = String::from_utf8_lossy(record.data()).into_owned();
                let of_shard = seen.records.entry(self.shard.clone()).or_default();
                let is_new = !of_shard.contains(&text);
                of_shard.push(text.clone());
                if is_new {
                    seen.first.push((self.shard.clone(), text));
                }
            }
        }
        if reaction != Reaction::ProcessWithoutCheckpoint {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.log("lease_lost");
    }

    async fn shard_ended(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        self.log("shard_ended");
        Ok(())
    }

    async fn shutdown_requested(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        self.log("shutdown_requested");
        checkpointer.checkpoint().await?;
        Ok(())
    }
}
