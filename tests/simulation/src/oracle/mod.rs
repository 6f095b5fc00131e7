//! What must hold, as rules over a history: events in, violations out. Pure.

mod anew;
mod balance;
mod by_hand;
mod cleanup;
mod cost;
mod denied;
mod family;
mod gap;
mod given_up;
mod leaving;
mod lives;
mod memory;
mod namesakes;
mod order;
mod ownership;
mod paused;
mod places;
mod policies;
mod renewals;
mod rest;
mod rewinds;
mod script;
mod singles;
mod stalls;
mod stuck;
mod table;
mod targets;
mod telling;
#[cfg(test)]
mod tests;

pub use self::script::UNPLAYABLE;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::history::{Event, Name, What};

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule's sentence.
    pub rule: &'static str,
    /// When it was found.
    pub at: Duration,
    /// What was seen.
    pub seen: String,
}

/// The times that the fleet was configured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How long a silent worker keeps its leases; where workers differ, the one that keeps them longest.
    pub failover: Duration,
    /// How long a call of a processor may delay a hand-off.
    pub drain: Duration,
    /// How long a call of a processor takes at most, if that is less than what it may.
    pub longest_call: Duration,
    /// What a worker may take to stop.
    pub stop: Duration,
}

impl Times {
    /// The same of a worker with a fail-over time of its own.
    fn of(self, failover: Option<Duration>) -> Self {
        Self {
            failover: failover.unwrap_or(self.failover),
            ..self
        }
    }
}

/// Where reading starts in a new application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest record.
    #[default]
    Beginning,
    /// With records put after reading has begun.
    Latest,
    /// With records put so long after the beginning of the world.
    At(Duration),
}

/// One area of rules.
trait Rule: fmt::Debug + Send {
    /// Takes in the next event; the sentence of the rule that it breaks, and how.
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)>;

    /// The row of a lease is lost, or given away, through no fault of the fleet: whatever is known of it says nothing any
    /// more.
    fn forget(&mut self, _: &Name) {}

    /// What is sent arrives, and at once, unless a worker is in trouble.
    fn no_request_fails(&mut self) {}

    /// Where reading starts.
    fn starting(&mut self, _: Start) {}
}

/// All rules.
#[derive(Debug)]
pub struct Oracle {
    rules: Vec<Box<dyn Rule>>,
    rest: rest::Rest,
    gone: BTreeSet<Name>,
    /// Shards of streams that were deleted.
    of_the_past: BTreeSet<Name>,
    /// Whether a row was ever deleted by hand. Then leases may be made anew for shards whose rows are gone because they
    /// had ended: what follows them is not known to have been processed.
    is_damaged: bool,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(times: Times) -> Self {
        Self {
            rules: vec![
                Box::new(order::Order::default()),
                Box::new(places::Places::default()),
                Box::new(family::Family::default()),
                Box::new(table::Table::default()),
                Box::new(cleanup::Cleanup::default()),
                Box::new(ownership::Owners::new(times)),
                Box::new(ownership::Overlaps::new(times)),
                Box::new(leaving::Leaving::new(times)),
                Box::new(targets::Targets::new(times)),
                Box::new(stuck::Stuck::new(times)),
                Box::new(telling::Telling::new(times)),
                Box::new(cost::Cost::new(times)),
                Box::new(balance::Balance::default()),
                Box::new(gap::Gaps::default()),
                Box::new(given_up::GivenUp::default()),
                Box::new(memory::Memory::default()),
                Box::new(namesakes::Namesakes::new(times)),
                Box::new(renewals::Renewals::new(times)),
                Box::new(denied::Denied::new(times)),
                Box::new(anew::Anew::default()),
                Box::new(singles::Singles::default()),
                Box::new(paused::Paused::default()),
                Box::new(policies::Policies::default()),
                Box::new(rewinds::Rewinds::default()),
                Box::new(stalls::Stalls::default()),
                Box::new(script::Script),
            ],
            rest: rest::Rest::default(),
            gone: BTreeSet::new(),
            of_the_past: BTreeSet::new(),
            is_damaged: false,
        }
    }

    /// The same for an application that starts to read elsewhere.
    #[must_use]
    pub fn starting(mut self, start: Start) -> Self {
        for rule in &mut self.rules {
            rule.starting(start);
        }
        self.rest.starting(start);
        self
    }

    /// The same for a world in which no single request fails by chance.
    #[must_use]
    pub fn with_reliable_requests(mut self) -> Self {
        for rule in &mut self.rules {
            rule.no_request_fails();
        }
        self
    }

    /// Takes in the next event; the rules that it breaks.
    pub fn see(&mut self, event: &Event) -> Vec<Violation> {
        self.mourn(event);
        let rest: &mut dyn Rule = &mut self.rest;
        let rules = self.rules.iter_mut().map(|rule| &mut **rule);
        rules
            .chain(std::iter::once(rest))
            .filter_map(|rule| rule.see(event))
            .map(|(rule, seen)| Violation {
                rule,
                at: event.at,
                seen,
            })
            .collect()
    }

    fn mourn(&mut self, event: &Event) {
        match &event.what {
            What::StreamDeleted { shards } => {
                self.of_the_past.extend(shards.iter().cloned());
                return;
            }
            // Whoever held it learns of that only later.
            What::RowGone { shard } if self.of_the_past.contains(shard) => {
                for rule in &mut self.rules {
                    rule.forget(shard);
                }
                return;
            }
            What::RowGone { shard } => {
                self.gone.insert(shard.clone());
            }
            What::RowDeletedByHand { shard } => {
                self.gone.insert(shard.clone());
                self.is_damaged = true;
            }
            What::RowEditedByHand { shard, edit, .. } => {
                if edit.is_about_the_owner() {
                    for rule in &mut self.rules {
                        rule.forget(shard);
                    }
                }
                return;
            }
            _ => return,
        }
        if self.is_damaged {
            for shard in std::mem::take(&mut self.gone) {
                for rule in &mut self.rules {
                    rule.forget(&shard);
                }
            }
        }
    }

    /// How many records were put and not processed so far.
    pub fn unprocessed(&self) -> usize {
        self.rest.unprocessed()
    }

    /// The violations of a whole history.
    pub fn judge<'a>(times: Times, events: impl IntoIterator<Item = &'a Event>) -> Vec<Violation> {
        let mut oracle = Self::new(times);
        events.into_iter().flat_map(|event| oracle.see(event)).collect()
    }
}
