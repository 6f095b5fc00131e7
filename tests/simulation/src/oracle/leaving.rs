//! How workers end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Rule;
use crate::fleet::GRACE;
use crate::history::{Event, Name, What};

pub(super) const LEFT: &str = "a worker that stops leaves no lease and no row behind";
pub(super) const ENDED: &str = "a worker ends only when it is told to";

/// Whom the rows name.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// By shard: a worker that its row names, and since when.
    named: BTreeMap<Name, Vec<(String, Duration)>>,
}

impl Leaving {
    /// Whether a lease was given to this worker only after it had gone: then that was another one's doing.
    fn came_late(&self, shard: &str, id: &str, gone_at: Duration) -> bool {
        let names = self.named.get(shard).into_iter().flatten();
        names
            .filter(|(name, _)| name == id)
            .all(|(_, since)| *since >= gone_at)
    }
}

impl Rule for Leaving {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Row { shard, row } | What::RowEditedByHand { shard, row, .. } => {
                let before = self.named.remove(shard).unwrap_or_default();
                let names = [&row.owner, &row.checkpoint_owner];
                let names = names.into_iter().flatten().map(|id| {
                    let known = before.iter().find(|(name, _)| name == id);
                    (id.clone(), known.map_or(event.at, |(_, since)| *since))
                });
                self.named.insert(shard.clone(), names.collect());
                None
            }
            What::RowGone { shard } | What::RowDeletedByHand { shard } => {
                self.named.remove(shard);
                None
            }
            What::Stopped {
                id,
                owned,
                has_row,
                had_joined: true,
                faults: 0,
            } => {
                let gone_at = event.at.saturating_sub(GRACE);
                let left: Vec<_> = owned
                    .iter()
                    .filter(|shard| !self.came_late(shard, id, gone_at))
                    .collect();
                let row = if *has_row { " and its row" } else { "" };
                (*has_row || !left.is_empty()).then(|| (LEFT, format!("{id} left {left:?}{row} behind")))
            }
            What::Ended { reason } => Some((ENDED, format!("{}: {reason}", event.who))),
            _ => None,
        }
    }
}
