//! Workers that are told to stop for what keeps failing.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::ExtendedSequenceNumber;

use super::Rule;
use crate::history::{Event, Name, Ownership, What};
use crate::policies::Policy;

pub(super) const FOUNDED: &str =
    "a worker stops for no records but such as failed as often, and for as long, as its policy says";
pub(super) const STOPS: &str = "a worker that is to stop for what keeps failing does not try it again";

/// The calls with the same records that failed, since the last that did not.
#[derive(Debug, Default)]
struct Failing {
    token: u64,
    calls: u32,
    first_began: Duration,
    first_ended: Duration,
    last_ended: Duration,
    /// The call under way did not get its checkpoint written: it is not held against its records.
    is_excused: bool,
}

impl Failing {
    fn begins(&mut self, at: Duration) {
        self.is_excused = false;
        if self.calls == 0 {
            self.first_began = at;
        }
    }

    fn failed(&mut self, at: Duration) {
        self.calls += 1;
        self.last_ended = at;
        if self.calls == 1 {
            self.first_ended = at;
        }
    }

    fn has_lasted(&self, since: Duration) -> bool {
        self.calls >= Policy::ATTEMPTS.get() && self.last_ended - since >= Policy::TIME
    }
}

#[derive(Debug, Default)]
pub(super) struct Policies {
    /// By life.
    policies: BTreeMap<Name, Policy>,
    /// By life and shard.
    failing: BTreeMap<(Name, Name), Failing>,
    /// By life, owner and place: records that are handled beside others.
    records: BTreeMap<(Name, Ownership, ExtendedSequenceNumber), Failing>,
    /// Handlers that are at work, by their calls.
    handled: BTreeMap<u64, ExtendedSequenceNumber>,
}

impl Policies {
    fn of(&mut self, who: &Name, of: &Ownership) -> &mut Failing {
        let failing = self.failing.entry((who.clone(), of.shard.clone())).or_default();
        if failing.token != of.token {
            *failing = Failing {
                token: of.token,
                ..Failing::default()
            };
        }
        failing
    }

    fn is_founded(&self, who: &Name, shard: &Name) -> bool {
        let key = (who.clone(), shard.clone());
        let has_failed = |failing: &Failing| failing.has_lasted(failing.first_began);
        let records = self.records.iter();
        let mut records = records.filter(|((life, of, _), _)| life == who && of.shard == *shard);
        self.failing.get(&key).is_some_and(has_failed) || records.any(|(_, failing)| has_failed(failing))
    }
}

impl Rule for Policies {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (who, at) = (&event.who, event.at);
        match &event.what {
            What::Resorts { policy } => {
                self.policies.insert(who.clone(), *policy);
            }
            _ if self.policies.is_empty() => {}
            What::BatchBegan { of, .. } => {
                let policy = self.policies.get(who).copied()?;
                let failing = self.of(who, of);
                failing.begins(at);
                let is_to_stop = policy.stops() && !policy.bisects && failing.has_lasted(failing.first_ended);
                let calls = failing.calls;
                return is_to_stop.then(|| (STOPS, format!("{who} on {}, after {calls} calls", of.shard)));
            }
            What::CheckpointRefused { of } => self.of(who, of).is_excused = true,
            What::BatchEnded { of, is_ok, .. } => {
                let failing = self.of(who, of);
                if std::mem::take(&mut failing.is_excused) || *is_ok {
                    failing.calls = 0;
                } else {
                    failing.failed(at);
                }
            }
            What::RecordBegan {
                of, call, position, ..
            } => {
                let policy = self.policies.get(who).copied()?;
                self.handled.insert(*call, position.clone());
                let key = (who.clone(), of.clone(), position.clone());
                let failing = self.records.entry(key).or_default();
                failing.begins(at);
                let is_to_stop = policy.stops() && failing.has_lasted(failing.first_ended);
                return is_to_stop.then(|| (STOPS, format!("{who} on {}, {position}", of.shard)));
            }
            What::RecordEnded { of, call, is_ok } => {
                let position = self.handled.remove(call)?;
                let key = (who.clone(), of.clone(), position);
                if *is_ok {
                    self.records.remove(&key);
                } else {
                    self.records.entry(key).or_default().failed(at);
                }
            }
            What::StoppedByPolicy { shard } if !self.is_founded(who, shard) => {
                return Some((FOUNDED, format!("{who} for {shard}")));
            }
            What::Killed { .. } => {
                self.failing.retain(|(life, _), _| life != who);
                self.records.retain(|(life, ..), _| life != who);
            }
            _ => {}
        }
        None
    }
}
