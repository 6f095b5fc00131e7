//! Checks what was set, all of it together, and makes the worker.

use std::sync::{Arc, Mutex};

use kcl_lease::{DynamoDbLeaseStore, Health, LeaseStore, SigningProblem, Timers};
use tokio::sync::watch;

use super::super::run::Alive;
use super::super::{Reads, Shared, StreamNames, Worker, clients};
use super::WorkerBuilder;
use crate::config::{Given, RetrievalOptions, Stream, StreamTracker, TrackedStream};
use crate::consumer::Pauses;
use crate::error::Error;
use crate::status::WorkerPhase;
use crate::stream::{LeaseKeys, StreamClient};
use crate::streams::{ReadStream, SeveralStreams};

impl WorkerBuilder {
    /// Checks everything.
    ///
    /// # Errors
    /// [`Error::Configuration`] names every option that is missing or out of range, and what is allowed.
    pub fn build(self) -> Result<Worker, Error> {
        let mut config = self.config;
        config.table.application = self.application.clone();
        let mut problems = config.problems();
        let stream = match &self.streams.0 {
            Given::One(stream) => Stream::parse(stream)
                .map_err(|error| problems.push(format!("stream {error}")))
                .ok(),
            Given::Fixed(_) | Given::Tracked(_) => None,
        };
        if let Some(fan_out) = &config.retrieval.fan_out {
            problems.extend(fan_out.problem(&self.application, stream.as_ref()));
        }
        let needs_config = self.kinesis.is_none() || (self.dynamodb.is_none() && self.store.is_none());
        let (has_config, mut sdk) = (self.sdk.is_some(), self.sdk.filter(|_| needs_config));
        if let Some(given) = &sdk {
            let wrong = clients::problems(given);
            if !wrong.is_empty() {
                sdk = None;
            }
            problems.extend(wrong);
        }
        let kinesis = self.kinesis.or_else(|| sdk.as_ref().map(clients::kinesis));
        match &kinesis {
            None if !has_config => problems.push("aws_config or kinesis_client is missing".to_owned()),
            None => {}
            Some(client) => match client.config().region() {
                None => problems.push(format!("kinesis_client: {}", SigningProblem::NoRegion)),
                Some(region) => {
                    problems.extend(
                        stream
                            .as_ref()
                            .and_then(|stream| stream.problem_in(region.as_ref())),
                    );
                    if let Given::Fixed(streams) = &self.streams.0 {
                        problems.extend(fixed_problems(streams, region.as_ref(), &config.retrieval));
                    }
                }
            },
        }
        let dynamodb = self.dynamodb.or_else(|| {
            let timers = Timers::of(config.fleet.failover_time);
            Some(clients::dynamodb(sdk.as_ref()?, timers))
        });
        if self.store.is_none()
            && let Some(client) = &dynamodb
            && client.config().region().is_none()
        {
            problems.push(format!("dynamodb_client: {}", SigningProblem::NoRegion));
        }
        let store = self.store.or_else(|| {
            let table = config.table.clone();
            Some(Arc::new(DynamoDbLeaseStore::new(dynamodb?, table)) as Arc<dyn LeaseStore>)
        });
        if store.is_none() && !has_config {
            problems.push("aws_config, dynamodb_client or lease_store is missing".to_owned());
        }
        if config.processing.failure_policy.writes_dead_letters() && self.dead_letters.is_none() {
            problems.push(
                "failure_policy gives records up to the dead letters, and there are none; set dead_letters, or another last resort"
                    .to_owned(),
            );
        }
        let (Some(kinesis), Some(store), true) = (kinesis, store, problems.is_empty()) else {
            return Err(Error::Configuration(problems));
        };

        let worker_id = config
            .worker_id
            .clone()
            .unwrap_or_else(|| clients::default_worker_id(&self.env));
        let health = Health::default();
        config.fleet.health = health.clone();
        config.fleet.metrics = self.metrics.unwrap_or(config.fleet.metrics);
        let (encoding, policy) = (config.retrieval.read_encoding, config.leases.on_other_stream);
        let metrics = config.fleet.metrics.clone();
        let tracker: Option<Arc<dyn StreamTracker>> = match self.streams.0 {
            Given::One(_) => None,
            Given::Fixed(streams) => Some(Arc::new(streams)),
            Given::Tracked(tracker) => Some(tracker),
        };
        let (reads, streams) = match (stream, tracker) {
            (_, Some(tracker)) => {
                let region = kinesis.config().region().map(ToString::to_string);
                let region = region.unwrap_or_default();
                let several = SeveralStreams::new(tracker, kinesis, region, encoding, policy, metrics);
                (Reads::Several(several.clone()), StreamNames::Several(several))
            }
            (Some(stream), None) => {
                let names = StreamNames::One(stream.to_string());
                let client = StreamClient::new(kinesis, stream)
                    .reading_in(encoding)
                    .counted_by(metrics);
                let retrieval = config.retrieval.clone();
                let read = ReadStream::new(LeaseKeys::ALONE, client, policy, health.clone(), retrieval);
                (Reads::One(Box::new(read)), names)
            }
            // That would have been a problem.
            (None, None) => return Err(Error::Configuration(problems)),
        };
        let shared = Arc::new(Shared {
            application: self.application,
            streams,
            registry: Mutex::default(),
            worker_id,
            phase: watch::Sender::new(WorkerPhase::Starting),
            stop: watch::Sender::new(false),
            pauses: watch::Sender::new(Pauses::default()),
            env: self.env.clone(),
            stalled_after: config.processing.stalled_after,
            fleet: Mutex::default(),
            shards: Mutex::default(),
            health,
        });
        Ok(Worker {
            reads,
            _alive: Alive(shared.clone()),
            shared,
            env: self.env,
            store,
            factory: self.factory,
            handler: self.handler,
            dead_letters: self.dead_letters,
            stall_hook: self.stall_hook,
            config,
        })
    }
}

/// What is wrong with a list of streams.
fn fixed_problems(streams: &[TrackedStream], region: &str, of_worker: &RetrievalOptions) -> Vec<String> {
    if streams.is_empty() {
        return vec!["streams: there is none; name one at least".to_owned()];
    }
    let each = streams
        .iter()
        .flat_map(|stream| stream.problems(region, of_worker));
    each.collect()
}
