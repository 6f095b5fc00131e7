//! Reading a lease table, and judging what is in it.

pub(crate) mod findings;
mod look;
pub(crate) mod tree;
mod watched;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use kcl_core::Stream;
use kcl_lease::{DynamoDbLeaseStore, Environment, LeaseStore as _, TableOptions};

pub(crate) use self::look::{Kind, Look};
pub(crate) use self::watched::{Watched, options_of, watch};
use crate::arguments::Global;
use crate::failure::Failure;

/// How long a call may take, and one attempt of it: somebody waits.
const CALL: Duration = Duration::from_secs(15);
const ATTEMPT: Duration = Duration::from_secs(5);

/// The table that the arguments name, and the way to it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) store: DynamoDbLeaseStore,
    pub(crate) client: Client,
    pub(crate) options: TableOptions,
    pub(crate) env: Environment,
}

impl Table {
    pub(crate) fn of(global: &Global, sdk: &SdkConfig, env: &Environment) -> Result<Self, Failure> {
        let Some(application) = global.application.as_ref().or(global.table.as_ref()) else {
            return Err(Failure::Usage(
                "say which table: --application NAME, or --table NAME if it is not called after its application".to_owned(),
            ));
        };
        let mut options = TableOptions::new(application.as_str());
        options.name.clone_from(&global.table);
        options
            .coordinator_state_table
            .clone_from(&global.coordinator_state_table);
        options
            .worker_metrics_table
            .clone_from(&global.worker_metrics_table);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(CALL)
            .build();
        let config = aws_sdk_dynamodb::config::Builder::from(sdk).timeout_config(timeouts);
        let client = Client::from_conf(config.build());
        Ok(Self {
            store: DynamoDbLeaseStore::new(client.clone(), options.clone()),
            client,
            options,
            env: env.clone(),
        })
    }

    /// One look at all rows.
    pub(crate) async fn look(&self) -> Result<Look, Failure> {
        Look::at(&self.store, &self.env).await
    }

    /// The stream that was named, or else the one that the table names.
    pub(crate) async fn stream(&self, named: Option<&Stream>) -> Result<Stream, Failure> {
        if let Some(stream) = named {
            return Ok(stream.clone());
        }
        let recorded = self.store.stream().await?;
        let recorded = recorded.and_then(|recorded| Stream::parse(&recorded.name).ok());
        recorded.ok_or_else(|| {
            Failure::Usage(
                "the table does not say which stream its leases are of, as those of Java workers do not, or it is one of several streams: name one \
                 with --stream".to_owned(),
            )
        })
    }
}
