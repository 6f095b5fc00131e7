//! Which processes live under which worker id.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::history::{Event, Name, What};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) id: String,
    pub(super) started_at: Duration,
}

/// Those that live, and what is known of names that two of them had.
#[derive(Debug, Default)]
pub(super) struct Lives {
    alive: BTreeMap<Name, Life>,
    /// By id: when two processes had it last.
    shared: BTreeMap<String, Duration>,
}

impl Lives {
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Started { id, .. } => {
                if self.alive.values().any(|life| life.id == *id) {
                    self.shared.insert(id.clone(), event.at);
                }
                let life = Life {
                    id: id.clone(),
                    started_at: event.at,
                };
                self.alive.insert(event.who.clone(), life);
            }
            What::Killed { .. } | What::Stopped { .. } | What::Ended { .. } | What::GaveWay { .. } => {
                if let Some(life) = self.alive.remove(&event.who)
                    && self.is_alive(&life.id)
                {
                    self.shared.insert(life.id, event.at);
                }
            }
            _ => {}
        }
    }

    pub(super) fn of(&self, who: &Name) -> Option<&Life> {
        self.alive.get(who)
    }

    /// Whether any process has this id.
    pub(super) fn is_alive(&self, id: &str) -> bool {
        self.alive.values().any(|life| life.id == id)
    }

    /// Whether several have it now.
    pub(super) fn is_shared(&self, id: &str) -> bool {
        self.alive.values().filter(|life| life.id == id).count() > 1
    }

    /// Whether several had it at this time, or later.
    pub(super) fn was_shared_since(&self, id: &str, time: Duration) -> bool {
        self.is_shared(id) || self.shared.get(id).is_some_and(|last| *last >= time)
    }

    /// Those that live.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Name, &Life)> {
        self.alive.iter()
    }
}
