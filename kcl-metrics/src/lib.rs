//! The numbers of a worker, for what a service has already: the crate `metrics` (feature `facade`), OpenTelemetry (feature
//! `opentelemetry`), or Amazon CloudWatch (features `cloudwatch` and `emf`).
//!
//! Each of them is a [`Recorder`](kcl_lease::Recorder) for `WorkerBuilder::recorder`. Which numbers there are is the same for all, see
//! [`Counter`](kcl_lease::Counter), [`Gauge`](kcl_lease::Gauge) and [`Histogram`](kcl_lease::Histogram). Workers of one process may share
//! one, if their streams have no shard ids in common, or each takes one with a label of its own.

#[cfg(any(feature = "cloudwatch", feature = "emf"))]
mod cloudwatch;
#[cfg(feature = "facade")]
mod facade;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;

#[cfg(any(feature = "cloudwatch", feature = "emf"))]
pub use self::cloudwatch::{CloudWatch, Exporter, InvalidExport, Level};
#[cfg(feature = "facade")]
pub use self::facade::Facade;
#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::OpenTelemetry;
