//! Credentials, regions and clocks that AWS does not accept.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::SdkConfig;
use kcl_core::{Error, WorkerBuilder};
use kcl_local::faults::{Fault, Outcome, Rule};
use kcl_tests::{Behaviour, World};
use tokio::time::{sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn refused(builder: WorkerBuilder) -> String {
    builder.build().map(drop).expect_err("refused").to_string()
}

#[tokio::test(start_paused = true)]
async fn what_no_retry_can_mend_is_refused_at_once_with_what_to_do() {
    let world = World::with_shards(1).await;
    let whole = world.aws("one");
    let configured =
        |config: &SdkConfig| refused(world.builder("one", Behaviour::default()).aws_config(config));
    let with = |change: &dyn Fn(&mut aws_types::sdk_config::Builder)| {
        let mut builder = whole.to_builder();
        change(&mut builder);
        configured(&builder.build())
    };
    let no_version = SdkConfig::builder()
        .region(whole.region().cloned())
        .credentials_provider(whole.credentials_provider().expect("given"))
        .build();
    for (told, wanted) in [
        (configured(&no_version), "behavior_version"),
        (with(&|config| _ = config.set_region(None)), "AWS_REGION"),
        (
            with(&|config| _ = config.set_credentials_provider(None)),
            "AWS_ACCESS_KEY_ID",
        ),
    ] {
        assert!(told.contains(wanted) && told.len() < 400, "{told}");
    }
    let elsewhere = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
    let elsewhere = world.on_stream(elsewhere);
    let told = refused(elsewhere.builder("one", Behaviour::default()));
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
        .aws("one")
        .to_builder()
        .credentials_provider(provider)
        .build();
    let worker = world.builder("one", Behaviour::default()).aws_config(&config);
    let ended = timeout(MINUTE, world.run("one", worker).ended());
    let ended = ended.await.expect("in time");
    let error: Error = ended.expect_err("no credentials");
    let told = format!("{error:?}");
    assert!(
        told.contains("AWS_ACCESS_KEY_ID") && told.contains("no providers in chain"),
        "{told}"
    );
    assert!(told.len() < 600 && !told.contains('{'), "{told}");
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
        let world = World::with_shards(1).await;
        world.put(5, 5).await;
        let worker = world.start("one");
        world.until_drained(MINUTE).await;
        let rule = Rule::any().by("one").fault(Fault::new(answer));
        let rule = world.servers.faults.add(rule);
        sleep(MINUTE).await;
        let during = worker.handle.status();
        world.servers.faults.remove(rule);
        world.put(5, 5).await;
        world.until_drained(MINUTE).await;
        world.assert_nothing_lost();
        sleep(MINUTE).await;
        let problem = during.problems.iter().find(|problem| problem.code == code);
        let problem = problem.unwrap_or_else(|| panic!("{code}: {during:?}"));
        assert!(problem.since_ms > 40_000, "{problem:?}");
        assert!(
            during.problems.iter().all(|problem| problem.text.len() < 700),
            "{during:?}"
        );
        let after = worker.handle.status();
        assert_eq!(after.problems, [], "all is well again");
        assert!(
            after.shards.iter().all(|shard| shard.problem.is_none()),
            "{after:?}"
        );
        worker.kill().await;
    }
}
