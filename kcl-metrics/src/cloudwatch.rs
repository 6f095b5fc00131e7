//! Numbers for Amazon CloudWatch.

mod exporter;
mod gathering;
mod metric;
#[cfg(any(test, feature = "cloudwatch"))]
mod requests;
mod statistics;
mod translation;
mod words;

#[cfg(feature = "emf")]
mod emf;
#[cfg(all(test, feature = "emf"))]
mod page;
#[cfg(feature = "cloudwatch")]
mod put;

use kcl_lease::Environment;

pub use self::exporter::Exporter;

/// How much CloudWatch is told, as the Java KCL has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    None,
    /// What alarms and dashboards of an application need. The default. (Java's is `DETAILED`.)
    #[default]
    Summary,
    /// Single calls, too.
    Detailed,
}

/// Brings a worker's numbers to Amazon CloudWatch, with the names, dimensions and levels of the Java KCL.
///
/// Numbers are gathered for a minute of the clock, and each metric becomes one datum of it: how many values there were, their sum, the least
/// and the most. So the cost does not depend on how much is processed; by default it does not depend on the number of shards either. What it
/// is stands in the page on CloudWatch of the documentation.
///
/// Take one for each worker. Nothing of it waits in the worker's way: what cannot be delivered is kept, up to 10,000 data, of which the
/// oldest are dropped, with a line in the log. An attempt that was not answered is repeated; if it had arrived, what it says is counted
/// twice.
///
/// ```
/// use kcl_metrics::{CloudWatch, Level};
///
/// let numbers = CloudWatch::new("orders").worker_id("worker-1").level(Level::Summary).by_shard(100);
/// ```
#[derive(Debug, Clone)]
pub struct CloudWatch {
    namespace: String,
    series: Series,
    env: Environment,
}

/// Which metrics there are.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    level: Level,
    /// How many shards have metrics of their own.
    by_shard: usize,
    worker_id: Option<String>,
    stream_id: Option<String>,
}

/// Why numbers cannot be brought to CloudWatch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidExport {
    /// CloudWatch has no such namespaces.
    #[error("CloudWatch does not take the namespace \"{namespace}\": {problem}; choose another one")]
    Namespace {
        /// The namespace, or its beginning.
        namespace: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is no runtime to export on.
    #[error(
        "numbers are exported by a task of tokio: start it inside of a runtime, such as in #[tokio::main]"
    )]
    NoRuntime,
}

impl CloudWatch {
    /// Into this namespace. The Java KCL takes the application's name.
    pub fn new(namespace: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            series: Series {
                level: Level::default(),
                by_shard: 0,
                worker_id: None,
                stream_id: None,
            },
            env: Environment::system(),
        }
    }

    /// The worker's id, as the dimension `WorkerIdentifier` of what is told of each worker. By default there is no such dimension, and all
    /// workers are told as one.
    #[must_use]
    pub fn worker_id(mut self, id: impl AsRef<str>) -> Self {
        self.series.worker_id = Some(words::dimension_value(id.as_ref()));
        self
    }

    /// A dimension `StreamId` of what is told of the stream and its shards. Java has it, as `account:stream:creation`, where an application
    /// reads several streams. By default there is none.
    #[must_use]
    pub fn stream_id(mut self, id: impl AsRef<str>) -> Self {
        self.series.stream_id = Some(words::dimension_value(id.as_ref()));
        self
    }

    /// How much is told. Default: [`Level::Summary`].
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.series.level = level;
        self
    }

    /// Up to so many shards of this worker have metrics of their own, too, with the dimension `ShardId`, as they always have in Java. Default:
    /// 0. It multiplies the cost.
    #[must_use]
    pub fn by_shard(mut self, most: usize) -> Self {
        self.series.by_shard = most;
        self
    }

    /// Where time and chance come from. Default: the machine.
    #[must_use]
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }
}
