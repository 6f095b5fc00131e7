//! Credentials, regions and clocks that AWS does not accept.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::SdkConfig;
use kcl_core::{Error, Worker, WorkerBuilder, WorkerStatus};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Outcome, Rule, RuleId};
use tokio::time::{sleep, timeout};

use crate::world::World;

fn refused(builder: WorkerBuilder) -> String {
    builder.build().map(drop).expect_err("refused").to_string()
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_can_mend_is_refused_at_once_with_what_to_do() {
    let world = World::with_shards(1).await;
    let whole = world.backend.sdk_config();
    let with = |change: &dyn Fn(&mut aws_types::sdk_config::Builder)| {
        let mut builder = whole.to_builder();
        change(&mut builder);
        refused(world.worker("one").aws_config(&builder.build()))
    };
    let no_version = SdkConfig::builder()
        .region(whole.region().cloned())
        .credentials_provider(whole.credentials_provider().expect("given"))
        .build();
    let no_version = refused(world.worker("one").aws_config(&no_version));
    for (told, wanted) in [
        (no_version, "behavior_version"),
        (with(&|config| _ = config.set_region(None)), "AWS_REGION"),
        (
            with(&|config| _ = config.set_credentials_provider(None)),
            "AWS_ACCESS_KEY_ID",
        ),
    ] {
        assert!(told.contains(wanted) && told.len() < 400, "{told}");
    }
    let elsewhere = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
    let told = refused(world.worker_for("one", elsewhere));
    assert!(
        told.contains("is in region eu-west-1, but the Kinesis client calls us-east-1"),
        "{told}"
    );
}

/// Finds nothing, as the SDK's chain of providers where there is nothing to find.
#[derive(Debug)]
struct Nothing;

impl ProvideCredentials for Nothing {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::not_loaded("no providers in chain provided credentials");
        future::ProvideCredentials::ready(Err(error))
    }
}

#[tokio::test(start_paused = true)]
async fn without_credentials_the_start_ends_with_a_sentence() {
    let world = World::with_shards(1).await;
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(Nothing);
    let config = world
        .backend
        .sdk_config()
        .to_builder()
        .credentials_provider(provider)
        .build();
    let worker = world.worker("one").aws_config(&config).build().expect("valid");
    let ended = timeout(Duration::from_secs(60), worker.run())
        .await
        .expect("in time");
    let error: Error = ended.expect_err("no credentials");
    let told = format!("{error:?}");
    assert!(
        told.contains("AWS_ACCESS_KEY_ID") && told.contains("no providers in chain"),
        "{told}"
    );
    assert!(told.len() < 600 && !told.contains('{'), "{told}");
}

/// A worker at work, and what makes all its calls fail.
async fn at_work(answer: Outcome) -> (World, WorkerStatus, Box<dyn Fn() -> WorkerStatus>) {
    let faults = FaultScript::new();
    let world = World::new(1, Backend::builder().faults(faults.clone()).build()).await;
    world.put(5).await;
    let worker: Worker = world.worker("one").build().expect("valid");
    let handle = worker.handle();
    tokio::spawn(worker.run());
    world
        .eventually("all records are processed", 60, || world.delivered() == 5)
        .await;
    let rule: RuleId = faults.add(Rule::any().by("one").fault(Fault::new(answer)));
    sleep(Duration::from_secs(60)).await;
    let during = handle.status();
    faults.remove(rule);
    world.put(5).await;
    world
        .eventually("it goes on by itself", 60, || world.is_complete())
        .await;
    sleep(Duration::from_secs(60)).await;
    (world, during, Box::new(move || handle.status()))
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_and_a_clock_that_is_off_are_told_as_what_they_are_until_they_are_not() {
    let answered = |code: &str, message: &str| Outcome::Respond {
        code: code.to_owned(),
        message: message.to_owned(),
        status: 400,
    };
    for (answer, code) in [
        (
            answered(
                "ExpiredTokenException",
                "The security token included in the request is expired",
            ),
            "credentials-expired",
        ),
        (
            answered(
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z",
            ),
            "clock-wrong",
        ),
        (
            answered("RequestTimeTooSkewed", "The difference is too large"),
            "clock-wrong",
        ),
    ] {
        let (_world, during, after) = at_work(answer).await;
        let problem = during.problems.iter().find(|problem| problem.code == code);
        let problem = problem.unwrap_or_else(|| panic!("{code}: {during:?}"));
        assert!(problem.since_ms > 40_000, "{problem:?}");
        assert!(
            during.problems.iter().all(|problem| problem.text.len() < 700),
            "{during:?}"
        );
        let after = after();
        assert_eq!(after.problems, [], "all is well again");
        assert!(
            after.shards.iter().all(|shard| shard.problem.is_none()),
            "{after:?}"
        );
    }
}
