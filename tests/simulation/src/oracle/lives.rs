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

/// When a process was well.
#[derive(Debug, Default)]
struct Health {
    troubles: u32,
    /// Since when it has none.
    well_since: Duration,
    /// From when to when it was well before.
    well: Vec<(Duration, Duration)>,
}

/// Those that live, and what is known of names that two of them had.
#[derive(Debug, Default)]
pub(super) struct Lives {
    alive: BTreeMap<Name, Life>,
    health: BTreeMap<Name, Health>,
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
                let health = self.health.entry(event.who.clone()).or_default();
                health.well_since = event.at;
            }
            What::Impaired => {
                let health = self.health.entry(event.who.clone()).or_default();
                if health.troubles == 0 {
                    health.well.push((health.well_since, event.at));
                }
                health.troubles += 1;
            }
            What::Recovered => {
                let health = self.health.entry(event.who.clone()).or_default();
                health.troubles = health.troubles.saturating_sub(1);
                health.well_since = event.at;
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

    /// What had come to pass by when a process must have learnt by now, if that takes it so long while it is well.
    pub(super) fn has_learnt_until(&self, who: &Name, takes: Duration, now: Duration) -> Duration {
        let Some(health) = self.health.get(who) else {
            return now.saturating_sub(takes);
        };
        let present = (health.troubles == 0).then_some((health.well_since, now));
        let mut stretches = health.well.iter().copied().chain(present).rev();
        let long = stretches.find(|(from, to)| to.saturating_sub(*from) >= takes);
        long.map_or(Duration::ZERO, |(_, to)| to - takes)
    }

    /// Those that live.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Name, &Life)> {
        self.alive.iter()
    }
}
