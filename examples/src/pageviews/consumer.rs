//! A worker with everything that it needs on a machine that may go at any time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use kcl_core::{Stopped, Worker, WorkerHandle};
use kcl_ec2::Watch;
use kcl_health::HealthServer;
use kcl_metrics::Facade;
use metrics_exporter_prometheus::PrometheusHandle;

use super::processor::PageViews;
use super::results::Results;
use crate::{AnyError, streams};

/// How a consumer is set up.
#[derive(Debug)]
pub struct Consumer {
    /// The application, which names the lease table.
    pub application: String,
    /// The stream.
    pub stream: String,
    /// The table with the results; it is not made here.
    pub results: String,
    /// The worker's name; a unique one if there is none.
    pub worker: Option<String>,
    /// Clicks wait no longer than this to be counted together: fewer writes, later results.
    pub window: Duration,
    /// How long a silent worker keeps its leases.
    pub failover: Duration,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// Where to answer how the worker is, and what its numbers are.
    pub health: Option<(SocketAddr, PrometheusHandle)>,
    /// What tells that the machine goes, if anything does.
    pub notices: Option<Watch>,
}

impl Consumer {
    /// Counts until the process is told to stop, or there is a notice. `started` is given a handle of the worker.
    ///
    /// # Errors
    /// The worker cannot start, or broke.
    pub async fn run(self, aws: &SdkConfig, started: impl FnOnce(WorkerHandle)) -> Result<Stopped, AnyError> {
        let (worker, leaving, _health) = self.prepare(aws).await?;
        started(worker.handle());
        let told = tokio::spawn(leaving);
        let stopped = worker.run_until_signal().await;
        told.abort();
        Ok(stopped?)
    }

    /// The worker, a future that makes it leave when there is a notice, and what answers for it as long as it is kept.
    async fn prepare(
        self,
        aws: &SdkConfig,
    ) -> Result<
        (
            Worker,
            impl Future<Output = ()> + Send + use<>,
            Option<kcl_health::Serving>,
        ),
        AnyError,
    > {
        let kinesis = aws_sdk_kinesis::Client::new(aws);
        let stream = streams::identity(&kinesis, &self.stream).await?;
        let results = Results::new(aws_sdk_dynamodb::Client::new(aws), self.results);
        let processors =
            move |shard: &kcl_core::ShardContext| PageViews::new(results.clone(), &stream, shard);
        let mut worker = Worker::builder(&self.application, &self.stream, processors)
            .aws_config(aws)
            .batch_window(self.window)
            .failover_time(self.failover)
            .stop_timeout(self.stop_timeout);
        if let Some(id) = self.worker {
            worker = worker.worker_id(id);
        }
        if self.health.is_some() {
            let recorder = Facade::new().label("application", self.application.clone());
            worker = worker.recorder(Arc::new(recorder));
        }
        let worker = worker.build()?;
        let handle = worker.handle();
        let health = match self.health {
            None => None,
            Some((address, numbers)) => {
                let server = HealthServer::new(handle.clone()).metrics(move || numbers.render());
                let served = server.listen(address);
                Some(served.map_err(|error| format!("cannot listen on {address}: {error}"))?)
            }
        };
        let notices = self.notices;
        let leaving = async move {
            if let Some(watch) = notices {
                watch.notice().await;
                handle.shutdown().await;
            }
        };
        Ok((worker, leaving, health))
    }
}
