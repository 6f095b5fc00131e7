//! Clients with time-outs that fit a worker, and the worker's default name.

use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use kcl_lease::{Environment, SigningProblem, Timers, WorkerId};

/// What no retry can mend about a configuration. The SDK's clients panic without a behavior version, and fail at every call
/// without the rest.
pub(super) fn problems(sdk: &SdkConfig) -> Vec<String> {
    let mut problems = Vec::new();
    if sdk.behavior_version().is_none() {
        problems.push(
            "aws_config has no behavior version; make it with \
             aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await, or set behavior_version"
                .to_owned(),
        );
    }
    if sdk.region().is_none() {
        problems.push(format!("aws_config: {}", SigningProblem::NoRegion));
    }
    if sdk.credentials_provider().is_none() {
        problems.push(format!("aws_config: {}", SigningProblem::NoCredentials));
    }
    problems
}

/// A client for the lease table. A call that takes longer than the fail-over time is of no use, and one lost request must
/// not cost a lease.
pub(super) fn dynamodb(sdk: &SdkConfig, timers: Timers) -> aws_sdk_dynamodb::Client {
    let timeouts = timeouts(sdk, timers.attempt(), timers.call());
    let config = aws_sdk_dynamodb::config::Builder::from(sdk)
        .timeout_config(timeouts)
        .retry_partition(own_retries())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// A client that reads records: answers have up to 10 MiB.
pub(super) fn kinesis(sdk: &SdkConfig) -> aws_sdk_kinesis::Client {
    let timeouts = timeouts(sdk, Duration::from_secs(10), Duration::from_secs(30));
    let config = aws_sdk_kinesis::config::Builder::from(sdk)
        .timeout_config(timeouts)
        .retry_partition(own_retries())
        .build();
    aws_sdk_kinesis::Client::from_conf(config)
}

/// By default all clients of a service in a process share one allowance of retries. A processor whose own calls keep
/// failing would use it up, and a single lost renewal could cost a lease.
fn own_retries() -> RetryPartition {
    RetryPartition::custom("kcl").build()
}

/// What the application configured wins.
fn timeouts(sdk: &SdkConfig, attempt: Duration, operation: Duration) -> TimeoutConfig {
    let ours = TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build();
    match sdk.timeout_config() {
        Some(theirs) => {
            let mut timeouts = theirs.clone();
            timeouts.take_defaults_from(&ours);
            timeouts
        }
        None => ours,
    }
}

/// The host's name and a random part, so that a restarted worker is a new one.
pub(super) fn default_worker_id(env: &Environment) -> WorkerId {
    let host = std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "worker".to_owned());
    WorkerId::from(format!("{host}-{}", env.uuid()))
}
