//! Runs many histories, or one of them again.
#![allow(clippy::expect_used, reason = "a test program: its own mistakes end it")]

/// A fourth of the time of a history went into the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kcl_simulation::faults::Wanted;
use kcl_simulation::scale::{self, Scale};
use kcl_simulation::summary::Summary;
use kcl_simulation::world::{Outcome, Size};
use kcl_simulation::{crew, scripts, timeline, world};

/// Tries to break the Kinesis Client Library.
#[derive(Debug, Clone, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    histories: Args,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Measures a large fleet without faults: how soon it is balanced, and what it asks of DynamoDB and Kinesis.
    Scale(ScaleArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct ScaleArgs {
    /// Workers at first.
    #[arg(long, default_value_t = 1000)]
    workers: usize,
    /// Shards.
    #[arg(long, default_value_t = 10_000)]
    shards: i32,
    /// The fail-over time, in seconds.
    #[arg(long, default_value_t = 10.0)]
    failover: f64,
    /// How long each request is under way, in milliseconds.
    #[arg(long, default_value_t = 5)]
    latency: u64,
    /// Virtual seconds that each phase may take.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Does not kill the leader at the end.
    #[arg(long)]
    spare_leader: bool,
}

#[derive(Debug, Clone, clap::Args)]
struct Args {
    /// How many histories.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this history, with its whole timeline.
    #[arg(long)]
    seed: Option<u64>,
    /// With every single record in the timeline.
    #[arg(long)]
    records: bool,
    /// Virtual minutes of disturbance.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Workers at first.
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// Shards at first.
    #[arg(long, default_value_t = 8)]
    shards: i32,
    /// Histories at a time; as many as there are cores, if not given.
    #[arg(long, default_value_t = crew::cores())]
    threads: usize,
    #[command(flatten)]
    wanted: Wanted,
    /// Lists the scripts and does nothing.
    #[arg(long)]
    scripts: bool,
}

impl Args {
    fn size(&self) -> Size {
        Size {
            workers: self.workers,
            shards: self.shards,
            disturbed: Duration::from_secs_f64(self.minutes * 60.0),
            wanted: self.wanted.clone(),
        }
    }
}

fn main() -> ExitCode {
    // RUST_LOG shows what the workers say.
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into()),
        )
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let Cli { command, histories } = Cli::parse();
    if histories.scripts {
        for script in scripts::ALL {
            for (line, mistake) in script.shows.iter().enumerate() {
                let name = if line == 0 { script.name } else { "" };
                println!("{name:<34} {mistake}");
            }
        }
        return ExitCode::SUCCESS;
    }
    match (command, histories.seed) {
        (Some(Command::Scale(args)), _) => large(&args),
        (None, Some(seed)) => one(&histories, seed),
        (None, None) => many(&histories),
    }
}

fn large(args: &ScaleArgs) -> ExitCode {
    let scale = Scale {
        workers: args.workers,
        shards: args.shards,
        failover: Duration::from_secs_f64(args.failover),
        latency: Duration::from_millis(args.latency),
        patience: Duration::from_secs(args.patience),
        kills_leader: !args.spare_leader,
    };
    let report = scale::run(&scale, |phase| {
        let balanced = phase.balanced_after;
        eprintln!(
            "{}: balanced after {balanced:?}, {:.1?} real",
            phase.name, phase.took
        );
    });
    print!("{report}");
    ExitCode::SUCCESS
}

fn one(args: &Args, seed: u64) -> ExitCode {
    let outcome = world::run(seed, &args.size());
    print!("{}", timeline::whole(&outcome, args.records));
    verdict(args, &outcome);
    if outcome.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn verdict(args: &Args, outcome: &Outcome) {
    if !outcome.violations.is_empty() {
        println!("{}", timeline::report(outcome, &args.size().replay(outcome.seed)));
    }
}

fn many(args: &Args) -> ExitCode {
    let bar = ProgressBar::with_draw_target(Some(args.seeds), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}") {
        bar.set_style(style);
    }
    let mut summary = Summary::default();
    let watch = crew::Stopwatch::start();
    let seeds = args.from..args.from + args.seeds;
    let finished = crew::run_all(seeds, &args.size(), args.threads, |outcome| {
        summary.add(&outcome);
        bar.inc(1);
        bar.set_message(format!("{} broken", summary.broken()));
        bar.suspend(|| verdict(args, &outcome));
        if bar.is_hidden() && bar.position().is_multiple_of(50) {
            println!(
                "{} of {} histories, {} broken",
                bar.position(),
                args.seeds,
                summary.broken()
            );
        }
    });
    bar.finish_and_clear();
    summary.took = watch.elapsed();
    summary.threads = args.threads;
    println!("{summary}");
    match finished {
        Ok(()) if summary.broken() == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(seed) => {
            println!(
                "seed {seed} does not come to an end: {}",
                args.size().replay(seed)
            );
            ExitCode::FAILURE
        }
    }
}
