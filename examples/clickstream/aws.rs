//! The run against AWS, or against any endpoint that the environment names.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_kinesis::Client;
use kcl_core::{Environment, InitialPosition};
use tokio::time::sleep;

use crate::AnyError;
use crate::args::Args;
use crate::fleet::Fleet;
use crate::local::open;
use crate::producer::{Pace, Producer, Production};
use crate::report::Report;
use crate::run::{Progress, Show, drain, failure};
use crate::stage::Stage;
use crate::streams;
use crate::view::View;

/// Records per second unless the command line says otherwise: what a single shard takes.
const RATE: u32 = 1_000;

pub(crate) async fn run(args: &Args) -> Result<Report, AnyError> {
    let Some(stream) = args.stream.clone() else {
        return Err("give the stream with --stream".into());
    };
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    if config.region().is_none() {
        return Err("no AWS region is set; set AWS_REGION, or a region in the profile".into());
    }
    let kinesis = Client::new(&config);
    let run = u64::try_from(Environment::system().since_epoch().as_nanos()).unwrap_or(u64::MAX);
    let stage = Arc::new(Stage::new(run, View::new(args.quiet)));
    if args.produce && !stream.starts_with("arn:") && streams::ensure(&kinesis, &stream, args.shards).await? {
        stage.tell(&format!("created {stream} with {} shards", args.shards));
    }
    let fleet = Arc::new(fleet(args, &config, &stage, &stream));
    for number in 1..=args.workers {
        // Restarted under the same name, a worker takes its leases up again at once.
        fleet.start(&format!("w{number}"))?;
    }
    let progress = args.produce.then(Progress::default);
    let show = Show::begin(&stage, &fleet, progress.clone());

    let stop = async {
        let limit = args.seconds.map_or(Duration::MAX, Duration::from_secs);
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {}
            () = sleep(limit) => {}
        }
    };
    let mut failures = Vec::new();
    let mut drained = None;
    let mut production = None;
    match progress {
        None => tokio::select! {
            biased;
            () = stop => drained = Some(Duration::ZERO),
            reason = failure(&fleet) => failures.push(reason),
        },
        Some(progress) => {
            let producer = Producer {
                kinesis,
                stream: stream.clone(),
                stage: stage.clone(),
                pace: Pace::Rate(f64::from(args.rate.unwrap_or(RATE))),
                stop: Arc::default(),
            };
            match produce(args, &producer, &progress, stop, &fleet).await {
                Ok(done) => {
                    production = Some(done);
                    stage.tell("nothing more is written");
                    let give_up = async {
                        tokio::select! {
                            biased;
                            _ = tokio::signal::ctrl_c() => "stopped before everything was processed".to_owned(),
                            reason = failure(&fleet) => reason,
                        }
                    };
                    match drain(&stage, args.drain_patience(), give_up).await {
                        Ok(time) => drained = Some(time),
                        Err(reason) => failures.push(reason),
                    }
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
    }
    stage.tell("the workers are asked to stop");
    let stopped = tokio::select! {
        biased;
        stopped = fleet.stop_all(Duration::from_secs(60)) => stopped,
        _ = tokio::signal::ctrl_c() => Err("the workers were not waited for; their leases are free after the fail-over time".into()),
    };
    failures.extend(stopped.err().map(|error| error.to_string()));
    show.end().await;
    Ok(Report {
        production,
        drained,
        failures,
        ..Report::of(&stage)
    })
}

async fn produce(
    args: &Args,
    producer: &Producer,
    progress: &Progress,
    stop: impl Future<Output = ()>,
    fleet: &Fleet,
) -> Result<Production, AnyError> {
    let source = open(args).await?;
    let mut writing = std::pin::pin!(producer.run(source, |share| progress.set(share)));
    tokio::select! {
        biased;
        written = &mut writing => return written,
        reason = failure(fleet) => return Err(reason.into()),
        () = stop => {
            producer.stage.tell("catching up; ctrl-c ends that too");
            producer.stop.store(true, Ordering::Relaxed);
        }
    }
    writing.await
}

fn fleet(args: &Args, config: &aws_config::SdkConfig, stage: &Arc<Stage>, stream: &str) -> Fleet {
    let (config, failover) = (config.clone(), args.failover_time());
    let position = if args.produce {
        InitialPosition::TrimHorizon
    } else {
        InitialPosition::Latest
    };
    Fleet::new(stage.clone(), &args.application, stream, move |_, worker| {
        worker
            .aws_config(&config)
            .initial_position(position)
            .failover_time(failover)
    })
}
