//! With a stream of AWS, or of any endpoint that the environment names.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use kcl_ec2::Watch;
use kcl_examples::pageviews::{Consumer, Producer, Results};
use kcl_examples::{AnyError, streams};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::sleep;

use crate::args::{Command, Consume};
use crate::say;

/// Samples are put into the histograms this often, whether anybody asks for them or not.
const UPKEEP: Duration = Duration::from_secs(5);
/// Rows that are shown.
const SHOWN: usize = 40;

pub(crate) async fn run(command: Command) -> Result<(), AnyError> {
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    if aws.region().is_none() {
        return Err("no AWS region is set; set AWS_REGION, or a region in the profile".into());
    }
    match command {
        Command::Produce { stream, rate, create } => produce(&aws, &stream, rate, create).await,
        Command::Consume(options) => consume(&aws, options).await,
        Command::Views { results } => {
            views(&Results::new(aws_sdk_dynamodb::Client::new(&aws), results)).await
        }
        Command::Probe { url } => crate::probe::ask(&url),
    }
}

async fn produce(aws: &SdkConfig, stream: &str, rate: u32, create: Option<i32>) -> Result<(), AnyError> {
    let kinesis = aws_sdk_kinesis::Client::new(aws);
    if let Some(shards) = create {
        streams::ensure(&kinesis, stream, shards).await?;
    }
    say(&format!(
        "about {rate} clicks a second into {stream}, until ctrl-c or SIGTERM"
    ));
    let seed = kcl_core::Environment::system().since_epoch().subsec_nanos();
    let put = Producer::new(kinesis, stream, rate, seed.into())
        .run(told_to_stop()?)
        .await?;
    say(&format!("{} clicks were put", put.values().sum::<u64>()));
    Ok(())
}

async fn consume(aws: &SdkConfig, options: Consume) -> Result<(), AnyError> {
    if options.create_results {
        let results = Results::new(aws_sdk_dynamodb::Client::new(aws), &options.results);
        results.ensure().await?;
    }
    let numbers = PrometheusBuilder::new().install_recorder()?;
    tokio::spawn(keep_up(numbers.clone()));
    let consumer = Consumer {
        application: options.application,
        stream: options.stream,
        results: options.results,
        worker: None,
        window: options.window,
        failover: options.failover_time,
        stop_timeout: options.stop_timeout,
        health: Some((options.health, numbers)),
        notices: options.notices.then(Watch::from_env).transpose()?,
    };
    let stopped = consumer.run(aws, |_| {}).await?;
    for departure in &stopped.shards {
        say(&departure.to_string());
    }
    Ok(())
}

async fn keep_up(numbers: PrometheusHandle) {
    loop {
        sleep(UPKEEP).await;
        numbers.run_upkeep();
    }
}

/// The latest minutes, all shards together.
async fn views(results: &Results) -> Result<(), AnyError> {
    let mut rows = BTreeMap::<_, u64>::new();
    for view in results.views().await? {
        *rows.entry((view.minute, view.page)).or_default() += view.views;
    }
    say(&format!("{} views in all", rows.values().sum::<u64>()));
    for ((minute, page), views) in rows.iter().rev().take(SHOWN) {
        say(&format!("{minute}  {views:>8}  {page}"));
    }
    Ok(())
}

#[cfg(unix)]
fn told_to_stop() -> Result<impl Future<Output = ()>, AnyError> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn told_to_stop() -> Result<impl Future<Output = ()>, AnyError> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
