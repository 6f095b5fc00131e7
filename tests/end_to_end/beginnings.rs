//! How a shard's processor begins: made by a factory that may fail, and delivering from where it says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kcl_core::{
    Begin, Checkpoint, Checkpointer, Error, ProcessorError, RecordBatch, RecordProcessor, ShardContext,
    Worker, async_trait,
};
use kcl_tests::scenarios::shard;
use kcl_tests::{Bundled, Delivery, Running, World, WorldOptions, eventually};
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// A database that keeps, with what records bring, how far each shard is.
#[derive(Debug, Clone, Default)]
struct Database {
    positions: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Database {
    fn position(&self, shard: &str) -> Option<String> {
        self.positions.lock().expect("not poisoned").get(shard).cloned()
    }
}

/// Asks the database where to begin, and never checkpoints unless it is told to.
struct Asking {
    world: World,
    worker: String,
    shard: String,
    token: u64,
    database: Database,
    checkpoints: bool,
}

#[async_trait]
impl RecordProcessor for Asking {
    async fn initialize(&mut self, shard: &ShardContext, _: &Checkpointer) -> Result<Begin, ProcessorError> {
        self.token = shard.fencing_token.get();
        Ok(match self.database.position(&self.shard) {
            Some(position) => Begin::Behind(position.parse()?),
            None => Begin::AtCheckpoint,
        })
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        for record in batch {
            self.world.ledger.deliver(Delivery {
                key: record.partition_key().to_owned(),
                counter: std::str::from_utf8(record.data())?.parse()?,
                worker: self.worker.clone(),
                shard: self.shard.clone(),
                token: self.token,
                sequence: record.sequence_number().to_string(),
                at: Instant::now(),
            });
            let mut positions = self.database.positions.lock().expect("not poisoned");
            positions.insert(self.shard.clone(), record.position().to_string());
        }
        if self.checkpoints {
            checkpointer.checkpoint().await?;
        }
        Ok(())
    }

    async fn shutdown_requested(&mut self, _: &Checkpointer) -> Result<(), ProcessorError> {
        Ok(())
    }
}

fn asking(world: &World, worker: &str, database: &Database, checkpoints: bool) -> Running {
    let (own, name, database) = (world.clone(), worker.to_owned(), database.clone());
    let builder = world.builder_of(worker, move |shard| Asking {
        world: own.clone(),
        worker: name.clone(),
        shard: shard.shard_id.to_string(),
        token: 0,
        database: database.clone(),
        checkpoints,
    });
    world.run(worker, builder)
}

#[tokio::test(start_paused = true)]
async fn delivery_begins_where_the_sink_says_though_nothing_was_ever_checkpointed() {
    let (world, database) = (World::with_shards(2).await, Database::default());
    world.put(10, 100).await;
    let first = asking(&world, "one", &database, false);
    world.until_drained(MINUTE).await;
    first.kill().await;
    world.put(10, 100).await;
    let second = asking(&world, "two", &database, false);
    world.until_drained(MINUTE).await;
    let tally = world.ledger.tally();
    assert!(tally.lost.is_empty() && tally.duplicates == 0, "{tally}");
    for lease in world.leases().await {
        assert_eq!(lease.checkpoint, Checkpoint::TrimHorizon);
    }
    assert!(second.stop().await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_was_restored_is_given_again_what_it_lost_and_the_checkpoint_waits_for_it() {
    let (world, database) = (World::with_shards(1).await, Database::default());
    world.put(5, 50).await;
    let first = asking(&world, "one", &database, true);
    world.until_drained(MINUTE).await;
    let backup = database.position(&shard(0)).expect("processed");
    world.put(5, 30).await;
    world.until_drained(MINUTE).await;
    assert!(first.stop().await.is_orderly());
    let checkpoint = world.leases().await[0].checkpoint.clone();
    assert_ne!(checkpoint.to_string(), backup);

    let restored = BTreeMap::from([(shard(0), backup)]);
    *database.positions.lock().expect("not poisoned") = restored;
    let second = asking(&world, "two", &database, true);
    let again = || (world.ledger.tally().duplicates == 30).then_some(());
    eventually(MINUTE, again, || world.ledger.tally().to_string()).await;
    sleep(MINUTE).await;
    assert_eq!(
        world.leases().await[0].checkpoint,
        checkpoint,
        "it never moves back"
    );
    world.put(5, 10).await;
    world.until_drained(MINUTE).await;
    assert_eq!(world.ledger.tally().duplicates, 30);
    assert!(second.stop().await.is_orderly());
    assert!(world.leases().await[0].checkpoint > checkpoint);
}

/// Prepares a checkpoint at the end of its first batch, and makes it only when it begins anew.
#[derive(Clone, Default)]
struct InTwoSteps {
    batches: Arc<Mutex<Vec<usize>>>,
    state: Arc<Mutex<Option<String>>>,
}

#[async_trait]
impl RecordProcessor for InTwoSteps {
    async fn initialize(
        &mut self,
        shard: &ShardContext,
        checkpointer: &Checkpointer,
    ) -> Result<Begin, ProcessorError> {
        if let Some(pending) = &shard.pending_checkpoint
            && let Checkpoint::At(position) = &pending.checkpoint
        {
            let state = pending.state.as_deref().map(String::from_utf8_lossy);
            *self.state.lock().expect("not poisoned") = state.map(|state| state.into_owned());
            let (sequence, sub_sequence) = (&position.sequence, position.sub_sequence);
            checkpointer
                .checkpoint_at_sequence(sequence, sub_sequence)
                .await?;
        }
        Ok(Begin::AtCheckpoint)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let _not_made = checkpointer.prepare(Some("file-7".into())).await?;
        self.batches.lock().expect("not poisoned").push(batch.len());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_prepared_is_committed_by_the_next_processor_before_its_first_batch() {
    let world = World::with_shards(1).await;
    world.put(1, 10).await;
    let processor = InTwoSteps::default();
    let batches = || processor.batches.lock().expect("not poisoned").clone();
    let start = |id: &str| {
        let processor = processor.clone();
        world.run(id, world.builder_of(id, move |_| processor.clone()))
    };
    let first = start("one");
    let prepared = || (batches() == [10]).then_some(());
    eventually(MINUTE, prepared, || format!("{:?}", batches())).await;
    // Until the call has returned.
    sleep(Duration::from_millis(10)).await;
    first.kill().await;
    world.put(1, 3).await;
    let second = start("two");
    let read = || (batches() == [10, 3]).then_some(());
    eventually(MINUTE, read, || format!("{:?}", batches())).await;
    assert_eq!(
        processor.state.lock().expect("not poisoned").as_deref(),
        Some("file-7")
    );
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_waits_and_fails_is_asked_again_and_the_status_says_why() {
    let (world, database) = (World::with_shards(1).await, Database::default());
    world.put(5, 20).await;
    let tries = Arc::new(AtomicU32::new(0));
    let (own, counted) = (world.clone(), tries.clone());
    let builder = Worker::async_builder("app", "clicks", async move |shard: &ShardContext| {
        sleep(Duration::from_millis(300)).await;
        if counted.fetch_add(1, Ordering::Relaxed) < 4 {
            return Err("the database is not there yet".into());
        }
        Ok(Asking {
            world: own.clone(),
            worker: "one".to_owned(),
            shard: shard.shard_id.to_string(),
            token: 0,
            database: database.clone(),
            checkpoints: true,
        })
    });
    let worker = world.run("one", world.configure(builder, "one"));
    let told = || {
        let status = worker.handle.status();
        let problem = status.shards.first()?.problem.clone()?;
        problem.text.contains("not there yet").then_some(problem.code)
    };
    let code = eventually(MINUTE, told, || format!("{:?}", worker.handle.status())).await;
    assert_eq!(code, "initialize-failing");
    world.until_drained(MINUTE).await;
    assert_eq!(tries.load(Ordering::Relaxed), 5);
    assert_eq!(worker.handle.status().shards[0].problem, None);
    assert!(worker.stop().await.is_orderly());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_could_not_start_is_built_and_started_again() {
    let options = WorldOptions::default();
    let world = World::on_there(Bundled::new(&options), options);
    let database = Database::default();
    let own = world.clone();
    let builder = world.builder_of("one", move |shard| Asking {
        world: own.clone(),
        worker: "one".to_owned(),
        shard: shard.shard_id.to_string(),
        token: 0,
        database: database.clone(),
        checkpoints: true,
    });
    let failed = builder.clone().build().expect("valid").run().await;
    assert!(matches!(failed, Err(Error::Stream { .. })), "{failed:?}");
    world.create_stream(1).await;
    world.put(5, 20).await;
    let worker = world.run("one", builder);
    world.until_drained(MINUTE).await;
    assert!(worker.stop().await.is_orderly());
}
