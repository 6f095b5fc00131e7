//! Finds the stream of a lease.

use std::sync::Arc;

use kcl_lease::{HeldLease, LeaseKey};

use super::read_stream::StreamParts;
use super::registry::Registry;
use crate::config::ShardId;
use crate::status::ShardMonitor;
use crate::stream::StreamClient;

/// The streams that a member of a fleet reads.
#[derive(Debug, Clone)]
pub(crate) enum StreamsRead {
    One(Arc<StreamParts>),
    Several(Arc<Registry>),
}

impl StreamsRead {
    /// What the shards of a lease's stream share, as soon as it may be read; `None` when the lease is given up or lost before.
    pub(crate) async fn of_lease(&self, held: &HeldLease, monitor: &ShardMonitor) -> Option<StreamParts> {
        match self {
            Self::One(parts) => Some((**parts).clone()),
            Self::Several(registry) => registry.until_named(held, monitor).await,
        }
    }

    /// Who asks for the shard of a lease.
    pub(crate) fn client(&self, key: &LeaseKey) -> Option<(StreamClient, ShardId)> {
        let parts = match self {
            Self::One(parts) => (**parts).clone(),
            Self::Several(registry) => registry.of_lease(key)?,
        };
        let shard = parts.creation.keys.shard(key)?;
        Some((parts.creation.stream, shard))
    }
}
