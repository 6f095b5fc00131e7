//! Who is alive, judged only by what one observer saw change, on its own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::digest::counter_digest;
use super::lease_history::LeaseHistory;
use super::standstill::Standstills;
use super::view::{Claim, FleetView, LeaseState, LeaseView, Relocation, WorkerView};
use crate::ids::{LeaseKey, WorkerId};
use crate::lease::Lease;
use crate::store::{TableSnapshot, WorkerMetric, WorkerRow};
use crate::timers::Timers;

/// A Java worker without leases shows itself only by its report, every 30 s by default; Java allows two periods.
const JAVA_SILENCE: Duration = Duration::from_secs(60);

/// What an observer must know of the rules.
#[derive(Debug, Clone)]
pub(crate) struct ObserverOptions {
    /// The observing worker: always alive to itself.
    pub(crate) me: WorkerId,
    /// A lease whose counter stands still for longer than this is expired, unless its owner says otherwise of itself.
    pub(crate) failover_time: Duration,
    /// A hand-off that takes longer than this is finished by the leader.
    pub(crate) hand_off_timeout: Duration,
    /// How often workers tell how busy they are.
    pub(crate) report_interval: Duration,
}

impl ObserverOptions {
    /// For how long a worker is silent before it counts as dead, if it is of our kind and has this fail-over time, or one of
    /// Java.
    fn silence_of_the_dead(&self, ours: Option<Duration>) -> Duration {
        ours.unwrap_or_else(|| JAVA_SILENCE.max(self.failover_time))
    }
}

/// What a leader last said of leases, and when it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// The leader.
    pub(crate) leader: WorkerId,
    /// [`counter_digest`] of the leases that it held, if it said so.
    pub(crate) held_digest: Option<u64>,
    /// Leases that stood still while it led.
    pub(crate) standstills: Standstills,
    /// When the observer first saw it; the leader wrote it before.
    pub(crate) heard_at: Instant,
}

#[derive(Debug, Clone)]
struct WorkerHistory {
    /// Second and number of the last report.
    report: (u64, u64),
    /// The last sign of life; `None` while there was none.
    alive_at: Option<Instant>,
    /// Its fail-over time, if it is of our kind.
    ours: Option<Duration>,
    /// When its row was seen first.
    seen_at: Instant,
}

/// Remembers what changed when.
///
/// Expiry is never judged by another machine's clock: a lease expires when its counter stood still on the observer's
/// own clock for the fail-over time. The owner counts from before it sends a renewal, the observer from after it saw
/// it, so an owner always gives up first.
#[derive(Debug)]
pub(crate) struct Observer {
    options: ObserverOptions,
    leases: BTreeMap<LeaseKey, LeaseHistory>,
    workers: BTreeMap<WorkerId, WorkerHistory>,
    /// Workers that show life but let an assignment expire without ever taking it up, and when.
    unresponsive: BTreeMap<WorkerId, Instant>,
    /// The fail-over times of workers that leases name or that are there, as far as they told theirs. An owner trusts its
    /// lease for as long as its own says, whatever others are told.
    failover_times: BTreeMap<WorkerId, Duration>,
    /// Workers of our kind whose rows went away while leases still named them: the first thing that one does when it
    /// leaves is to delete its row, and from then on it takes nothing up.
    departed: BTreeSet<WorkerId>,
    has_observed: bool,
}

impl Observer {
    /// An observer that has seen nothing.
    pub(crate) fn new(options: ObserverOptions) -> Self {
        Self {
            options,
            leases: BTreeMap::new(),
            workers: BTreeMap::new(),
            unresponsive: BTreeMap::new(),
            departed: BTreeSet::new(),
            failover_times: BTreeMap::new(),
            has_observed: false,
        }
    }

    /// Takes in a scan that was completed at `now`; `epoch_seconds` is the wall-clock time, used only to judge rows
    /// that were never seen before.
    pub(crate) fn observe(
        &mut self,
        snapshot: &TableSnapshot,
        now: Instant,
        epoch_seconds: u64,
        sighting: Option<&Sighting>,
    ) -> FleetView {
        let vouched = sighting.filter(|sighting| is_still_true(sighting, snapshot));
        let first_seen_at = |lease: &Lease| {
            let still_since = sighting.and_then(|sighting| sighting.standstills.since(lease));
            let own = vouched.filter(|sighting| lease.actual_owner() == Some(&sighting.leader));
            let heard_at = own.map(|sighting| sighting.heard_at);
            still_since.into_iter().chain(heard_at).fold(now, Instant::min)
        };
        let mut renewed_by: Vec<WorkerId> = vec![self.options.me.clone()];
        let mut leases = BTreeMap::new();
        for lease in &snapshot.leases {
            let history = match self.leases.get(&lease.key) {
                Some(before) => {
                    if before.is_renewed_in(lease) {
                        renewed_by.extend(lease.actual_owner().cloned());
                    }
                    before.follow(lease, now, self.options.report_interval)
                }
                None => LeaseHistory::begin(lease, first_seen_at(lease), now),
            };
            leases.insert(lease.key.clone(), history);
        }
        self.leases = leases;
        self.learn_failover_times(snapshot);
        let silent_since = match sighting {
            Some(sighting) if !self.has_observed => silent_since(sighting, snapshot),
            _ => BTreeMap::new(),
        };
        self.follow_workers(snapshot, now, epoch_seconds, &renewed_by, &silent_since);
        self.forget_the_gone(now);
        self.has_observed = true;
        self.note_unresponsive(snapshot, now);
        let view = self.view(snapshot, now);
        self.forget_java_life(snapshot, &view.leases);
        view
    }

    /// The rows of workers of our kind that have shown no life for three of their fail-over times, as this observer saw it, and
    /// that no lease names. Whoever is there after all writes its row anew. Left alone, such a row would be judged by its time of
    /// day by every leader that comes, and clocks differ.
    pub(crate) fn silent<'a>(&self, snapshot: &'a TableSnapshot, now: Instant) -> Vec<&'a WorkerRow> {
        let named: BTreeSet<_> = snapshot
            .leases
            .iter()
            .flat_map(|lease| lease.owner.iter().chain(&lease.checkpoint_owner))
            .collect();
        let is_silent = |row: &&WorkerRow| {
            let history = self.workers.get(&row.id);
            history.is_some_and(|history| {
                let since = history
                    .alive_at
                    .map_or(history.seen_at, |at| at.max(history.seen_at));
                let silence = now.saturating_duration_since(since);
                history
                    .ours
                    .is_some_and(|failover_time| silence >= Timers::of(failover_time).gone())
            })
        };
        let rows = snapshot.workers.iter().filter(is_silent);
        rows.filter(|row| row.id != self.options.me && !named.contains(&row.id))
            .collect()
    }

    /// For how long nothing was written to a lease, as far as it was watched.
    pub(crate) fn still_for(&self, key: &LeaseKey, now: Instant) -> Duration {
        let history = self.leases.get(key);
        history.map_or(Duration::ZERO, |history| {
            now.saturating_duration_since(history.changed_at)
        })
    }

    /// What a successor is to know of the leases in a scan that was just observed, at `now`.
    ///
    /// A lease that a worker of our kind has not begun with stands still for as long as the worker is silent. One that a
    /// Java worker has not begun with is left out: the successor could not tell that it is due more time.
    pub(crate) fn standstills(&self, snapshot: &TableSnapshot, now: Instant) -> Standstills {
        let java = java_workers(snapshot);
        let owned = snapshot
            .leases
            .iter()
            .filter(|lease| lease.actual_owner().is_some() && !lease.has_ended());
        let standing = owned.filter_map(|lease| {
            let history = self.leases.get(&lease.key)?;
            let owner = lease.actual_owner().and_then(|owner| self.workers.get(owner));
            let silent_since = owner
                .filter(|owner| owner.ours.is_some() && history.claim == Claim::No)
                .and_then(|owner| owner.alive_at)
                .unwrap_or(now);
            (!has_java_start(history, &java)).then(|| (lease, history.changed_at.min(silent_since)))
        });
        Standstills::seen(standing, now)
    }

    /// A lease may return to a worker that was away: it did not lose it for having too much to do.
    fn forget_the_gone(&mut self, now: Instant) {
        let (workers, options) = (&self.workers, &self.options);
        let stays = |id: &WorkerId| {
            workers.get(id).is_some_and(|history| {
                let silent_for = history.alive_at.map(|at| now.saturating_duration_since(at));
                let limit = options.silence_of_the_dead(history.ours);
                *id == options.me || silent_for.is_some_and(|time| time < limit)
            })
        };
        for history in self.leases.values_mut() {
            history.left.retain(|id, _| stays(id));
        }
    }

    /// The row of a dead Java worker looks alive for two of its report periods. Once its leases are somebody else's,
    /// nothing but a new report or renewal may count for it, or it would be given leases again.
    fn forget_java_life(&mut self, snapshot: &TableSnapshot, leases: &[LeaseView]) {
        for row in snapshot.workers.iter().filter(|row| row.report_period.is_none()) {
            if lost_all_leases(&row.id, leases)
                && let Some(history) = self.workers.get_mut(&row.id)
            {
                history.alive_at = None;
            }
        }
    }

    fn follow_workers(
        &mut self,
        snapshot: &TableSnapshot,
        now: Instant,
        epoch_seconds: u64,
        renewed_by: &[WorkerId],
        silent_since: &BTreeMap<&WorkerId, Instant>,
    ) {
        let mut workers = BTreeMap::new();
        for row in &snapshot.workers {
            let before = self.workers.remove(&row.id);
            let seen_at = before.as_ref().map_or(now, |before| before.seen_at);
            let reported = match &before {
                Some(before) => before.report != (row.reported_at, row.report_number),
                None => self.has_observed || is_recent(row, epoch_seconds, self.options.failover_time),
            };
            let alive_at = match before.and_then(|before| before.alive_at) {
                _ if reported || renewed_by.contains(&row.id) => Some(now),
                earlier => earlier,
            };
            // At first sight it may have been silent since its report, or since it was last seen to renew.
            let alive_at = alive_at.map(|at| {
                let reported_at = if self.has_observed {
                    at
                } else {
                    let age = Duration::from_secs(epoch_seconds.saturating_sub(row.reported_at));
                    at.checked_sub(age).unwrap_or(at)
                };
                silent_since
                    .get(&row.id)
                    .map_or(reported_at, |since| reported_at.min(*since))
            });
            workers.insert(
                row.id.clone(),
                WorkerHistory {
                    report: (row.reported_at, row.report_number),
                    alive_at,
                    ours: row.report_period.map(|_| self.failover_time_of(Some(&row.id))),
                    seen_at,
                },
            );
        }
        let gone = std::mem::replace(&mut self.workers, workers);
        let gone = gone.into_iter().filter(|(_, history)| history.ours.is_some());
        self.departed.extend(gone.map(|(id, _)| id));
        let named: BTreeSet<_> = snapshot
            .leases
            .iter()
            .filter_map(|lease| lease.owner.as_ref())
            .collect();
        self.departed
            .retain(|id| named.contains(id) && !self.workers.contains_key(id));
    }

    /// Whoever cannot take leases up would otherwise be given them again and again, as it always holds least.
    fn note_unresponsive(&mut self, snapshot: &TableSnapshot, now: Instant) {
        let pause = Timers::of(self.options.failover_time).unresponsive();
        let java = java_workers(snapshot);
        self.unresponsive
            .retain(|_, since| now.saturating_duration_since(*since) < pause);
        let untouched = self
            .leases
            .values()
            .filter(|history| history.is_untouched && history.checkpoint_owner.is_none());
        let expired = untouched.filter(|history| {
            let owner = history.owner.as_ref();
            (history.claim == Claim::No || owner.is_some_and(|owner| java.contains(owner)))
                && now.saturating_duration_since(history.changed_at) >= self.patience(history, &java)
        });
        let unresponsive: Vec<_> = expired.filter_map(|history| history.owner.clone()).collect();
        for owner in unresponsive {
            self.unresponsive.entry(owner).or_insert(now);
        }
    }

    fn view(&self, snapshot: &TableSnapshot, now: Instant) -> FleetView {
        let mut dead = self.known_dead(snapshot, now);
        dead.extend(&self.departed);
        let java = java_workers(snapshot);
        // A Java worker begins some seconds before its first write.
        let ours: BTreeSet<_> = snapshot
            .workers
            .iter()
            .filter(|row| row.report_period.is_some())
            .map(|row| &row.id)
            .chain(&self.departed)
            .collect();
        let mut next_expiry: Option<Instant> = None;
        let mut leases = Vec::with_capacity(snapshot.leases.len());
        for lease in &snapshot.leases {
            let history = self.leases.get(&lease.key);
            let state = self.judge(lease, &dead, &java, now);
            if matches!(state, LeaseState::Live | LeaseState::HandOff { .. })
                && let Some(history) = history
            {
                let expiry = history.changed_at + self.patience(history, &java);
                next_expiry = Some(next_expiry.map_or(expiry, |earlier| earlier.min(expiry)));
            }
            let is_ours = lease.owner.as_ref().is_some_and(|owner| ours.contains(owner));
            let claim = match history.map_or(Claim::Unknown, |history| history.claim) {
                Claim::No if !is_ours => Claim::Unknown,
                claim => claim,
            };
            let ago = |at: &Instant| now.saturating_duration_since(*at);
            let moved = history.and_then(|history| history.moved.as_ref());
            let left = history.into_iter().flat_map(|history| &history.left);
            leases.push(LeaseView {
                lease: lease.clone(),
                state,
                claim,
                moved: moved.map(|(from, at)| Relocation {
                    from: from.clone(),
                    ago: ago(at),
                }),
                left: left.map(|(id, at)| (id.clone(), ago(at))).collect(),
                kbps: history.and_then(LeaseHistory::kbps),
            });
        }
        let mut workers: Vec<_> = snapshot
            .workers
            .iter()
            .map(|row| self.judge_worker(row, &leases, now))
            .collect();
        exclude_failing(&mut workers);
        FleetView {
            leases,
            workers,
            next_expiry,
        }
    }

    fn judge(
        &self,
        lease: &Lease,
        dead: &BTreeSet<&WorkerId>,
        java: &BTreeSet<&WorkerId>,
        now: Instant,
    ) -> LeaseState {
        let Some(history) = self.leases.get(&lease.key) else {
            return LeaseState::Unowned;
        };
        if lease.has_ended() {
            return LeaseState::Ended;
        }
        let Some(owner) = lease.actual_owner() else {
            return LeaseState::Unowned;
        };
        let silent_for = now.saturating_duration_since(history.changed_at);
        let patience = self.patience(history, java);
        if silent_for >= patience || (dead.contains(owner) && history.claim == Claim::No) {
            return LeaseState::Expired;
        }
        match history.hand_off_since {
            Some(since) => {
                // A silent processor trusts its lease for its own fail-over time.
                let limit = self.options.hand_off_timeout + self.failover_time_of(history.actual_owner());
                LeaseState::HandOff {
                    overdue: now.saturating_duration_since(since) >= limit,
                }
            }
            None => LeaseState::Live,
        }
    }

    /// Workers that announced themselves, showed life once and have been silent for longer than the fail-over time. A
    /// lease that is handed to one of them, and that it has not begun with, need not wait for its own expiry.
    fn known_dead<'a>(&self, snapshot: &'a TableSnapshot, now: Instant) -> BTreeSet<&'a WorkerId> {
        let promised_reports = snapshot.workers.iter().filter(|row| row.report_period.is_some());
        let is_silent = |id: &WorkerId| {
            let alive_at = self.workers.get(id).and_then(|history| history.alive_at);
            alive_at.is_some_and(|at| now.saturating_duration_since(at) >= self.failover_time_of(Some(id)))
        };
        promised_reports
            .map(|row| &row.id)
            .filter(|id| **id != self.options.me && is_silent(id))
            .collect()
    }

    fn learn_failover_times(&mut self, snapshot: &TableSnapshot) {
        let rows = snapshot.workers.iter();
        self.failover_times
            .extend(rows.filter_map(|row| Some((row.id.clone(), row.failover_time?))));
        let named: BTreeSet<_> = snapshot
            .leases
            .iter()
            .flat_map(|lease| lease.owner.iter().chain(&lease.checkpoint_owner))
            .chain(snapshot.workers.iter().map(|row| &row.id))
            .collect();
        self.failover_times.retain(|id, _| named.contains(id));
    }

    /// What a worker said. For one that said nothing the longest that anybody has: a worker that leaves has no row any more, and
    /// whoever leads now may not have seen it.
    fn failover_time_of(&self, worker: Option<&WorkerId>) -> Duration {
        let told = worker.and_then(|worker| self.failover_times.get(worker)).copied();
        let all = self.failover_times.values().copied();
        told.unwrap_or_else(|| all.fold(self.options.failover_time, Duration::max))
    }

    /// How long a lease may stand still before it is expired.
    fn patience(&self, history: &LeaseHistory, java: &BTreeSet<&WorkerId>) -> Duration {
        let failover_time = self.failover_time_of(history.actual_owner());
        if has_java_start(history, java) {
            Timers::of(failover_time).java_start()
        } else {
            failover_time
        }
    }

    fn judge_worker(&self, row: &WorkerRow, leases: &[LeaseView], now: Instant) -> WorkerView {
        let history = self.workers.get(&row.id);
        let alive_at = history.and_then(|history| history.alive_at);
        let silent_for = alive_at.map(|at| now.saturating_duration_since(at));
        let limit = match row.report_period {
            None if lost_all_leases(&row.id, leases) => Duration::ZERO,
            period => {
                let ours = period.map(|_| self.failover_time_of(Some(&row.id)));
                self.options.silence_of_the_dead(ours)
            }
        };
        let is_me = row.id == self.options.me;
        let is_alive = is_me || silent_for.is_some_and(|silence| silence < limit);
        let patience = Timers::of(self.failover_time_of(Some(&row.id))).overdue();
        let is_late = row.report_period.is_some() && silent_for.is_none_or(|silence| silence >= patience);
        let is_watched = history.is_some_and(|it| now.saturating_duration_since(it.seen_at) >= patience);
        WorkerView {
            id: row.id.clone(),
            eligible: is_alive && !self.unresponsive.contains_key(&row.id),
            overdue: is_late && !is_me,
            is_unheard: is_late && !is_me && !is_watched,
            metrics: row.metrics.clone(),
            is_unmeasured: is_unmeasured(row),
            trouble: row.trouble_to_leaders(),
        }
    }
}

/// A worker that cannot tell how busy it is gets no leases, unless nobody can tell: somebody has to process them.
fn exclude_failing(workers: &mut [WorkerView]) {
    let is_failing = |worker: &WorkerView| worker.metrics.values().any(WorkerMetric::is_failing);
    if workers
        .iter()
        .any(|worker| worker.eligible && !worker.overdue && !is_failing(worker))
    {
        for worker in workers.iter_mut().filter(|worker| is_failing(worker)) {
            worker.eligible = false;
        }
    }
}

/// Whether a worker has only just joined: with its first report a measurement can only begin, and the first mean is one of a
/// second or so, from before it was given anything.
fn is_unmeasured(row: &WorkerRow) -> bool {
    let is_young = |metric: &WorkerMetric| metric.samples.len() < 2 && !metric.is_failing();
    let says_nothing = row.metrics.is_empty() && !row.is_measuring;
    row.report_period.is_some() && !says_nothing && row.metrics.values().all(is_young)
}

fn java_workers(snapshot: &TableSnapshot) -> BTreeSet<&WorkerId> {
    let java = snapshot.workers.iter().filter(|row| row.report_period.is_none());
    java.map(|row| &row.id).collect()
}

/// Whether a Java worker was given it and has not written to it since.
fn has_java_start(history: &LeaseHistory, java: &BTreeSet<&WorkerId>) -> bool {
    history.is_untouched && history.actual_owner().is_some_and(|owner| java.contains(owner))
}

/// Whether the leader's leases are still exactly as it last described them, so that none was renewed since.
fn is_still_true(sighting: &Sighting, snapshot: &TableSnapshot) -> bool {
    let held = snapshot
        .leases
        .iter()
        .filter(|lease| lease.actual_owner() == Some(&sighting.leader));
    let digest = counter_digest(held.map(|lease| (&lease.key, lease.counter)));
    sighting.held_digest == Some(digest)
}

/// The last change that a leader saw in the leases of each worker, of those that still are as it saw them; for the leader
/// itself not before its own last word.
fn silent_since<'a>(sighting: &'a Sighting, snapshot: &'a TableSnapshot) -> BTreeMap<&'a WorkerId, Instant> {
    let mut silent_since = BTreeMap::from([(&sighting.leader, sighting.heard_at)]);
    for lease in &snapshot.leases {
        if let (Some(owner), Some(since)) = (lease.actual_owner(), sighting.standstills.since(lease)) {
            let last = silent_since.entry(owner).or_insert(since);
            *last = since.max(*last);
        }
    }
    silent_since
}

/// At the first scan only: did the worker report just now, as one without leases must?
fn is_recent(row: &WorkerRow, epoch_seconds: u64, failover_time: Duration) -> bool {
    let due = row.report_period.unwrap_or(failover_time) + Duration::from_secs(2);
    epoch_seconds.abs_diff(row.reported_at) <= due.as_secs()
}

fn lost_all_leases(worker: &WorkerId, leases: &[LeaseView]) -> bool {
    let mut owned = leases
        .iter()
        .filter(|view| view.lease.actual_owner() == Some(worker))
        .peekable();
    owned.peek().is_some() && owned.all(|view| view.state == LeaseState::Expired)
}

#[cfg(test)]
mod tests;
