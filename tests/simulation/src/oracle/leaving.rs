//! How workers end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lives::Lives;
use super::{Rule, Times};
use crate::fleet::GRACE;
use crate::history::{Event, Name, What};

pub(super) const LEFT: &str = "a worker that stops leaves no lease and no row behind";
pub(super) const IN_TIME: &str = "a worker that is told to stop has stopped within its stop time-out";
pub(super) const ENDED: &str = "a worker ends only when it is told to";

/// Whom the rows name.
#[derive(Debug)]
pub(super) struct Leaving {
    /// By shard: a worker that its row names, and since when.
    named: BTreeMap<Name, Vec<(String, Duration)>>,
    /// When an operator last mended a shard's row, so that it names somebody again.
    mended: BTreeMap<Name, Duration>,
    stop: Duration,
    /// A process that is well learns within this time that another one has its name.
    learns: Duration,
    /// Since when workers are told to stop.
    stopping: BTreeMap<Name, Duration>,
    /// Until when those know then what another process with their name did.
    known: BTreeMap<Name, Duration>,
    lives: Lives,
}

impl Leaving {
    pub(super) fn new(times: Times) -> Self {
        Self {
            named: BTreeMap::new(),
            mended: BTreeMap::new(),
            stop: times.stop,
            learns: times.failover,
            stopping: BTreeMap::new(),
            known: BTreeMap::new(),
            lives: Lives::default(),
        }
    }

    /// How long the worker took to stop that this event is about.
    fn took(&self, event: &Event) -> Duration {
        let since = self.stopping.get(&event.who).copied().unwrap_or(event.at);
        (event.at - since).saturating_sub(GRACE + Duration::from_millis(100))
    }

    /// Whether what bears the name of a worker that stopped may be another process's: also of one that was killed so shortly
    /// before, or while this one was in trouble, that this one did not know of it.
    fn had_namesake(&self, event: &Event, id: &str) -> bool {
        let known = self.known.get(&event.who).copied();
        let known = known.unwrap_or(event.at.saturating_sub(self.learns));
        self.lives.is_alive(id) || self.lives.was_shared_since(id, known)
    }

    /// Whether a lease was given to this worker only after it had gone: then that was another one's doing.
    fn came_late(&self, shard: &str, id: &str, gone_at: Duration) -> bool {
        let names = self.named.get(shard).into_iter().flatten();
        names
            .filter(|(name, _)| name == id)
            .all(|(_, since)| *since >= gone_at)
    }

    /// Whether the row could be read again only when this worker had begun to leave. It may have looked before.
    fn was_mended_late(&self, shard: &str, event: &Event) -> bool {
        let since = self.stopping.get(&event.who);
        self.mended
            .get(shard)
            .is_some_and(|mended| since.is_some_and(|since| mended >= since))
    }
}

impl Rule for Leaving {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        self.lives.see(event);
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
            What::RowMended { shard } => {
                self.mended.insert(shard.clone(), event.at);
                None
            }
            What::Stopping { .. } => {
                self.stopping.insert(event.who.clone(), event.at);
                let known = self.lives.has_learnt_until(&event.who, self.learns, event.at);
                self.known.insert(event.who.clone(), known);
                None
            }
            What::Stopped { .. } if self.took(event) > self.stop => {
                let took = self.took(event).as_secs_f64();
                Some((IN_TIME, format!("{} took {took:.1} s", event.who)))
            }
            What::Stopped {
                id,
                owned,
                has_row,
                had_joined: true,
                faults: 0,
            } if !self.had_namesake(event, id) => {
                let gone_at = event.at.saturating_sub(GRACE);
                let left: Vec<_> = owned
                    .iter()
                    .filter(|shard| {
                        !self.came_late(shard, id, gone_at) && !self.was_mended_late(shard, event)
                    })
                    .collect();
                let row = if *has_row { " and its row" } else { "" };
                (*has_row || !left.is_empty()).then(|| (LEFT, format!("{id} left {left:?}{row} behind")))
            }
            What::Ended { reason } => Some((ENDED, format!("{}: {reason}", event.who))),
            _ => None,
        }
    }
}
