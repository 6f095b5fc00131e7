//! The run in this process: a backend, a producer, a fleet, and what disturbs them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use kcl_core::{Environment, InitialPosition};
use kcl_local::Backend;
use kcl_local::kinesis::KinesisOptions;

use crate::AnyError;
use crate::args::Args;
use crate::fleet::Fleet;
use crate::producer::{Pace, Producer};
use crate::report::Report;
use crate::run::{Progress, Show, drain, failure};
use crate::source::Source;
use crate::stage::Stage;
use crate::view::View;
use crate::{script, streams};

const STREAM: &str = "clicks";

pub(crate) async fn run(args: &Args) -> Result<Report, AnyError> {
    let source = open(args).await?;
    let time = args.production_time();
    let backend = Backend::builder()
        .kinesis(KinesisOptions {
            enforce_limits: args.limits,
            update_delay: Duration::from_millis(500),
            ..KinesisOptions::default()
        })
        .build();
    let stage = Arc::new(Stage::new(backend.clock().now_millis(), View::new(args.quiet)));
    let kinesis = Client::new(&backend.sdk_config_named("producer"));
    streams::ensure(&kinesis, STREAM, args.shards).await?;
    stage.tell(&format!(
        "{STREAM} has {} shards; w1, w2 and w3 start",
        args.shards
    ));

    let fleet = Arc::new(fleet(args, &backend, &stage));
    for worker in ["w1", "w2", "w3"] {
        fleet.start(worker)?;
    }
    let progress = Progress::default();
    let show = Show::begin(&stage, &fleet, Some(progress.clone()));
    let producer = Producer {
        kinesis: kinesis.clone(),
        stream: STREAM.to_owned(),
        stage: stage.clone(),
        pace: args
            .rate
            .map_or(Pace::Spread(time), |rate| Pace::Rate(f64::from(rate))),
        stop: Arc::default(),
    };
    let script = async {
        if args.calm {
            return Ok(());
        }
        script::play(
            stage.clone(),
            fleet.clone(),
            kinesis.clone(),
            STREAM.to_owned(),
            time,
        )
        .await
    };
    let written = async {
        let production = producer.run(source, |share| progress.set(share)).await;
        stage.tell("nothing more is written");
        production
    };
    let mut failures = Vec::new();
    let played = tokio::select! {
        biased;
        reason = failure(&fleet) => Err(reason.into()),
        played = async { tokio::join!(written, script) } => Ok(played),
    };
    let production = match played {
        Ok((production, script)) => {
            failures.extend(script.err().map(|error| error.to_string()));
            production
        }
        Err(reason) => Err(reason),
    };
    let mut drained = None;
    let production = match production {
        Ok(production) => {
            match drain(&stage, args.drain_patience(), failure(&fleet)).await {
                Ok(time) => drained = Some(time),
                Err(reason) => failures.push(reason),
            }
            Some(production)
        }
        Err(error) => {
            failures.push(error.to_string());
            None
        }
    };
    stage.tell("the workers are asked to stop");
    failures.extend(
        fleet
            .stop_all(Duration::from_secs(60))
            .await
            .err()
            .map(|error| error.to_string()),
    );
    stage.tell("all workers stopped");
    show.end().await;
    Ok(Report {
        production,
        drained,
        failures,
        ..Report::of(&stage)
    })
}

/// The events: of the file, if one was given.
pub(crate) async fn open(args: &Args) -> Result<Source, AnyError> {
    match &args.file {
        Some(path) => Source::open(path, args.format, args.key.clone()).await,
        None => Ok(Source::generated(args.seed, args.events)),
    }
}

fn fleet(args: &Args, backend: &Backend, stage: &Arc<Stage>) -> Fleet {
    let (backend, failover, seed) = (backend.clone(), args.failover_time(), args.seed);
    Fleet::new(stage.clone(), "clickstream", STREAM, move |name, worker| {
        let clock = backend.clock().clone();
        let seed = name.bytes().fold(seed, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        worker
            .aws_config(&backend.sdk_config_named(name))
            .environment(Environment::seeded(seed, move || clock.now()))
            .initial_position(InitialPosition::TrimHorizon)
            .failover_time(failover)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::ledger::Again;
    use crate::takeovers::Cause;

    /// The default run, in virtual time.
    #[tokio::test(start_paused = true)]
    async fn every_promise_is_kept_and_only_the_crash_brings_records_again() {
        let report = run(&Args::parse_from(["clickstream", "--quiet", "--events", "6000"]))
            .await
            .unwrap();
        assert_eq!(report.broken(), [""; 0]);
        assert_eq!(
            (report.totals.put, report.totals.unique, report.totals.foreign),
            (6_000, 6_000, 0)
        );
        assert!(
            report
                .totals
                .duplicates
                .keys()
                .all(|again| *again == Again::After(Cause::Kill)),
            "{}",
            report.text()
        );
        for cause in [Cause::Start, Cause::Reshard, Cause::Stop, Cause::Kill] {
            let happened = report.take_overs.iter().any(|take_over| take_over.cause == cause);
            assert!(happened, "{cause} in {}", report.text());
        }
        assert!(report.took < Duration::from_secs(60), "{:?}", report.took);
    }

    #[tokio::test(start_paused = true)]
    async fn a_calm_run_delivers_everything_once() {
        let report = run(&Args::parse_from([
            "clickstream",
            "--quiet",
            "--calm",
            "--events",
            "3000",
            "--limits",
        ]))
        .await
        .unwrap();
        assert_eq!(report.broken(), [""; 0]);
        assert_eq!(report.totals.duplicates, [].into());
    }
}
