//! Shards that get no further: their workers say so in time, and say it of no others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kcl_core::ShardState;

use super::Rule;
use crate::history::{Event, Name, Ownership, Shown, What};

pub(super) const UNTOLD: &str = "a shard that gets no further is told of in time";
pub(super) const UNFOUNDED: &str = "no shard is told of that gets further";

/// Shards are looked at once a second.
const SLACK: Duration = Duration::from_secs(3);
/// A checkpoint of records that are handled beside each other, which the table does not take at once.
const WRITTEN: Duration = Duration::from_secs(15);
/// Checkpoints are noted ten times a second.
const NOTED: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct Shard {
    of: Ownership,
    /// Since when there has been something to do that does not get done.
    stuck_since: Option<Duration>,
    /// When something was done last for certain.
    moved_at: Option<Duration>,
    /// Records that are handled beside each other and are not done.
    undone: usize,
    has_failed: bool,
    /// How many records the present batch has.
    records: usize,
}

/// Follows how each worker gets on with its shards.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    /// By life.
    after: BTreeMap<Name, Duration>,
    /// By life that handles records beside each other: how long a checkpoint may wait.
    intervals: BTreeMap<Name, Duration>,
    /// By life and shard.
    shards: BTreeMap<(Name, Name), Shard>,
    /// By life and shard: what its hook was told last is that it stalls.
    told: BTreeSet<(Name, Name)>,
    /// Lives that are, or were, in trouble.
    impaired: BTreeSet<Name>,
    /// Records may be given up, or a stream be gone: what gets further is not known.
    is_unclear: bool,
}

impl Stalls {
    /// The rule that what is shown breaks.
    fn judge(&self, who: &Name, shown: &Shown, at: Duration) -> Option<(&'static str, String)> {
        let after = *self.after.get(who)?;
        let key = (who.clone(), shown.shard.clone());
        let shard = self.shards.get(&key)?;
        let is_at_work = matches!(shown.state, ShardState::Processing | ShardState::Paused);
        if !is_at_work {
            return None;
        }
        let interval = self.intervals.get(who);
        if interval.is_some() && self.impaired.contains(who) {
            return None;
        }
        let slack = SLACK + interval.map_or(Duration::ZERO, |interval| *interval + WRITTEN);
        let is_told = shown.stalls && self.told.contains(&key);
        if let Some(since) = shard.stuck_since
            && at > since + after + slack
            && !is_told
        {
            let seen = format!("{} since {:.1} s at {who}", shown.shard, since.as_secs_f64());
            return Some((UNTOLD, seen));
        }
        self.unfounded(who, &shown.shard, shown.stalls, at)
    }

    fn unfounded(
        &self,
        who: &Name,
        shard: &Name,
        stalls: bool,
        at: Duration,
    ) -> Option<(&'static str, String)> {
        let after = *self.after.get(who)?;
        let moved_at = self.shards.get(&(who.clone(), shard.clone()))?.moved_at?;
        let is_wrong = stalls && at + NOTED < moved_at + after;
        is_wrong.then(|| {
            let seen = format!("{shard} at {who} got further at {:.1} s", moved_at.as_secs_f64());
            (UNFOUNDED, seen)
        })
    }

    fn shard(&mut self, who: &Name, of: &Ownership) -> Option<&mut Shard> {
        let shard = self.shards.get_mut(&(who.clone(), of.shard.clone()))?;
        (shard.of == *of).then_some(shard)
    }
}

impl Rule for Stalls {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let (who, at) = (&event.who, event.at);
        let is_singly = self.intervals.contains_key(who);
        match &event.what {
            What::TellsStalls { after } => {
                self.after.insert(who.clone(), *after);
            }
            _ if self.after.is_empty() => {}
            What::HandlesSingly { limits } => {
                self.intervals.insert(who.clone(), limits.interval);
            }
            What::PutUnreadable { .. } | What::StreamDeleted { .. } => self.is_unclear = true,
            What::Impaired => {
                self.impaired.insert(who.clone());
            }
            What::Initialized { of } => {
                let shard = Shard {
                    of: of.clone(),
                    stuck_since: None,
                    moved_at: None,
                    undone: 0,
                    has_failed: false,
                    records: 0,
                };
                self.shards.insert((who.clone(), of.shard.clone()), shard);
            }
            What::BatchBegan { of, records, .. } if !is_singly => {
                let shard = self.shard(who, of)?;
                shard.records = *records;
                shard.stuck_since.get_or_insert(at);
            }
            What::BatchEnded { of, is_ok, .. } if !is_singly => {
                let shard = self.shard(who, of)?;
                if *is_ok {
                    // One record alone may be the one in front of what fails.
                    let is_sure = !shard.has_failed || shard.records > 1;
                    shard.moved_at = is_sure.then_some(at);
                    shard.stuck_since = None;
                }
                shard.has_failed = !is_ok;
            }
            What::Named { of, .. } => {
                let shard = self.shard(who, of)?;
                (shard.stuck_since, shard.moved_at) = (None, None);
            }
            What::Given { of, records } => {
                let shard = self.shard(who, of)?;
                if shard.undone == 0 && !records.is_empty() {
                    shard.stuck_since = Some(at);
                }
                shard.undone += records.len();
            }
            What::RecordEnded { of, is_ok: true, .. } => {
                let shard = self.shard(who, of)?;
                shard.undone = shard.undone.saturating_sub(1);
                shard.stuck_since = (shard.undone > 0).then_some(at);
            }
            What::Checkpointed { of, .. } if is_singly => {
                self.shard(who, of)?.moved_at = Some(at);
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } | What::ShardEnded { of } => {
                let key = (who.clone(), of.shard.clone());
                self.shards.remove(&key);
                self.told.remove(&key);
            }
            What::StallTold { shard, stalls } => {
                let key = (who.clone(), shard.clone());
                if *stalls {
                    self.told.insert(key);
                } else {
                    self.told.remove(&key);
                }
                if !self.is_unclear {
                    return self.unfounded(who, shard, *stalls, at);
                }
            }
            What::Shown { shards } if !self.is_unclear => {
                return shards.iter().find_map(|shown| self.judge(who, shown, at));
            }
            _ => {}
        }
        None
    }
}
