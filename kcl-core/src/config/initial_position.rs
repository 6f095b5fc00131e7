//! Where reading starts when there is no checkpoint yet.

use std::time::SystemTime;

use kcl_lease::Checkpoint;
use serde::{Deserialize, Serialize};

/// Where a new application starts to read a stream.
///
/// It applies when the lease table is empty, and to shards whose lease is missing later. Shards that come from a split
/// or merge are read from their beginning: they hold what follows their parents' records.
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// builder.initial_position(kcl_core::InitialPosition::Latest)
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialPosition {
    /// With the oldest retained record. The default, because no record is missed by it. (The Java KCL's default is
    /// `LATEST`.)
    #[default]
    #[serde(alias = "TRIM_HORIZON")]
    TrimHorizon,
    /// With records put after reading begins.
    #[serde(alias = "LATEST")]
    Latest,
    /// With the first record that arrived at this time or later. Keep the setting as long as leases may exist that
    /// were not read yet: the lease stores that reading starts at a time, not the time.
    #[serde(alias = "AT_TIMESTAMP", with = "humantime_serde")]
    AtTimestamp(SystemTime),
}

impl InitialPosition {
    /// What a lease stores before anything was processed.
    pub(crate) fn sentinel(self) -> Checkpoint {
        match self {
            Self::TrimHorizon => Checkpoint::TrimHorizon,
            Self::Latest => Checkpoint::Latest,
            Self::AtTimestamp(_) => Checkpoint::AtTimestamp,
        }
    }
}
