//! How long shards stood still after their worker was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Event, Name, Row, What};

/// The longest time from the death of a shard's owner to its next processor.
pub fn worst(events: &[Event]) -> Duration {
    let mut rows: BTreeMap<Name, Row> = BTreeMap::new();
    let mut orphaned: BTreeMap<Name, Duration> = BTreeMap::new();
    let mut worst = Duration::ZERO;
    for event in events {
        match &event.what {
            What::Row { shard, row } => {
                rows.insert(shard.clone(), row.clone());
                if row.checkpoint.is_shard_end() {
                    orphaned.remove(shard);
                }
            }
            What::Killed { id } => {
                let its = rows
                    .iter()
                    .filter(|(_, row)| row.actual_owner() == Some(id) && !row.checkpoint.is_shard_end());
                for (shard, _) in its {
                    orphaned.entry(shard.clone()).or_insert(event.at);
                }
            }
            What::Initialized { of } => {
                if let Some(since) = orphaned.remove(&of.shard) {
                    worst = worst.max(event.at - since);
                }
            }
            _ => {}
        }
    }
    worst
}
