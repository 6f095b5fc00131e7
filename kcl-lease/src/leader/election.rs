//! When a candidate may take the leader lock, judged by what it saw change on its own clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::ids::WorkerId;
use crate::plan::{HEIRS, Sighting, Standstills};
use crate::store::LeaderLock;
use crate::timers::Timers;

/// The timers of leadership: a leader survives the loss of three heartbeats, and a dead one is replaced before its leases
/// expire.
#[derive(Debug, Clone)]
pub(crate) struct ElectionOptions {
    pub(crate) heartbeat: Duration,
    pub(crate) duration: Duration,
}

impl ElectionOptions {
    pub(crate) fn of(timers: Timers) -> Self {
        Self {
            heartbeat: timers.leader_heartbeat(),
            duration: timers.leader_lock(),
        }
    }
}

/// Whoever is no heir leaves the lock to the heirs for so long, as a part of its duration: they look twice in that time.
const PRECEDENCE: f64 = 0.5;

/// What a candidate should do about the lock that it just read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Candidacy {
    /// The leader lives.
    Wait,
    /// A heartbeat is overdue, and this worker is one of the heirs, or the fleet is too small to rely on them: get to know the
    /// leases, so as to lead well if need be. In a large fleet it would be too much if all did.
    Watch,
    /// Take the lock, if it still has the version seen (or is still absent).
    Take { seen: Option<String> },
}

/// A candidate's memory of the lock.
#[derive(Debug)]
pub(crate) struct Election {
    me: WorkerId,
    /// The last lock that was there; what it says of leases outlives it.
    last: Option<Seen>,
    is_vacant: bool,
}

#[derive(Debug)]
struct Seen {
    lock: LeaderLock,
    at: Instant,
    /// Nothing was seen before.
    is_first: bool,
}

impl Election {
    /// Of a candidate that has seen nothing.
    pub(crate) const fn new(me: WorkerId) -> Self {
        Self {
            me,
            last: None,
            is_vacant: false,
        }
    }

    /// Takes in the lock as read at `now`.
    ///
    /// An unchanged version must be seen for the duration *that the row states*: a Java leader's lock lasts longer.
    pub(crate) fn consider(&mut self, lock: Option<LeaderLock>, now: Instant) -> Candidacy {
        let Some(lock) = lock else {
            self.is_vacant = true;
            return Candidacy::Take { seen: None };
        };
        self.is_vacant = lock.released;
        if lock.released {
            let seen = Some(lock.version.clone());
            if self.last.as_ref().map(|last| &last.lock.version) != seen.as_ref() {
                self.see(lock, now);
            }
            return Candidacy::Take { seen };
        }
        match &self.last {
            Some(seen) if seen.lock.version == lock.version && seen.lock.owner == lock.owner => {
                let unchanged_for = now.saturating_duration_since(seen.at);
                let is_heir = lock.heirs.is_empty() || lock.heirs.contains(&self.me);
                let precedence = if is_heir {
                    Duration::ZERO
                } else {
                    lock.duration.mul_f64(PRECEDENCE)
                };
                if unchanged_for >= lock.duration + precedence {
                    Candidacy::Take {
                        seen: Some(lock.version),
                    }
                } else if (is_heir || has_few_heirs(&lock)) && unchanged_for >= overdue_after(&lock)
                    || seen.is_first && leads_nobody(&lock)
                {
                    Candidacy::Watch
                } else {
                    Candidacy::Wait
                }
            }
            _ => {
                let may_be_dead = self.last.is_none() && leads_nobody(&lock);
                self.see(lock, now);
                if may_be_dead {
                    Candidacy::Watch
                } else {
                    Candidacy::Wait
                }
            }
        }
    }

    fn see(&mut self, lock: LeaderLock, now: Instant) {
        let is_first = self.last.is_none();
        self.last = Some(Seen {
            lock,
            at: now,
            is_first,
        });
    }

    /// The leader as far as it is known.
    pub(crate) fn leader(&self) -> Option<&WorkerId> {
        let seen = self.last.as_ref().filter(|_| !self.is_vacant);
        seen.map(|seen| &seen.lock.owner)
    }

    /// Whom the last leader named, but for this worker.
    pub(crate) fn other_heirs(&self) -> Vec<WorkerId> {
        let heirs = self.last.iter().flat_map(|seen| &seen.lock.heirs);
        heirs.filter(|heir| **heir != self.me).cloned().collect()
    }

    /// The last leader's last word on leases.
    pub(crate) fn sighting(&self) -> Option<Sighting> {
        let seen = self.last.as_ref()?;
        Some(Sighting {
            leader: seen.lock.owner.clone(),
            held_digest: seen.lock.held_digest,
            standstills: Standstills::heard(&seen.lock.standstills, seen.at),
            heard_at: seen.at,
        })
    }
}

/// Whoever starts and finds a leader of our kind without any other worker may be there to replace a worker that died, and
/// gets to know the leases at once: they are free so much earlier. The next heartbeat tells.
fn leads_nobody(lock: &LeaderLock) -> bool {
    lock.held_digest.is_some() && lock.heirs.is_empty()
}

/// There was hardly anybody else when these were named, and they may be dead or cut off: whoever is there now watches too.
/// Where all heirs are named, that they are all gone with the leader is taken for too unlikely to let a crowd scan.
fn has_few_heirs(lock: &LeaderLock) -> bool {
    lock.heirs.len() < HEIRS
}

/// Heartbeats come every quarter of the duration (Java) or more often (here).
fn overdue_after(lock: &LeaderLock) -> Duration {
    lock.duration.mul_f64(0.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(owner: &str, version: &str, seconds: u64) -> LeaderLock {
        LeaderLock {
            owner: owner.into(),
            duration: Duration::from_secs(seconds),
            version: version.into(),
            released: false,
            held_digest: Some(1),
            standstills: Vec::new(),
            heirs: vec!["me".into()],
        }
    }

    fn election() -> Election {
        Election::new("me".into())
    }

    fn take(version: &str) -> Candidacy {
        Candidacy::Take {
            seen: Some(version.into()),
        }
    }

    #[test]
    fn an_absent_or_released_lock_is_taken_at_once() {
        let now = Instant::now();
        assert_eq!(election().consider(None, now), Candidacy::Take { seen: None });
        let released = LeaderLock {
            released: true,
            ..lock("a", "1", 120)
        };
        assert_eq!(election().consider(Some(released), now), take("1"));
    }

    #[test]
    fn what_a_leader_said_is_remembered_from_when_it_was_first_read_until_the_next_one_speaks() {
        let (mut election, start) = (election(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let heard_at = |election: &Election| election.sighting().map(|sighting| sighting.heard_at);
        election.consider(Some(lock("a", "1", 5)), after(0));
        election.consider(Some(lock("a", "1", 5)), after(1));
        assert_eq!(heard_at(&election), Some(after(0)));
        assert_eq!(election.leader(), Some(&"a".into()));

        election.consider(None, after(2));
        assert_eq!((heard_at(&election), election.leader()), (Some(after(0)), None));

        let released = LeaderLock {
            released: true,
            ..lock("a", "2", 5)
        };
        election.consider(Some(released.clone()), after(3));
        election.consider(Some(released), after(4));
        assert_eq!((heard_at(&election), election.leader()), (Some(after(3)), None));

        election.consider(Some(lock("b", "3", 5)), after(5));
        assert_eq!(heard_at(&election), Some(after(5)));
        assert_eq!(election.leader(), Some(&"b".into()));
    }

    #[test]
    fn a_leader_without_others_is_watched_from_the_first_look_until_it_shows_that_it_lives() {
        let (mut election, start) = (election(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let lone = |version: &str| LeaderLock {
            heirs: Vec::new(),
            ..lock("a", version, 5)
        };
        assert_eq!(election.consider(Some(lone("1")), after(0)), Candidacy::Watch);
        assert_eq!(election.consider(Some(lone("1")), after(1)), Candidacy::Watch);
        assert_eq!(election.consider(Some(lone("2")), after(2)), Candidacy::Wait);
        assert_eq!(election.consider(Some(lone("2")), after(3)), Candidacy::Wait);
        let java = LeaderLock {
            held_digest: None,
            ..lone("1")
        };
        let (mut election, now) = (Election::new("me".into()), Instant::now());
        assert_eq!(election.consider(Some(java), now), Candidacy::Wait);
    }

    #[test]
    fn a_silent_leader_is_watched_and_then_replaced() {
        let (mut election, start) = (election(), Instant::now());
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut at = |seconds, version| election.consider(Some(lock("a", version, 5)), after(seconds));
        assert_eq!(at(0.0, "1"), Candidacy::Wait);
        assert_eq!(at(1.0, "1"), Candidacy::Wait);
        assert_eq!(at(1.5, "1"), Candidacy::Watch);
        assert_eq!(at(2.0, "2"), Candidacy::Wait, "it lives");
        assert_eq!(at(6.9, "2"), Candidacy::Watch);
        assert_eq!(at(7.0, "2"), take("2"));
        let sighting = election.sighting().unwrap();
        assert_eq!((sighting.leader, sighting.heard_at), ("a".into(), after(2.0)));
    }

    #[test]
    fn heirs_watch_and_the_others_wait_a_while_longer_for_one_of_them() {
        let start = Instant::now();
        let at = |heirs: &[&str], seconds: f64| {
            let lock = LeaderLock {
                heirs: heirs.iter().map(|heir| (*heir).into()).collect(),
                ..lock("a", "1", 5)
            };
            let mut election = election();
            election.consider(Some(lock.clone()), start);
            election.consider(Some(lock), start + Duration::from_secs_f64(seconds))
        };
        assert_eq!(at(&["b", "me"], 1.5), Candidacy::Watch);
        assert_eq!(at(&["b", "me"], 5.0), take("1"));
        assert_eq!(at(&["b", "c", "d"], 4.9), Candidacy::Wait);
        assert_eq!(at(&["b", "c", "d"], 7.4), Candidacy::Wait);
        assert_eq!(at(&["b", "c", "d"], 7.5), take("1"), "no heir is left");
        assert_eq!(at(&["b"], 1.4), Candidacy::Wait);
        assert_eq!(at(&["b"], 1.5), Candidacy::Watch, "b may be gone too");
        assert_eq!(at(&["b"], 7.4), Candidacy::Watch, "but comes first");
        assert_eq!(at(&["b"], 7.5), take("1"));
    }

    #[test]
    fn a_lock_that_says_so_is_honoured_for_two_minutes() {
        let (mut election, start) = (election(), Instant::now());
        let mut at =
            |seconds| election.consider(Some(lock("java", "1", 120)), start + Duration::from_secs(seconds));
        assert_eq!(at(0), Candidacy::Wait);
        assert_eq!(at(35), Candidacy::Wait);
        assert_eq!(at(119), Candidacy::Watch);
        assert_eq!(at(120), take("1"));
    }
}
