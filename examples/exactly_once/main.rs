//! Sums in a database in which each record counts exactly once, whatever happens to the workers.
//!
//! ```console
//! $ cargo run --release --example exactly_once
//! $ cargo run --release --example exactly_once -- --postgres postgres://user@localhost/database
//! ```
//!
//! The application is `kcl_examples::exactly_once` (`examples/src/exactly_once`): read its processor first. What is here disturbs it:
//! [`fleet`] kills workers, whose last writes arrive late ([`network`]), while the [`producer`] goes on and the stream is split and
//! merged. The [`report`] compares what was put with what the database has.

mod fleet;
mod network;
mod producer;
mod report;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use clap::Parser;
use kcl_examples::exactly_once::{Target, Totals};
use kcl_examples::{AnyError, chain, streams};
use kcl_local::Backend;
use kcl_local::kinesis::KinesisOptions;
use tokio::time::{Instant, sleep};
use tracing_subscriber::EnvFilter;

use crate::fleet::Fleet;
use crate::producer::Producer;
use crate::report::Report;

const STREAM: &str = "payments";

/// Once nothing is put any more and nobody is killed, the database has everything within this time.
const DRAIN: Duration = Duration::from_secs(60);

/// Kill workers while they add amounts to accounts, and see that each record counts exactly once.
///
/// The stream, the leases and the workers are in this process. The sums are in a temporary file of SQLite, in a file that you name,
/// or in a PostgreSQL. The exit status is 1 if a sum is not what was put.
#[derive(Debug, Clone, Parser)]
#[command(name = "exactly_once", version)]
struct Args {
    /// A PostgreSQL to keep the sums in, without TLS: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL", conflicts_with = "sqlite")]
    postgres: Option<String>,

    /// A file of SQLite to keep the sums in
    #[arg(long, value_name = "FILE")]
    sqlite: Option<PathBuf>,

    /// How long records are put and workers are killed
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// Chooses the amounts and the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // RUST_LOG=info shows what the library has to say.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(io::stderr)
        .init();
    match run(&args).await {
        Ok(report) => {
            println!("{report}");
            if report.is_exact() {
                return ExitCode::SUCCESS;
            }
        }
        Err(error) => eprintln!("exactly_once: {}", chain(&*error)),
    }
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Result<Report, AnyError> {
    // Removed at the end of the program.
    let folder = Folder::new()?;
    let target = match (&args.postgres, &args.sqlite) {
        (Some(url), _) => url.parse()?,
        (None, Some(file)) => Target::Sqlite(file.clone()),
        (None, None) => Target::Sqlite(folder.0.join("sums.db")),
    };
    target.prepare().await?;
    // An earlier run may have been here.
    let before = target.database().totals().await?;

    let backend = Backend::builder().kinesis(KinesisOptions {
        update_delay: Duration::from_millis(200),
        ..KinesisOptions::default()
    });
    let backend = backend.build();
    let kinesis = Client::new(&backend.sdk_config_named("producer"));
    streams::ensure(&kinesis, STREAM, 4).await?;
    let stream = streams::identity(&kinesis, STREAM).await?;

    let mut fleet = Fleet::new(&backend, &target, STREAM, &stream, args.seed);
    let producer = Producer::start(&kinesis, STREAM, args.seed);
    fleet.disturb(&kinesis, Duration::from_secs(args.seconds)).await?;
    let put = producer.stop().await?;
    let found = wait(&target, &before, &put).await?;
    fleet.stop().await?;
    Ok(Report {
        put,
        found,
        deeds: fleet.deeds,
        writes: fleet.writes,
    })
}

/// Waits until the database has what was put, or something else and the patience is over.
async fn wait(target: &Target, before: &Totals, put: &Totals) -> Result<Totals, AnyError> {
    let (start, mut database) = (Instant::now(), target.database());
    loop {
        let found = report::growth(before, &database.totals().await?);
        if found == *put || start.elapsed() > DRAIN {
            return Ok(found);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// A temporary folder of this process.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("exactly-once-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_sums_are_exact_although_workers_are_killed() {
        let report = run(&Args::parse_from(["exactly_once", "--seconds", "8"]))
            .await
            .unwrap();
        assert!(report.is_exact() && report.deeds.killed > 1, "{report}");
    }
}
