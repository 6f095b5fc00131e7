//! How busy this worker is.

mod agent;
mod cgroup;
mod ecs;
mod history;
mod machine;
mod meter;
mod proc_stat;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use self::meter::{Meter, MeterOptions};
use crate::health::Cause;

/// Why a load could not be measured; any error will do.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

impl Cause for LoadError {}

/// Measures how busy this worker is, in place of its CPU.
///
/// The fleet compares workers by this number, so all workers of an application should measure the same. It is sampled
/// every second; what is reported is the mean of each report interval (by default 30 s), under the name that the Java KCL has for
/// the CPU.
///
/// ```
/// use kcl_lease::{Load, LoadError, LoadSource};
///
/// /// Busy is who has many requests open.
/// #[derive(Debug)]
/// struct OpenRequests {
///     permits: std::sync::Arc<tokio::sync::Semaphore>,
///     total: usize,
/// }
///
/// #[async_trait::async_trait]
/// impl LoadSource for OpenRequests {
///     async fn sample(&self) -> Result<f64, LoadError> {
///         let open = self.total - self.permits.available_permits();
///         Ok(100.0 * open as f64 / self.total as f64)
///     }
/// }
///
/// let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(8));
/// let load = Load::from_source(OpenRequests { permits, total: 8 });
/// # let _ = load;
/// ```
#[async_trait]
pub trait LoadSource: fmt::Debug + Send + Sync + 'static {
    /// The share of its capacity that the worker uses, in percent (0 to 100): now, or since the last call. The first
    /// value does not count.
    ///
    /// # Errors
    /// Nothing could be measured. So counts also a value out of range, a panic, and an answer that takes longer than a
    /// second. A worker without a single good sample in a report period is given no more leases until it has one again,
    /// as in the Java KCL, unless no living worker is better off.
    async fn sample(&self) -> Result<f64, LoadError>;
}

/// Whether, and by what, a worker tells how busy it is. A leader evens the load out, see
/// [`Balancing`](crate::Balancing).
///
/// ```
/// use kcl_lease::{FleetOptions, Load};
///
/// let mut options = FleetOptions::default();
/// options.load = Load::Unreported; // by throughput, or by count
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Load {
    /// The CPU: of the container in an ECS task (if `ECS_CONTAINER_METADATA_URI_V4` is set), else of the container that
    /// this process runs in (Linux control groups, version 1 or 2), else of the machine (`/proc/stat`). Where none of them
    /// can be read, nothing is reported.
    ///
    /// The numbers are those of the Java KCL. Unlike there, the metadata service of EC2 is never asked, containers are
    /// known outside Kubernetes too, and a changed limit of a container is noticed.
    ///
    /// A worker whose [`Environment`](crate::Environment) is not the system's does not look at the machine, and so
    /// reports nothing.
    #[default]
    Cpu,
    /// Nothing: the worker takes part by the throughput or the number of its leases.
    Unreported,
    /// A measure of the application's own. It is no part of a configuration that is written or read.
    #[serde(skip)]
    Source(Arc<dyn LoadSource>),
}

impl Load {
    /// Reports what `source` measures.
    pub fn from_source(source: impl LoadSource) -> Self {
        Self::Source(Arc::new(source))
    }
}
