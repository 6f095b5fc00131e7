//! Leases whose rows were deleted by hand: whoever held one, or waited to begin with it, learns of that only later.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Times;
use crate::history::{Event, Name, What};

/// Renewals that fail are tried again for a moment.
const SLACK: Duration = Duration::from_secs(1);

/// When rows were deleted.
#[derive(Debug)]
pub(super) struct Deleted {
    failover: Duration,
    rows: BTreeMap<Name, Duration>,
}

impl Deleted {
    pub(super) fn new(times: Times) -> Self {
        Self {
            failover: times.failover,
            rows: BTreeMap::new(),
        }
    }

    pub(super) fn see(&mut self, event: &Event) {
        if let What::RowDeletedByHand { shard } = &event.what {
            self.rows.insert(shard.clone(), event.at);
        }
    }

    /// Whether somebody may still trust a lease of this shard whose row is gone.
    pub(super) fn is_recent(&self, shard: &Name, at: Duration) -> bool {
        let deleted_at = self.rows.get(shard);
        deleted_at.is_some_and(|deleted_at| at <= *deleted_at + self.failover + SLACK)
    }
}
