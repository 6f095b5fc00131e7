//! All of it in this process: three workers, one of which gets a spot notice and one of which crashes, while clicks are put.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use kcl_core::{Environment, Stopped, WorkerHandle};
use kcl_ec2::testing::FakeInstance;
use kcl_examples::pageviews::{Consumer, Producer, Put, Results};
use kcl_examples::{AnyError, streams};
use kcl_local::Backend;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::say;

const STREAM: &str = "clicks";
const RESULTS: &str = "views";
const SHARDS: i32 = 4;
const RATE: u32 = 400;
/// Short, so that the crash is over soon; 10 s is the default.
const FAILOVER: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_millis(200);
/// What was put is counted in this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker on an instance of its own.
struct Member {
    instance: FakeInstance,
    handle: WorkerHandle,
    task: JoinHandle<Result<Stopped, AnyError>>,
}

pub(crate) async fn run(seconds: u64) -> Result<(), AnyError> {
    let aws = Backend::start().sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    streams::ensure(&kinesis, STREAM, SHARDS).await?;
    let results = Results::new(aws_sdk_dynamodb::Client::new(&aws), RESULTS);
    results.ensure().await?;

    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let said = |text: &str| say(&format!("{:5.1} s  {text}", start.elapsed().as_secs_f64()));
    let (stop, stopped) = oneshot::channel::<()>();
    let producing = Producer::new(kinesis, STREAM, RATE, 1).run(async {
        let _ = stopped.await;
    });
    let producing = tokio::spawn(producing);
    let mut members = BTreeMap::new();
    for name in ["w1", "w2", "w3"] {
        members.insert(name, begin(&aws, name).await?);
    }
    said("w1, w2 and w3 count clicks of 4 shards");

    sleep_until(after(6)).await;
    said(&shares(&members));
    if let Some(member) = members.remove("w1") {
        said("EC2 takes the instance of w1 back");
        member.instance.interrupt(
            "terminate",
            Environment::system().now() + Duration::from_secs(120),
        );
        let departed = member.task.await??;
        for departure in &departed.shards {
            said(&format!("w1: {departure}"));
        }
    }
    members.insert("w4", begin(&aws, "w4").await?);
    said("w4 comes in its place");

    sleep_until(after(11)).await;
    said(&shares(&members));
    if let Some(member) = members.remove("w2") {
        said("w2 crashes: its leases expire after 3 s, and what it had not checkpointed comes again");
        member.task.abort();
        let _ = member.task.await;
    }

    sleep_until(after(seconds)).await;
    said(&shares(&members));
    let _ = stop.send(());
    let put = producing.await??;
    let counted = timeout(PATIENCE, until_counted(&results, put.values().sum())).await;
    for member in members.into_values() {
        member.handle.shutdown().await;
        member.task.await??;
    }
    // Nothing more may come.
    let views = by_page(&results).await?;
    say("");
    for (page, put) in &put {
        let counted = views.get(page).copied().unwrap_or_default();
        say(&format!("{page:<18} {put:>6} put {counted:>6} counted"));
    }
    counted.map_err(|_| "not every click was counted")??;
    if views != put {
        return Err("the counts are wrong".into());
    }
    say("Every click was counted, and none twice.");
    Ok(())
}

async fn begin(aws: &SdkConfig, name: &str) -> Result<Member, AnyError> {
    let instance = FakeInstance::new();
    let consumer = Consumer {
        application: "pageviews".to_owned(),
        stream: STREAM.to_owned(),
        results: RESULTS.to_owned(),
        worker: Some(name.to_owned()),
        window: WINDOW,
        failover: FAILOVER,
        stop_timeout: Duration::from_secs(20),
        health: None,
        notices: Some(instance.watch().interval(Duration::from_millis(500))),
    };
    let (started, handle) = oneshot::channel();
    let aws = aws.clone();
    let task = tokio::spawn(async move {
        let tell = |handle| drop(started.send(handle));
        consumer.run(&aws, tell).await
    });
    match handle.await {
        Ok(handle) => Ok(Member {
            instance,
            handle,
            task,
        }),
        Err(_) => Err(task
            .await?
            .err()
            .unwrap_or_else(|| "a worker ended at once".into())),
    }
}

/// How many shards each worker has.
fn shares(members: &BTreeMap<&str, Member>) -> String {
    let shares = members
        .iter()
        .map(|(name, member)| format!("{name} has {}", member.handle.status().leases_held));
    format!("shards: {}", shares.collect::<Vec<_>>().join(", "))
}

async fn by_page(results: &Results) -> Result<Put, AnyError> {
    let mut pages = Put::new();
    for view in results.views().await? {
        *pages.entry(view.page).or_default() += view.views;
    }
    Ok(pages)
}

async fn until_counted(results: &Results, clicks: u64) -> Result<(), AnyError> {
    while by_page(results).await?.values().sum::<u64>() < clicks {
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[tokio::test(start_paused = true)]
    async fn a_notice_and_a_crash_change_no_count() {
        super::run(16).await.expect("exact");
    }
}
