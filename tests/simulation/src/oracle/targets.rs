//! To whom leases are given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::lives::Lives;
use super::{Rule, Times};
use crate::history::{Event, Name, Row, What};

pub(super) const DEAD: &str =
    "a worker that has been gone for longer than three fail-over times and 40 s is given nothing";
pub(super) const SILENT: &str = "while all others are well, and one of them has known it, a worker that has been gone for longer than 0.7 fail-over times and 2 s is given nothing";

/// Who joins has looked at the others by then.
const LOOKS: Duration = Duration::from_secs(2);

/// Whom the rows name, and who is gone.
#[derive(Debug)]
pub(super) struct Targets {
    failover: Duration,
    /// Whether single requests fail: then what a worker sends may take effect much later.
    requests_fail: bool,
    /// How many troubles there are.
    troubles: usize,
    /// When there was one last.
    troubled_at: Option<Duration>,
    gone: BTreeMap<String, Duration>,
    lives: Lives,
    /// Who leaves names successors by what others said of themselves lately, and returns what was handed to it to whoever
    /// processes it: both are guesses, which the leader corrects.
    leaving: BTreeSet<String>,
    rows: BTreeMap<Name, Row>,
}

impl Targets {
    pub(super) fn new(times: Times) -> Self {
        Self {
            failover: times.failover,
            requests_fail: true,
            troubles: 0,
            troubled_at: None,
            gone: BTreeMap::new(),
            lives: Lives::default(),
            leaving: BTreeSet::new(),
            rows: BTreeMap::new(),
        }
    }

    fn given(&mut self, shard: &Name, row: &Row, at: Duration) -> Option<(&'static str, String)> {
        let before = self.rows.insert(shard.clone(), row.clone());
        let names = before
            .iter()
            .flat_map(|row| row.owner.iter().chain(&row.checkpoint_owner));
        if names.into_iter().any(|id| self.leaving.contains(id)) {
            return None;
        }
        let before = before.and_then(|row| row.owner);
        let owner = row
            .owner
            .as_ref()
            .filter(|owner| before.as_ref() != Some(owner))?;
        let gone_at = *self.gone.get(owner)?;
        let gone_for = at - gone_at;
        let seen = || {
            let seconds = gone_for.as_secs_f64();
            format!("{shard} is given to {owner}, which has been gone for {seconds:.1} s")
        };
        if gone_for > self.failover * 3 + Duration::from_secs(40) {
            return Some((DEAD, seen()));
        }
        let was_troubled = self
            .troubled_at
            .is_some_and(|troubled| at <= troubled + self.failover * 2);
        let is_calm = !self.requests_fail && self.troubles == 0 && !was_troubled;
        // Whoever came later knows of it only what the clocks say, and they differ.
        let is_known = self
            .lives
            .all()
            .any(|(_, life)| life.started_at + LOOKS < gone_at);
        // It may have been the leader that has gone since, or that is leaving, and a new one goes by the clocks, too.
        let is_news = self
            .gone
            .values()
            .any(|later| *later > gone_at && at <= *later + self.failover * 2)
            || self.leaving.iter().any(|id| self.lives.is_alive(id));
        let patience = self.failover.mul_f64(0.7) + Duration::from_secs(2);
        (is_calm && is_known && !is_news && gone_for > patience).then(|| (SILENT, seen()))
    }
}

impl Rule for Targets {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        self.lives.see(event);
        match &event.what {
            What::Started { id, .. } => {
                self.gone.remove(id);
                self.leaving.remove(id);
            }
            What::Stopping { id } => {
                self.leaving.insert(id.clone());
            }
            What::Killed { id } | What::Stopped { id, .. } | What::GaveWay { id }
                if !self.lives.is_alive(id) =>
            {
                self.gone.insert(id.clone(), event.at);
            }
            What::Impaired => self.troubles += 1,
            What::Recovered => {
                self.troubles = self.troubles.saturating_sub(1);
                self.troubled_at = Some(event.at);
            }
            What::RowGone { shard } | What::RowDeletedByHand { shard } => {
                self.rows.remove(shard);
            }
            What::RowEditedByHand { shard, row, .. } => {
                self.rows.insert(shard.clone(), row.clone());
            }
            What::Row { shard, row } => return self.given(shard, row, event.at),
            _ => {}
        }
        None
    }

    fn no_request_fails(&mut self) {
        self.requests_fail = false;
    }
}
