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

/// The calls of one owner that failed, since the last that did not.
#[derive(Debug, Default)]
struct Failing {
    token: u64,
    calls: u32,
    first_began: Duration,
    first_ended: Duration,
    last_ended: Duration,
}

impl Failing {
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
    /// By life, shard and place, how often a record failed that is handled beside others.
    failures: BTreeMap<(Name, Name, ExtendedSequenceNumber), u32>,
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
        let mut records = self.failures.iter();
        self.failing.get(&key).is_some_and(has_failed)
            || records.any(|((life, its, _), count)| {
                life == who && its == shard && *count >= Policy::ATTEMPTS.get()
            })
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
                if failing.calls == 0 {
                    failing.first_began = at;
                }
                let is_to_stop = policy.stops() && !policy.bisects && failing.has_lasted(failing.first_ended);
                let calls = failing.calls;
                return is_to_stop.then(|| (STOPS, format!("{who} on {}, after {calls} calls", of.shard)));
            }
            What::BatchEnded { of, is_ok, .. } => {
                let failing = self.of(who, of);
                if *is_ok {
                    failing.calls = 0;
                } else {
                    failing.calls += 1;
                    failing.last_ended = at;
                    if failing.calls == 1 {
                        failing.first_ended = at;
                    }
                }
            }
            What::RecordBegan { call, position, .. } => {
                self.handled.insert(*call, position.clone());
            }
            What::RecordEnded { of, call, is_ok } => {
                let position = self.handled.remove(call).filter(|_| !is_ok)?;
                let key = (who.clone(), of.shard.clone(), position);
                *self.failures.entry(key).or_default() += 1;
            }
            What::StoppedByPolicy { shard } if !self.is_founded(who, shard) => {
                return Some((FOUNDED, format!("{who} for {shard}")));
            }
            What::Killed { .. } => {
                self.failing.retain(|(life, _), _| life != who);
                self.failures.retain(|(life, ..), _| life != who);
            }
            _ => {}
        }
        None
    }
}
