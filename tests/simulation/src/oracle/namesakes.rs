//! Two processes with one worker id.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lives::{Life, Lives};
use super::{Rule, Times};
use crate::history::{Event, Name, What};

pub(super) const BOTH: &str = "of two processes with one worker id one ends within a fail-over time and 15 s, 25 s where requests are lost, while both are well";
pub(super) const NEWEST: &str = "of two processes with one worker id the one that was started last goes on";

/// Joining takes so long at the most, by and large: what was started so much later has announced itself later.
const JOINING: Duration = Duration::from_secs(15);
/// And so much longer where requests are lost by chance.
const LOST_REQUESTS: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Namesakes {
    failover: Duration,
    joining: Duration,
    lives: Lives,
    /// Processes that are gone, and since when: whoever lost its name to one may learn of it only now.
    gone: Vec<(Name, Life, Duration)>,
    /// By id: the process that was started last.
    newest: BTreeMap<String, Name>,
    /// When the table was deleted last: who was there announces itself anew, whichever comes first.
    table_deleted_at: Option<Duration>,
    /// How many troubles a process has, and when that changed last.
    troubles: BTreeMap<Name, (u32, Duration)>,
}

impl Namesakes {
    pub(super) fn new(times: Times) -> Self {
        Self {
            failover: times.failover,
            joining: JOINING + LOST_REQUESTS,
            lives: Lives::default(),
            gone: Vec::new(),
            newest: BTreeMap::new(),
            table_deleted_at: None,
            troubles: BTreeMap::new(),
        }
    }

    /// Since when a process could have learnt of its namesake.
    fn well_since(&self, who: &Name) -> Option<Duration> {
        let (troubles, since) = self.troubles.get(who).copied().unwrap_or_default();
        (troubles == 0).then_some(since)
    }

    /// Two that have lived side by side for too long.
    fn both(&self, at: Duration) -> Option<String> {
        let mut all = self
            .lives
            .all()
            .filter(|(_, life)| self.lives.is_shared(&life.id));
        all.find_map(|(who, life)| {
            let others = self.lives.all().filter(|(_, other)| other.id == life.id);
            let since = others
                .map(|(other, its)| Some(self.well_since(other)?.max(its.started_at)))
                .try_fold(Duration::ZERO, |latest, since| Some(latest.max(since?)))?;
            let limit = self.failover + self.joining;
            (at > since + limit).then(|| format!("{who} is one of several {}", life.id))
        })
    }
}

impl Rule for Namesakes {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        let at = event.at;
        match &event.what {
            What::Impaired => {
                let (troubles, since) = self.troubles.entry(event.who.clone()).or_default();
                (*troubles, *since) = (*troubles + 1, at);
            }
            What::Recovered => {
                let (troubles, since) = self.troubles.entry(event.who.clone()).or_default();
                (*troubles, *since) = (troubles.saturating_sub(1), at);
            }
            What::TableDeleted => self.table_deleted_at = Some(at),
            What::Started { id, .. } => {
                self.newest.insert(id.clone(), event.who.clone());
            }
            What::GaveWay { id } if self.newest.get(id) == Some(&event.who) => {
                let mine = self.lives.of(&event.who)?.started_at;
                let joining = self.joining;
                let is_last = {
                    // Whoever was there then may have announced itself last in the next table.
                    let deleted_at = self.table_deleted_at.filter(|deleted| *deleted >= mine);
                    let since = at.saturating_sub(self.failover + joining);
                    let gone = self.gone.iter().filter(|(_, _, gone)| *gone >= since);
                    let alive = self.lives.all().map(|(who, life)| (who, life, at));
                    let others = alive.chain(gone.map(|(who, life, gone)| (who, life, *gone)));
                    let mut others = others.filter(|(who, life, _)| life.id == *id && **who != event.who);
                    others.all(|(who, other, until)| {
                        // One that was in trouble while it joined may have announced itself later.
                        let joins = self.well_since(who).map(|well| well.max(other.started_at));
                        let is_anew = deleted_at.is_some_and(|deleted| deleted <= until);
                        !is_anew && joins.is_some_and(|joins| joins + joining < mine)
                    })
                };
                let is_well = self.well_since(&event.who) == Some(Duration::ZERO);
                self.lives.see(event);
                let seen = || (NEWEST, format!("{} ends, which was started last", event.who));
                return (is_last && is_well).then(seen);
            }
            What::Killed { .. } | What::Stopped { .. } | What::Ended { .. } => {
                if let Some(life) = self.lives.of(&event.who) {
                    self.gone.push((event.who.clone(), life.clone(), at));
                }
            }
            _ => {}
        }
        self.lives.see(event);
        self.both(at).map(|seen| (BOTH, seen))
    }

    fn no_request_fails(&mut self) {
        self.joining = JOINING;
    }
}
