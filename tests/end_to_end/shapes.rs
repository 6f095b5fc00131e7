//! The shapes in which an application may take its records: all of them go through the same scenarios.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::dead_letters::MemoryDeadLetters;
use kcl_core::{
    Checkpointer, DeliveryOptions, EachRecordOptions as _, FailurePolicy, LastResort, ProcessorError, Record,
    RecordBatch, RecordProcessor, ShardContext, WorkerBuilder, async_trait, each_batch, each_record,
    each_record_service,
};
use kcl_tests::scenarios::shard;
use kcl_tests::{Delivery, Running, World, eventually};
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, service_fn};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Trait,
    EachBatch,
    EachRecord,
    Deliveries,
    KeyedDeliveries,
    Service,
}

impl Shape {
    /// Whether a record of a key may be handled before the one in front of it is done.
    fn is_unordered(self) -> bool {
        self == Self::Deliveries
    }
}

/// Whose records they are.
#[derive(Clone)]
struct Owner {
    shard: String,
    token: u64,
}

impl Owner {
    fn new(shard: &ShardContext) -> Self {
        Self {
            shard: shard.shard_id.to_string(),
            token: shard.fencing_token.get(),
        }
    }
}

/// Takes some time for each record, and refuses some of them once, or always.
#[derive(Clone)]
struct Sink {
    world: World,
    worker: String,
    /// Those that were refused once.
    refused: Arc<Mutex<BTreeSet<(String, u64)>>>,
    /// The one that is always refused.
    poison: Option<(&'static str, u64)>,
}

impl Sink {
    fn new(world: &World, worker: &str) -> Self {
        Self {
            world: world.clone(),
            worker: worker.to_owned(),
            refused: Arc::default(),
            poison: None,
        }
    }

    async fn handle(&self, of: &Owner, record: &Record) -> Result<(), ProcessorError> {
        let (key, counter) = (record.partition_key(), counter(record));
        sleep(Duration::from_millis(counter * 7 % 20)).await;
        if self.poison == Some((key, counter)) {
            return Err("never".into());
        }
        if counter % 17 == 5 {
            let mut refused = self.refused.lock().expect("not poisoned");
            if refused.insert((key.to_owned(), counter)) {
                return Err("not yet".into());
            }
        }
        self.world.ledger.deliver(Delivery {
            key: key.to_owned(),
            counter,
            worker: self.worker.clone(),
            shard: of.shard.clone(),
            token: of.token,
            sequence: record.sequence_number().to_string(),
            at: Instant::now(),
        });
        Ok(())
    }

    async fn handle_batch(
        &self,
        of: &Owner,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            let handled = self.handle(of, record).await;
            handled.map_err(|error| ProcessorError::at(record, error))?;
        }
        checkpointer.checkpoint().await?;
        Ok(())
    }

    /// A worker that gives its records to this sink in that shape.
    fn builder(&self, shape: Shape) -> WorkerBuilder {
        let (sink, name, world) = (self.clone(), &*self.worker, &self.world);
        match shape {
            Shape::Trait => world.builder_of(name, move |shard| Processor {
                sink: sink.clone(),
                of: Owner::new(shard),
            }),
            Shape::EachBatch => world.builder_of(name, move |shard| {
                let (sink, of) = (sink.clone(), Owner::new(shard));
                let processors = each_batch(async move |batch, checkpointer| {
                    sink.handle_batch(&of, batch, checkpointer).await
                });
                processors(shard)
            }),
            Shape::EachRecord => world.builder_of(name, move |shard| {
                let (sink, of) = (sink.clone(), Owner::new(shard));
                let processors = each_record(async move |record| sink.handle(&of, record).await);
                processors.concurrency(8)(shard)
            }),
            Shape::Service => world.builder_of(name, move |shard| {
                let (sink, of) = (sink.clone(), Owner::new(shard));
                let handler = service_fn(move |record: Record| {
                    let (sink, of) = (sink.clone(), of.clone());
                    async move {
                        let handled = sink.handle(&of, &record).await;
                        handled.map_err(|error| BoxError::from(error.to_string()))
                    }
                });
                let service = ServiceBuilder::new()
                    .concurrency_limit(6)
                    .timeout(MINUTE)
                    .service(handler);
                each_record_service(service).concurrency(8)(shard)
            }),
            Shape::Deliveries | Shape::KeyedDeliveries => {
                let options = DeliveryOptions::new(50);
                let options = match shape {
                    Shape::KeyedDeliveries => options.keyed(),
                    _ => options,
                };
                let (processors, mut deliveries) = options.split();
                tokio::spawn(async move {
                    while let Some(delivery) = deliveries.next().await {
                        assert!(deliveries.unacknowledged() <= 50);
                        let sink = sink.clone();
                        // Acknowledged by a task of its own, in whatever order.
                        tokio::spawn(async move {
                            let of = Owner {
                                shard: delivery.shard_id().to_owned(),
                                token: delivery.fencing_token().get(),
                            };
                            match sink.handle(&of, delivery.record()).await {
                                Ok(()) => delivery.ack(),
                                Err(error) => delivery.fail(error),
                            }
                        });
                    }
                });
                world.builder_of(name, processors)
            }
        }
    }

    fn start(&self, shape: Shape) -> Running {
        self.world.run(&self.worker, self.builder(shape))
    }
}

struct Processor {
    sink: Sink,
    of: Owner,
}

#[async_trait]
impl RecordProcessor for Processor {
    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.sink.handle_batch(&self.of, batch, checkpointer).await
    }
}

fn counter(record: &Record) -> u64 {
    let text = std::str::from_utf8(record.data()).expect("text");
    text.parse().expect("a number")
}

fn assert_whole(world: &World, shape: Shape) {
    let tally = world.ledger.tally();
    assert!(tally.lost.is_empty() && tally.rewinds.is_empty(), "{tally}");
    assert!(shape.is_unordered() || tally.disorder.is_empty(), "{tally}");
}

/// All records of the one shard were done before the first one of the other.
fn assert_before(world: &World, parent: &str, child: &str) {
    let deliveries = world.ledger.deliveries();
    let last = deliveries.iter().rposition(|delivery| delivery.shard == parent);
    let first = deliveries.iter().position(|delivery| delivery.shard == child);
    assert!(last < first, "{parent} until {last:?}, {child} from {first:?}");
}

async fn until_handled(world: &World, records: usize) {
    let done = || (world.ledger.unique() >= records).then_some(());
    eventually(MINUTE, done, || world.ledger.tally().to_string()).await;
}

/// The next worker is given nothing again.
async fn stops_with_all_checkpointed(world: &World, worker: Running, shape: Shape) {
    assert!(worker.stop().await.is_orderly());
    let deliveries = world.ledger.deliveries().len();
    let next = Sink::new(world, "next").start(shape);
    world.put(10, 10).await;
    world.until_drained(MINUTE).await;
    assert_eq!(world.ledger.deliveries().len(), deliveries + 10);
    next.stop().await;
}

/// The stream is resharded and the fleet changes in good order: nothing is lost, children come after their parents, and what was done is
/// hardly repeated.
async fn reshards_and_changes(shape: Shape) {
    let world = World::with_shards(2).await;
    world.put(40, 800).await;
    let first = Sink::new(&world, "one").start(shape);
    until_handled(&world, 100).await;
    world.split(&shard(0)).await;
    world.put(40, 400).await;
    let second = Sink::new(&world, "two").start(shape);
    until_handled(&world, 900).await;
    world.merge(&shard(2), &shard(3)).await;
    world.put(40, 400).await;
    assert!(first.stop().await.is_orderly());
    world.put(40, 400).await;
    world.until_drained(MINUTE).await;
    assert_whole(&world, shape);
    for (parent, child) in [(0, 2), (0, 3), (2, 4), (3, 4)] {
        assert_before(&world, &shard(parent), &shard(child));
    }
    world.ledger.assert_fenced();
    stops_with_all_checkpointed(&world, second, shape).await;
}

/// Workers are killed in the middle: what was done behind the checkpoint comes again, and nothing is lost.
async fn is_killed(shape: Shape) {
    let world = World::with_shards(2).await;
    world.put(30, 1200).await;
    for (life, handled) in [("one", 200), ("two", 500), ("three", 800)] {
        let worker = Sink::new(&world, life).start(shape);
        until_handled(&world, handled).await;
        worker.kill().await;
    }
    let last = Sink::new(&world, "four").start(shape);
    world.until_drained(MINUTE).await;
    assert_whole(&world, shape);
    stops_with_all_checkpointed(&world, last, shape).await;
}

/// One record is never taken: it alone goes to the dead letters.
async fn gives_one_up(shape: Shape) {
    let world = World::with_shards(1).await;
    world.put(10, 200).await;
    let sink = Sink {
        poison: Some(("user-3", 7)),
        ..Sink::new(&world, "one")
    };
    let letters = MemoryDeadLetters::default();
    let policy = FailurePolicy::after(NonZeroU32::MIN.saturating_add(2), Duration::from_secs(5))
        .then(LastResort::DeadLetter);
    let builder = sink
        .builder(shape)
        .failure_policy(policy)
        .dead_letters(letters.clone());
    let worker = world.run("one", builder);
    let given_up = || (letters.letters().len() == 1).then_some(());
    // Others have to go through meanwhile, to show that it is the record.
    for _ in 0..20 {
        world.put(10, 10).await;
        sleep(Duration::from_secs(2)).await;
    }
    eventually(MINUTE, given_up, || format!("{:?}", worker.handle.status())).await;
    let missing = || (world.ledger.unique() + 1 == world.ledger.put()).then_some(());
    eventually(MINUTE, missing, || world.ledger.tally().to_string()).await;
    assert_eq!(world.ledger.tally().lost, ["user-3:7"]);
    assert_eq!(letters.letters()[0].partition_key, "user-3");
    assert!(worker.stop().await.is_orderly());
}

macro_rules! scenarios {
    ($($name:ident: $shape:expr;)*) => {$(
        mod $name {
            use super::Shape;

            #[tokio::test(start_paused = true)]
            async fn loses_nothing_while_the_stream_and_the_fleet_change() {
                super::reshards_and_changes($shape).await;
            }

            #[tokio::test(start_paused = true)]
            async fn loses_nothing_when_workers_are_killed() {
                super::is_killed($shape).await;
            }

            #[tokio::test(start_paused = true)]
            async fn gives_up_a_record_that_is_never_taken_and_no_other() {
                super::gives_one_up($shape).await;
            }
        }
    )*};
}

scenarios! {
    a_processor: Shape::Trait;
    a_closure_for_each_batch: Shape::EachBatch;
    a_closure_for_each_record: Shape::EachRecord;
    a_stream_of_deliveries: Shape::Deliveries;
    a_stream_of_deliveries_with_keys: Shape::KeyedDeliveries;
    a_service: Shape::Service;
}
