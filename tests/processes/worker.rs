//! The worker process: an ordinary consumer, configured by the environment, that tells what it does.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use aws_config::BehaviorVersion;
use kcl_core::{
    Begin, CheckpointError, Checkpointer, ExtendedSequenceNumber, LossReason, ProcessorError, Record,
    RecordBatch, RecordProcessor, ShardContext, Worker, WorkerPhase, async_trait,
};
use kcl_examples::exactly_once::{DatabaseError, ExactlyOnce, Refused, Target};
use tokio::time::sleep;

use crate::protocol::{Line, Step, Told};

/// The environment variable that makes a worker of this program, and names it.
pub(crate) const NAME: &str = "KCL_CHAOS_WORKER";

/// The environment variable with the fail-over time in milliseconds.
pub(crate) const FAILOVER_MILLIS: &str = "KCL_CHAOS_FAILOVER_MILLIS";

/// The environment variable with the database in which it keeps sums: a URL of PostgreSQL, or a file of SQLite.
pub(crate) const SUMS: &str = "KCL_CHAOS_SUMS";

/// What the sums know the stream by. It is never made anew.
const STREAM: &str = "clicks";

/// How long a batch takes, of so many records at most. Small ones queue up: whoever wakes up too late has one to go on with.
const WORK: Duration = Duration::from_millis(40);
pub(crate) const MOST_RECORDS: usize = 10;

/// A checkpoint is made after so many batches, so that a lost lease is not noticed by every batch.
const BATCHES: u32 = 5;

pub(crate) fn run(name: &str) -> ExitCode {
    std::thread::spawn(end_with_parent);
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(consume(name)) {
        Ok(()) => {
            tell(name, Told::Left);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Standard input ends with the test, however that ends.
pub(crate) fn end_with_parent() {
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(1);
}

fn tell(worker: &str, told: Told) {
    let line = Line {
        worker: worker.to_owned(),
        process: std::process::id(),
        told,
    };
    line.tell();
}

async fn consume(name: &str) -> Result<(), kcl_core::Error> {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let failover = std::env::var(FAILOVER_MILLIS).expect("set with the name");
    let sums: Option<Target> = std::env::var(SUMS)
        .ok()
        .map(|sums| sums.parse().expect("a database"));
    let worker = {
        let name = name.to_owned();
        Worker::builder("app", STREAM, move |shard: &ShardContext| Teller {
            worker: name.clone(),
            shard: shard.shard_id.to_string(),
            token: shard.fencing_token.get(),
            batches: 0,
            told: None,
            sums: sums
                .as_ref()
                .map(|sums| ExactlyOnce::new(sums.database(), STREAM, shard)),
        })
    };
    let worker = worker
        .aws_config(&aws)
        .worker_id(name)
        .failover_time(Duration::from_millis(failover.parse().expect("a number")))
        .max_records(MOST_RECORDS as u32)
        .min_read_interval(Duration::from_millis(20))
        .build()?;
    let (handle, name) = (worker.handle(), name.to_owned());
    tokio::spawn(async move {
        while handle.status().phase == WorkerPhase::Starting {
            sleep(Duration::from_millis(20)).await;
        }
        tell(&name, Told::Up);
    });
    worker.run_until_signal().await?;
    Ok(())
}

/// Tells before and after whatever it does.
struct Teller {
    worker: String,
    shard: String,
    token: u64,
    batches: u32,
    /// The last record that it told. A batch comes again if it could not be written.
    told: Option<ExtendedSequenceNumber>,
    sums: Option<ExactlyOnce>,
}

impl Teller {
    fn tell(&self, step: Step) {
        let (shard, token) = (self.shard.clone(), self.token);
        tell(&self.worker, Told::Of { shard, token, step });
    }

    fn tell_records(&mut self, records: &[Record]) -> Result<(), ProcessorError> {
        for record in records {
            if self.told.as_ref() >= Some(record.position()) {
                continue;
            }
            self.told = Some(record.position().clone());
            self.tell(Step::Record {
                key: record.partition_key().to_owned(),
                counter: std::str::from_utf8(record.data())?.parse()?,
                sequence: record.sequence_number().to_string(),
            });
        }
        Ok(())
    }

    /// Adds the records to the sums.
    async fn add(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        let Some(sums) = &mut self.sums else {
            return Ok(());
        };
        let added = sums.process_records(batch, checkpointer).await;
        if let Err(error) = &added {
            let error = error.as_error().downcast_ref();
            let is_stale = matches!(error, Some(DatabaseError::Refused(Refused::Stale { .. })));
            self.tell(if is_stale { Step::Barred } else { Step::Unwritten });
        }
        added
    }

    async fn checkpoint(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        let Some(last) = batch.records().last() else {
            return Ok(());
        };
        self.tell(Step::Saving);
        match checkpointer.checkpoint().await {
            Ok(()) => self.tell(Step::Saved {
                sequence: last.sequence_number().to_string(),
            }),
            Err(error @ CheckpointError::LeaseLost(_)) => {
                self.tell(Step::Refused);
                return Err(error.into());
            }
            Err(_) => self.tell(Step::Unsaved),
        }
        Ok(())
    }
}

#[async_trait]
impl RecordProcessor for Teller {
    async fn initialize(
        &mut self,
        shard: &ShardContext,
        checkpointer: &Checkpointer,
    ) -> Result<Begin, ProcessorError> {
        let begin = match &mut self.sums {
            Some(sums) => sums.initialize(shard, checkpointer).await?,
            None => Begin::AtCheckpoint,
        };
        let start = match &begin {
            Begin::Behind(position) => position.to_string(),
            _ => shard.start.as_str().to_owned(),
        };
        self.tell(Step::Began { start });
        Ok(begin)
    }

    async fn process_records(
        &mut self,
        batch: &RecordBatch,
        checkpointer: &Checkpointer,
    ) -> Result<(), ProcessorError> {
        self.tell(Step::Entering);
        let is_valid = checkpointer.is_lease_valid();
        let records = batch.len();
        self.tell(Step::Entered { is_valid, records });
        let (first, rest) = batch.records().split_at(batch.len() / 2);
        self.tell_records(first)?;
        sleep(WORK).await;
        self.tell_records(rest)?;
        self.add(batch, checkpointer).await?;
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES) {
            self.checkpoint(batch, checkpointer).await?;
        }
        Ok(())
    }

    async fn lease_lost(&mut self, _: &LossReason) {
        self.tell(Step::Lost);
    }

    async fn shard_ended(&mut self, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
        if let Some(sums) = &mut self.sums {
            sums.shard_ended(checkpointer).await?;
        }
        self.tell(Step::Ended);
        Ok(())
    }
}
