//! Shards that nobody serves although somebody could.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::Checkpoint;

use super::{Rule, Times};
use crate::history::{Event, Name, What};

pub(super) const STUCK: &str =
    "while a worker is well, no shard stands still for longer than six fail-over times and 30 s";
pub(super) const IDLE: &str = "in a world of kills, stops and reshards only, no shard stands still for longer than the fail-over time and 5 s, besides what a running call takes";

/// How often shards are looked at.
const PERIOD: Duration = Duration::from_millis(500);

#[derive(Debug)]
struct Life {
    id: String,
    troubles: u32,
    /// Those of its troubles in which it hears of its leases late, and serves what it has.
    harmless: u32,
    /// Since when it has been well; `None` while it is not, or is leaving.
    well_since: Option<Duration>,
}

#[derive(Debug, Default)]
struct Shard {
    parents: Vec<Name>,
    has_ended: bool,
    /// A processor agreed that it ended.
    is_done: bool,
    /// An operator deleted its row, and it was not made anew.
    is_without_row: bool,
    /// Nobody can read its row.
    is_unreadable: bool,
    /// Its stream has it. A lease may be there earlier, or made for the next stream before that is known.
    is_open: bool,
    /// The worker that its row names.
    owner: Option<String>,
    /// The life whose processor is at work.
    server: Option<Name>,
    /// Since when it could be served; what went wrong later starts it anew.
    since: Duration,
}

/// Watches over every shard.
#[derive(Debug)]
pub(super) struct Stuck {
    limit: Duration,
    /// The limit as long as nothing but kills, stops and reshards happened, if no request fails by chance.
    calm_limit: Option<Duration>,
    calm: Duration,
    killed_at: Duration,
    lives: BTreeMap<Name, Life>,
    shards: BTreeMap<Name, Shard>,
    looked_at: Duration,
}

impl Stuck {
    pub(super) fn new(times: Times) -> Self {
        Self {
            limit: times.failover * 6 + Duration::from_secs(30),
            calm_limit: None,
            calm: times.failover + times.longest_call + Duration::from_secs(5),
            killed_at: Duration::ZERO,
            lives: BTreeMap::new(),
            shards: BTreeMap::new(),
            looked_at: Duration::ZERO,
        }
    }

    /// A worker is in trouble, or gone: what it served or was to serve has to find somebody else from now on.
    fn fails(&mut self, who: &Name, at: Duration, for_good: bool) {
        let Some(life) = self.lives.get_mut(who) else {
            return;
        };
        life.troubles += 1;
        life.well_since = None;
        let id = life.id.clone();
        if for_good {
            self.lives.remove(who);
        }
        for shard in self.shards.values_mut() {
            if shard.server.as_ref() == Some(who) || shard.owner.as_ref() == Some(&id) {
                shard.since = at;
            }
            if for_good && shard.server.as_ref() == Some(who) {
                shard.server = None;
            }
        }
    }

    fn shard(&mut self, shard: &Name) -> &mut Shard {
        self.shards.entry(shard.clone()).or_default()
    }

    fn look(&mut self, at: Duration) -> Option<(&'static str, String)> {
        let well_since = self.lives.values().filter_map(|life| life.well_since).min()?;
        let limits = [
            (STUCK, Duration::ZERO, self.limit),
            (IDLE, self.killed_at, self.calm_limit.unwrap_or(Duration::MAX)),
        ];
        let broken = |shard: &Shard| {
            let served = shard.server.as_ref().and_then(|who| self.lives.get(who));
            let waits = |parent: &Name| self.shards.get(parent).is_some_and(|parent| !parent.has_ended);
            let is_idle = !shard.has_ended
                && !shard.is_unreadable
                && shard.is_open
                && served.is_none_or(|life| life.troubles > life.harmless)
                && !shard.parents.iter().any(waits);
            let since = shard.since.max(well_since);
            let mut limits = limits.iter().filter(|_| is_idle);
            limits
                .find(|(_, not_before, limit)| at - since.max(*not_before) > *limit)
                .map(|(rule, _, _)| *rule)
        };
        let mut shards = self.shards.iter();
        let (rule, name, shard) =
            shards.find_map(|(name, shard)| broken(shard).map(|rule| (rule, name, shard)))?;
        let seen = format!(
            "{name}, which belongs to {}, stands still since {:.1} s",
            shard.owner.as_deref().unwrap_or("nobody"),
            shard.since.as_secs_f64()
        );
        self.shard(&name.clone()).since = at;
        Some((rule, seen))
    }
}

impl Rule for Stuck {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let at = event.at;
        match &event.what {
            What::Started { id, .. } => {
                let life = Life {
                    id: id.clone(),
                    troubles: 0,
                    harmless: 0,
                    well_since: Some(at),
                };
                self.lives.insert(event.who.clone(), life);
            }
            What::Impaired => {
                self.calm_limit = None;
                self.fails(&event.who, at, false);
            }
            What::IndexDenied => {
                if let Some(life) = self.lives.get_mut(&event.who) {
                    life.harmless += 1;
                }
            }
            What::IndexAllowed => {
                if let Some(life) = self.lives.get_mut(&event.who) {
                    life.harmless = life.harmless.saturating_sub(1);
                }
            }
            What::Recovered => {
                if let Some(life) = self.lives.get_mut(&event.who) {
                    life.troubles = life.troubles.saturating_sub(1);
                    life.well_since = (life.troubles == 0).then(|| life.well_since.unwrap_or(at));
                }
            }
            // Nobody is in trouble any more, for however long that was to be.
            What::Healed => {
                for life in self.lives.values_mut() {
                    (life.troubles, life.harmless) = (0, 0);
                    life.well_since.get_or_insert(at);
                }
            }
            What::Killed { .. } => {
                self.killed_at = at;
                self.fails(&event.who, at, true);
            }
            What::Stopping { .. } | What::Ended { .. } | What::GaveWay { .. } => {
                self.fails(&event.who, at, true);
            }
            What::ShardOpened { shard, parents } => {
                let shard = self.shard(shard);
                shard.parents.clone_from(parents);
                shard.is_open = true;
                shard.since = at;
            }
            What::Row { shard, row } => {
                let (name, ended) = (shard, row.has_ended());
                let shard = self.shard(name);
                if std::mem::take(&mut shard.is_unreadable) {
                    shard.since = at;
                }
                if std::mem::take(&mut shard.is_without_row) {
                    shard.has_ended = false;
                    shard.since = at;
                }
                let ends_now = ended && !shard.has_ended;
                shard.has_ended |= ended;
                shard.owner = row.actual_owner().map(ToOwned::to_owned);
                if row.checkpoint == Checkpoint::Latest {
                    // What came before is left out for good.
                    let mut before = shard.parents.clone();
                    while let Some(ancestor) = before.pop() {
                        let ancestor = self.shard(&ancestor);
                        ancestor.has_ended = true;
                        before.extend(ancestor.parents.iter().cloned());
                    }
                }
                if ends_now {
                    let children = self
                        .shards
                        .values_mut()
                        .filter(|child| child.parents.contains(name));
                    children.for_each(|child| child.since = at);
                }
            }
            What::RowDeletedByHand { shard } => {
                self.calm_limit = None;
                let shard = self.shard(shard);
                shard.has_ended = false;
                shard.is_done = false;
                shard.is_without_row = true;
                shard.since = at;
            }
            What::StreamDeleted { shards } => {
                self.calm_limit = None;
                for shard in shards {
                    self.shard(shard).is_open = false;
                }
            }
            // Whoever had them may have to end first.
            What::NameTaken { shards, .. } => {
                self.calm_limit = None;
                for shard in shards {
                    self.shard(shard).since = at;
                }
            }
            What::RowDamaged { shard, .. } | What::RowMended { shard } => {
                self.calm_limit = None;
                let shard = self.shard(shard);
                shard.is_unreadable = matches!(event.what, What::RowDamaged { .. });
                shard.since = at;
            }
            What::RowEditedByHand { shard, row, .. } => {
                self.calm_limit = None;
                let shard = self.shard(shard);
                shard.owner = row.actual_owner().map(ToOwned::to_owned);
                shard.since = at;
            }
            // The table is looked at ten times a second: that its row said so may have been missed.
            What::RowGone { shard } => {
                let shard = self.shard(shard);
                shard.has_ended |= shard.is_done;
            }
            What::ShardEnded { of } => {
                let ended = of.shard.clone();
                let shard = self.shard(&ended);
                shard.is_done = true;
                // There is no row that could say so.
                shard.has_ended |= shard.is_without_row;
                shard.server = None;
                shard.since = at;
            }
            What::Initialized { of } | What::BatchBegan { of, .. } => {
                let who = event.who.clone();
                self.shard(&of.shard).server = Some(who);
            }
            What::LeaseLost { of } | What::ShutdownRequested { of } => {
                let who = event.who.clone();
                let shard = self.shard(&of.shard);
                if shard.server.as_ref() == Some(&who) {
                    shard.server = None;
                    shard.since = at;
                }
            }
            _ => {}
        }
        if at < self.looked_at + PERIOD {
            return None;
        }
        self.looked_at = at;
        self.look(at)
    }

    fn no_request_fails(&mut self) {
        self.calm_limit = Some(self.calm);
    }
}
