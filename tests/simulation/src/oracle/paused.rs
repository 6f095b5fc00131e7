//! What is paused: nothing of it is delivered, and its status says so. Records that were given to a handler before go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::ShardState;

use super::Rule;
use crate::history::{Event, Name, Ownership, What};

pub(super) const DELIVERS: &str = "what is paused delivers nothing until it is resumed";
pub(super) const SHOWN: &str =
    "a shard that is paused says so within two seconds, or once the call under way is over";

const PATIENCE: Duration = Duration::from_secs(2);

/// A processor that was given something.
#[derive(Debug)]
struct Call {
    of: Ownership,
    is_under_way: bool,
    has_failed: bool,
    /// Since when that is so.
    since: Duration,
}

/// Follows the pauses of each worker's life.
#[derive(Debug, Default)]
pub(super) struct Paused {
    /// Shards that are paused, or all, and since when.
    paused: BTreeMap<Name, BTreeMap<Option<Name>, Duration>>,
    /// By life and shard.
    calls: BTreeMap<(Name, Name), Call>,
    /// Streams whose shards have the same ids as others'.
    of_the_past: BTreeSet<Name>,
}

impl Paused {
    /// Since when a shard has been paused at a worker.
    fn since(&self, who: &Name, shard: &Name) -> Option<Duration> {
        let paused = self.paused.get(who)?;
        let of_both = [paused.get(&None), paused.get(&Some(shard.clone()))];
        of_both.into_iter().flatten().min().copied()
    }

    fn is_due(&self, who: &Name, shard: &Name, at: Duration) -> bool {
        let Some(since) = self.since(who, shard) else {
            return false;
        };
        let waits_since = match self.calls.get(&(who.clone(), shard.clone())) {
            // The same call is repeated after a pause of its own.
            Some(call) if call.is_under_way || call.has_failed => return false,
            Some(call) => call.since.max(since),
            None => return false,
        };
        at > waits_since + PATIENCE
    }
}

impl Rule for Paused {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (who, at) = (&event.who, event.at);
        match &event.what {
            What::Paused { shard } => {
                let paused = self.paused.entry(who.clone()).or_default();
                paused.entry(shard.clone()).or_insert(at);
            }
            What::Resumed { shard } => {
                self.paused.entry(who.clone()).or_default().remove(shard);
            }
            What::StreamDeleted { shards } => self.of_the_past.extend(shards.iter().cloned()),
            What::BatchBegan { of, .. } => {
                let call = Call {
                    of: of.clone(),
                    is_under_way: true,
                    has_failed: false,
                    since: at,
                };
                self.calls.insert((who.clone(), of.shard.clone()), call);
                let since = self.since(who, &of.shard)?;
                let seen = format!("{who} on {}, paused at {:.3} s", of.shard, since.as_secs_f64());
                return Some((DELIVERS, seen));
            }
            What::BatchEnded { of, is_ok, .. } => {
                let call = self.calls.get_mut(&(who.clone(), of.shard.clone()))?;
                if call.of == *of {
                    (call.is_under_way, call.has_failed, call.since) = (false, !is_ok, at);
                }
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } | What::ShardEnded { of } => {
                self.calls.remove(&(who.clone(), of.shard.clone()));
            }
            What::Initialized { of } => {
                let call = Call {
                    of: of.clone(),
                    is_under_way: false,
                    // It may fail, too.
                    has_failed: true,
                    since: at,
                };
                self.calls.insert((who.clone(), of.shard.clone()), call);
            }
            What::Shown { shards } if self.of_the_past.is_empty() => {
                let mut silent = shards
                    .iter()
                    .filter(|it| it.state == ShardState::Processing && self.is_due(who, &it.shard, at));
                let shown = silent.next()?;
                return Some((SHOWN, format!("{who} on {}: {:?}", shown.shard, shown.state)));
            }
            What::Killed { .. } | What::Stopped { .. } => {
                self.paused.remove(who);
            }
            _ => {}
        }
        None
    }
}
