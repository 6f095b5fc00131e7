//! Handlers of one record: keys in order and beside each other, and checkpoints that follow what is done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use kcl_core::{
    Checkpoint, EachRecord, EachRecordOptions as _, Fate, ProcessorError, Record, ShardContext,
    WorkerBuilder, WorkerStatus, each_batch, each_record,
};
use kcl_lease::LeaseStore as _;
use kcl_local::faults::{Call, Fault, Rule};
use kcl_tests::scenarios::shard;
use kcl_tests::{Delivery, Running, World, eventually};
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

/// What a handler does before its record is in the ledger.
type Deed = Arc<dyn Fn(&Record) -> BoxFuture<'static, Result<(), ProcessorError>> + Send + Sync>;

/// How many handlers run, and at most ran, in each shard and in all.
#[derive(Debug, Default)]
struct Count {
    now: BTreeMap<String, usize>,
    most: BTreeMap<String, usize>,
    begun: usize,
}

#[derive(Clone)]
struct Handlers {
    world: World,
    worker: String,
    deed: Deed,
    count: Arc<Mutex<Count>>,
}

impl Handlers {
    fn new<F>(world: &World, worker: &str, deed: impl Fn(&Record) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), ProcessorError>> + Send + 'static,
    {
        Self {
            world: world.clone(),
            worker: worker.to_owned(),
            deed: Arc::new(move |record| Box::pin(deed(record))),
            count: Arc::default(),
        }
    }

    /// Handlers that work for so many milliseconds, from 0 to 99, as the record has it.
    fn at_work(world: &World, worker: &str) -> Self {
        Self::new(world, worker, |record| {
            let number: u64 = counter(record);
            let key = record
                .partition_key()
                .bytes()
                .fold(0u64, |sum, byte| sum * 31 + u64::from(byte));
            let millis = (number * 37 + key * 17) % 100;
            async move {
                sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
        })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self, of: &str) -> usize {
        self.count().most.get(of).copied().unwrap_or(0)
    }

    async fn handle(&self, shard: &str, token: u64, record: &Record) -> Result<(), ProcessorError> {
        {
            let mut count = self.count();
            count.begun += 1;
            for of in [shard, "all"] {
                let now = count.now.entry(of.to_owned()).or_default();
                *now += 1;
                let now = *now;
                let most = count.most.entry(of.to_owned()).or_default();
                *most = now.max(*most);
            }
        }
        let result = (self.deed)(record).await;
        for of in [shard, "all"] {
            *self.count().now.entry(of.to_owned()).or_default() -= 1;
        }
        result?;
        self.world.ledger.deliver(Delivery {
            key: record.partition_key().to_owned(),
            counter: counter(record),
            worker: self.worker.clone(),
            shard: shard.to_owned(),
            token,
            sequence: record.sequence_number().to_string(),
            at: Instant::now(),
        });
        Ok(())
    }

    /// A worker of these handlers.
    fn start(&self) -> Running {
        self.start_with(|shard, each| each(shard))
    }

    /// A worker of these handlers, which are made so.
    fn start_with(
        &self,
        make: impl Fn(&ShardContext, Box<dyn Fn(&ShardContext) -> EachRecord + Send + Sync>) -> EachRecord
        + Send
        + Sync
        + 'static,
    ) -> Running {
        self.world.run(&self.worker, self.builder(make))
    }

    fn builder(
        &self,
        make: impl Fn(&ShardContext, Box<dyn Fn(&ShardContext) -> EachRecord + Send + Sync>) -> EachRecord
        + Send
        + Sync
        + 'static,
    ) -> WorkerBuilder {
        let handlers = self.clone();
        self.world.builder_of(&self.worker, move |context| {
            let (shard, token) = (context.shard_id.to_string(), context.fencing_token.get());
            let ledger = &handlers.world.ledger;
            ledger.begin(&handlers.worker, &shard, token, context.start.as_str());
            let handlers = handlers.clone();
            let each = each_record(async move |record| handlers.handle(&shard, token, record).await);
            make(context, Box::new(each))
        })
    }
}

fn counter(record: &Record) -> u64 {
    std::str::from_utf8(record.data())
        .expect("text")
        .parse()
        .expect("a number")
}

/// Nothing is lost, each key is in order, and no checkpoint was passed over.
fn assert_in_order(world: &World) {
    let tally = world.ledger.tally();
    assert!(
        tally.lost.is_empty() && tally.disorder.is_empty() && tally.rewinds.is_empty(),
        "{tally}"
    );
}

/// Looks at the checkpoints now and then: those seen, and when.
fn watch_checkpoints(world: &World) -> Arc<Mutex<Vec<(Instant, String, Checkpoint)>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (noted, store) = (seen.clone(), world.store());
    tokio::spawn(async move {
        loop {
            if let Ok(scan) = store.scan().await {
                for lease in scan.leases {
                    let row = (Instant::now(), lease.key.to_string(), lease.checkpoint);
                    noted.lock().expect("not poisoned").push(row);
                }
            }
            sleep(Duration::from_millis(70)).await;
        }
    });
    seen
}

/// No checkpoint was ever seen at or behind a record that was not done by then.
fn assert_never_above_what_is_done(world: &World, seen: &[(Instant, String, Checkpoint)]) {
    let mut done: BTreeMap<(String, String), Instant> = BTreeMap::new();
    for delivery in world.ledger.deliveries() {
        done.entry((delivery.shard, delivery.sequence))
            .or_insert(delivery.at);
    }
    let mut checkpoints = BTreeSet::new();
    for (seen_at, shard, checkpoint) in seen {
        if matches!(checkpoint, Checkpoint::At(_)) {
            checkpoints.insert(checkpoint.to_string());
        }
        let too_late = done.iter().find(|((of, sequence), at)| {
            let position = Checkpoint::parse(sequence.as_str(), 0).expect("a number");
            of == shard && position <= *checkpoint && *at > seen_at
        });
        assert_eq!(too_late, None, "{shard} was checkpointed at {checkpoint} before");
    }
    assert!(checkpoints.len() > 3, "it was looked at: {checkpoints:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_in_order_and_as_many_as_may_be_are_handled_at_once() {
    let world = World::with_shards(2).await;
    world.put(200, 2000).await;
    let handlers = Handlers::at_work(&world, "one");
    let worker = handlers.start_with(|shard, each| each.concurrency(8)(shard));
    world.until_drained(MINUTE).await;
    assert_in_order(&world);
    assert_eq!(world.ledger.tally().duplicates, 0);
    assert_eq!((handlers.most(&shard(0)), handlers.most(&shard(1))), (8, 8));
    let stopped = worker.stop().await;
    assert!(stopped.is_orderly(), "{stopped:?}");
    let next = Handlers::at_work(&world, "two").start();
    sleep(MINUTE).await;
    assert_eq!(world.ledger.tally().duplicates, 0, "all was checkpointed");
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_worker_share_its_bound_and_each_gets_its_part() {
    let world = World::with_shards(3).await;
    world.put(60, 600).await;
    let handled = Arc::new(Mutex::new((0usize, 0usize)));
    let (now, ledger) = (handled.clone(), world.ledger.clone());
    let processors = each_record(async move |record| {
        {
            let mut counts = now.lock().expect("not poisoned");
            counts.0 += 1;
            counts.1 = counts.1.max(counts.0);
        }
        sleep(Duration::from_millis(20)).await;
        now.lock().expect("not poisoned").0 -= 1;
        ledger.deliver(Delivery {
            key: record.partition_key().to_owned(),
            counter: counter(record),
            worker: "one".to_owned(),
            shard: String::new(),
            token: 0,
            sequence: record.sequence_number().to_string(),
            at: Instant::now(),
        });
        Ok(())
    });
    let builder = world.builder_of("one", processors.concurrency(4).worker_concurrency(5));
    let worker = world.run("one", builder);
    world.until_drained(MINUTE).await;
    assert_in_order(&world);
    assert_eq!(handled.lock().expect("not poisoned").1, 5);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_leaves_a_checkpoint_behind_nothing_undone() {
    let world = World::with_shards(2).await;
    let seen = watch_checkpoints(&world);
    world.put(30, 1500).await;
    for life in ["one", "two", "three"] {
        let handlers = Handlers::at_work(&world, life);
        let before = world.ledger.deliveries().len();
        let worker = handlers.start();
        let done = || (world.ledger.deliveries().len() > before + 300).then_some(());
        eventually(MINUTE, done, || world.ledger.tally().to_string()).await;
        // So that something is checkpointed, and something is done that is not.
        sleep(Duration::from_millis(1350)).await;
        worker.kill().await;
    }
    let last = Handlers::at_work(&world, "four").start();
    world.until_drained(MINUTE).await;
    sleep(Duration::from_secs(5)).await;
    assert_in_order(&world);
    assert!(world.ledger.tally().duplicates > 0, "it was killed in the middle");
    let seen = seen.lock().expect("not poisoned").clone();
    assert_never_above_what_is_done(&world, &seen);
    last.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_off_lets_what_is_under_way_end_and_the_next_owner_does_the_rest() {
    let world = World::with_shards(2).await;
    // More than is done by the time of the hand-off.
    world.put(20, 4000).await;
    let slow = |record: &Record| {
        let millis = 200 + counter(record) % 7 * 100;
        async move {
            sleep(Duration::from_millis(millis)).await;
            Ok(())
        }
    };
    let one = Handlers::new(&world, "one", slow);
    let first = one.start();
    world
        .until_processing(&[&first], &[2], Duration::from_secs(30))
        .await;
    sleep(Duration::from_secs(5)).await;
    let second = Handlers::new(&world, "two", slow).start();
    world
        .until_processing(&[&first, &second], &[1, 1], Duration::from_secs(60))
        .await;
    world.until_drained(MINUTE * 10).await;
    assert_in_order(&world);
    world.ledger.assert_fenced();
    // What was done in front of a record that was waiting for its key comes again, and nothing else.
    let duplicates = world.ledger.tally().duplicates;
    assert!(duplicates < 200, "{duplicates}");
    assert!(first.stop().await.is_orderly() && second.stop().await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn handlers_that_hang_are_not_waited_for_beyond_the_time_of_a_stop() {
    let world = World::with_shards(1).await;
    world.put(10, 100).await;
    let hangs = |record: &Record| {
        let is_bad = record.partition_key() == "user-7" && counter(record) == 3;
        async move {
            if is_bad {
                sleep(MINUTE * 60).await;
            }
            Ok(())
        }
    };
    let worker = Handlers::new(&world, "one", hangs).start();
    let done = || (world.ledger.unique() == 93).then_some(());
    eventually(MINUTE, done, || world.ledger.tally().to_string()).await;
    let stopping = Instant::now();
    let stopped = worker.stop().await;
    assert!(stopping.elapsed() <= Duration::from_secs(20));
    assert_eq!(stopped.shards[0].fate, Fate::Released);
    assert!(stopped.shards[0].is_busy, "{stopped:?}");
    let next = Handlers::at_work(&world, "two").start();
    world.until_drained(MINUTE).await;
    assert_in_order(&world);
    let again = world.ledger.tally().duplicates;
    assert!(again < 70, "what was done in front of it stays done: {again}");
    next.stop().await;
}

/// Whether this key's record of this number fails.
fn failing(
    key: &'static str,
    from: u64,
) -> impl Fn(&Record) -> BoxFuture<'static, Result<(), ProcessorError>> {
    move |record| {
        let fails = record.partition_key() == key && counter(record) >= from;
        Box::pin(async move { if fails { Err("not today".into()) } else { Ok(()) } })
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_blocks_only_itself_and_the_status_says_so() {
    let world = World::with_shards(1).await;
    let handlers = Handlers::new(&world, "one", failing("user-3", 5));
    let worker = handlers.start();
    for _ in 0..30 {
        world.put(10, 100).await;
        sleep(Duration::from_secs(2)).await;
    }
    let done = || (world.ledger.unique() == 2705).then_some(());
    eventually(MINUTE, done, || world.ledger.unique().to_string()).await;
    // What is told is of the last failure, and the next one comes within ten seconds.
    let held_back = |status: &WorkerStatus| {
        let problem = status.shards.first().and_then(|shard| shard.problem.as_ref());
        problem.is_some_and(|it| it.text.contains("295 records are held back by 1 failing"))
    };
    worker.until(MINUTE, held_back).await;
    let status = worker.handle.status().shards.remove(0);
    let problem = status.problem.expect("told");
    assert_eq!(problem.code, "record-failing");
    assert!(
        problem.text.contains("not today") && problem.text.contains("\"user-3\""),
        "{}",
        problem.text
    );
    assert!(problem.since_ms > 55_000 && status.attempts > 8, "{problem:?}");
    // Its lease stays, and it stops at once.
    assert_eq!(worker.leases(), 1);
    let stopping = Instant::now();
    assert!(worker.stop().await.is_orderly());
    assert!(stopping.elapsed() < Duration::from_secs(3));

    let next = Handlers::at_work(&world, "two").start();
    world.until_drained(MINUTE * 5).await;
    assert_in_order(&world);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_that_are_held_back_do_not_keep_the_memory_of_their_answers() {
    let world = World::with_shards(1).await;
    let handlers = Handlers::new(&world, "one", failing("user-3", 0));
    // The records of one answer take some 50 kB, and those of the key some hundred bytes.
    let builder = handlers.builder(|shard, each| each(shard));
    let worker = world.run("one", builder.prefetch_bytes_per_worker(400 << 10));
    for round in 1..=60 {
        world.put(250, 250).await;
        let done = || (world.ledger.unique() == round * 249).then_some(());
        eventually(MINUTE, done, || format!("{:?}", worker.handle.status().shards)).await;
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn checkpoints_that_the_table_does_not_take_are_told_and_made_later() {
    let world = World::with_shards(1).await;
    let handlers = Handlers::at_work(&world, "one");
    let worker = handlers.start();
    world
        .until_processing(&[&worker], &[1], Duration::from_secs(30))
        .await;
    let is_checkpoint =
        |call: &Call<'_>| String::from_utf8_lossy(call.body).contains("checkpointSubSequenceNumber");
    let refused = Rule::on("UpdateItem").by("one").matching(is_checkpoint);
    let rule = world.servers.faults.add(refused.fault(Fault::throttled()));
    world.put(10, 100).await;
    let is_told = |status: &kcl_core::WorkerStatus| {
        let problem = status.shards.first().and_then(|shard| shard.problem.as_ref());
        problem.is_some_and(|problem| problem.code == "checkpoint-failing")
    };
    worker.until(MINUTE, is_told).await;
    world.until_drained(MINUTE).await;
    assert_eq!(worker.handle.status().shards[0].checkpoint, "TRIM_HORIZON");
    world.servers.faults.remove(rule);
    let is_over = |status: &kcl_core::WorkerStatus| {
        let shard = &status.shards[0];
        shard.problem.is_none() && shard.checkpoint != "TRIM_HORIZON"
    };
    worker.until(MINUTE, is_over).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_waits_for_a_failing_key_is_handed_over_at_once() {
    let world = World::with_shards(1).await;
    world.put(4, 4).await;
    let handlers = Handlers::new(&world, "one", failing("user-1", 0));
    let worker = handlers.start_with(|shard, each| each.max_held_back(20)(shard));
    let fails = |status: &kcl_core::WorkerStatus| status.shards.iter().any(|shard| shard.problem.is_some());
    worker.until(MINUTE, fails).await;
    world.put(4, 400).await;
    let is_full = |status: &kcl_core::WorkerStatus| {
        let problem = status.shards.first().and_then(|shard| shard.problem.as_ref());
        problem.is_some_and(|problem| problem.text.contains("20 records are held back"))
    };
    worker.until(MINUTE, is_full).await;
    let done = world.ledger.unique();
    // Of the keys in front of the failing one 20, and of those behind it 19: the twentieth of its own was the last.
    assert_eq!(done, 20 + 19 + 19);
    world.put(4, 40).await;
    sleep(MINUTE * 5).await;
    assert_eq!(world.ledger.unique(), done, "the shard waits");
    let stopping = Instant::now();
    assert!(worker.stop().await.is_orderly());
    assert!(stopping.elapsed() < Duration::from_secs(3));
    let next = Handlers::at_work(&world, "two").start();
    world.until_drained(MINUTE * 5).await;
    assert_in_order(&world);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn no_more_records_than_may_be_undone_are_begun() {
    let world = World::with_shards(1).await;
    world.put(500, 500).await;
    let handlers = Handlers::new(&world, "one", |_| std::future::pending());
    let worker = handlers.start_with(|shard, each| each.concurrency(400).max_undone(50)(shard));
    sleep(MINUTE).await;
    assert_eq!(handlers.count().begun, 50);
    worker.kill().await;
}

#[tokio::test(start_paused = true)]
async fn children_begin_when_all_records_of_their_parent_are_done() {
    let world = World::with_shards(1).await;
    world.put(20, 400).await;
    let worker = Handlers::at_work(&world, "one").start();
    world
        .until_processing(&[&worker], &[1], Duration::from_secs(30))
        .await;
    world.split(&shard(0)).await;
    world.put(20, 400).await;
    world.until_drained(MINUTE * 2).await;
    assert_in_order(&world);
    assert_eq!(world.ledger.tally().duplicates, 0);
    let deliveries = world.ledger.deliveries();
    let first_of_a_child = deliveries.iter().position(|d| d.shard != shard(0));
    let last_of_the_parent = deliveries.iter().rposition(|d| d.shard == shard(0));
    assert!(last_of_the_parent < first_of_a_child);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_cannot_end_for_a_failing_key_is_given_up_when_asked_for() {
    let world = World::with_shards(1).await;
    world.put(20, 400).await;
    let worker = Handlers::new(&world, "one", failing("user-1", 7)).start();
    world
        .until_processing(&[&worker], &[1], Duration::from_secs(30))
        .await;
    world.split(&shard(0)).await;
    world.put(20, 400).await;
    sleep(MINUTE).await;
    let deliveries = world.ledger.deliveries();
    assert!(deliveries.iter().all(|d| d.shard == shard(0)));
    let stopping = Instant::now();
    worker.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(3));
    let next = Handlers::at_work(&world, "two").start();
    world.until_drained(MINUTE * 2).await;
    assert_in_order(&world);
    next.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_handlers_all_fail_gives_its_shards_to_one_whose_handlers_do_not() {
    let world = World::with_shards(2).await;
    let cut_off = |_: &Record| async { Err(ProcessorError::from("no route to the sink")) };
    let bad = Handlers::new(&world, "bad", cut_off).start();
    let good = Handlers::at_work(&world, "good").start();
    world.until_processing(&[&bad, &good], &[1, 1], MINUTE).await;
    world.put(50, 500).await;
    let is_unfit = |status: &kcl_core::WorkerStatus| {
        let mut problems = status.problems.iter();
        problems.any(|problem| problem.code == "worker-unfit")
    };
    bad.until(MINUTE * 5, is_unfit).await;
    world.until_drained(MINUTE * 5).await;
    assert_in_order(&world);
    good.stop().await;
    bad.kill().await;
}

#[tokio::test(start_paused = true)]
async fn a_closure_for_each_batch_is_a_processor() {
    let world = World::with_shards(2).await;
    world.put(20, 200).await;
    let seen = Arc::new(Mutex::new(0));
    let noted = seen.clone();
    let processors = each_batch(async move |batch, checkpointer| {
        *noted.lock().expect("not poisoned") += batch.len();
        checkpointer.checkpoint().await?;
        Ok(())
    });
    let worker = world.run("one", world.builder_of("one", processors));
    let all = || (*seen.lock().expect("not poisoned") == 200).then_some(());
    eventually(MINUTE, all, || "not all were seen".to_owned()).await;
    timeout(MINUTE, worker.stop()).await.expect("in time");
    let leases = world.leases().await;
    assert!(
        leases
            .iter()
            .all(|lease| matches!(lease.checkpoint, Checkpoint::At(_)))
    );
}
