//! When a worker cannot do its work, and when it may be tried again. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_lease::{Condition, LeaseKey, Timers, Trouble};
use tokio::time::Instant;

use crate::status::{Failure, Vitals, Work};

/// The times after which a worker takes itself for unable, and is tried again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times(Timers);

impl Times {
    pub(super) fn of(timers: Timers) -> Self {
        Self(timers)
    }

    /// For so long a kind of work may fail without any success before its leases go to others.
    fn patience(self, work: Work) -> Duration {
        match work {
            Work::Reading | Work::Initializing => self.0.patience_with_reads(),
            Work::Processing => self.0.patience_with_calls(),
        }
    }

    /// From this part of its patience on nothing new is to come. Where all fail at once, all say so before any of them gives
    /// its leases to another that fails too.
    fn suspicion(self, work: Work) -> Duration {
        self.patience(work) / 4
    }

    /// For so long it is ailing, at least, before it is unfit.
    fn notice(self, work: Work) -> Duration {
        self.suspicion(work).max(Duration::from_secs(3))
    }
}

/// A call that nobody answers lasts long, and the next may work at once: one failure shows nothing of a shard, nor of a worker.
const TWICE: u32 = 2;

/// Why a worker cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    /// One kind of work fails, last with this lease and for this reason.
    Failing(Work, LeaseKey, String),
    /// Its processors block the threads of its runtime.
    Blocked,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fitness {
    Well {
        since: Instant,
    },
    Ailing {
        since: Instant,
    },
    /// It could not work, kept what it had because nobody else could either, and can again. It is given nothing until the
    /// others must have noticed too that they can.
    Recovering {
        since: Instant,
    },
    Unfit {
        cause: Cause,
        since: Instant,
        retry_at: Instant,
    },
    OnTrial {
        cause: Cause,
        since: Instant,
    },
}

/// What is known at one moment.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The shards that this worker has.
    pub(super) shards: BTreeMap<LeaseKey, Vitals>,
    /// What came of the last probe, if one was asked for and is done.
    pub(super) probe: Option<Result<(), String>>,
    /// Whether the runtime was blocked for long, until now.
    pub(super) was_blocked: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What the others are to know.
    pub(super) trouble: Trouble,
    /// What is wrong with the worker as a whole.
    pub(super) unfit: Option<String>,
    /// What is wrong with single shards of it.
    pub(super) failing: Option<String>,
    /// A shard of which one record is to be read, to see whether that works.
    pub(super) probe: Option<LeaseKey>,
}

/// Follows one worker.
#[derive(Debug)]
pub(super) struct Judge {
    times: Times,
    fitness: Fitness,
    /// The pause before the next trial, should it be unfit again.
    pause: Duration,
    /// Leases that failed here for long, and when that was last so.
    failed: BTreeMap<LeaseKey, Instant>,
    is_probing: bool,
    judged_at: Instant,
    /// When it last went on after it had stood still: what failed before has failed for no longer than since then.
    awake_since: Instant,
}

impl Judge {
    pub(super) fn new(times: Times, now: Instant) -> Self {
        Self {
            times,
            fitness: Fitness::Well { since: now },
            pause: times.0.first_trial(),
            failed: BTreeMap::new(),
            is_probing: false,
            judged_at: now,
            awake_since: now,
        }
    }

    /// Judges anew.
    pub(super) fn judge(&mut self, evidence: &Evidence, now: Instant) -> Verdict {
        if now.saturating_duration_since(self.judged_at) >= self.times.0.nap() {
            self.awake_since = now;
        }
        self.judged_at = now;
        let lasting = self.remember(evidence, now);
        let next = self.next(evidence, now);
        let is_tried = matches!(
            next,
            Fitness::OnTrial { .. } | Fitness::Recovering { .. } | Fitness::Well { .. }
        );
        if is_tried && matches!(self.fitness, Fitness::Unfit { .. } | Fitness::OnTrial { .. }) {
            // They failed because it was unfit. A worker that has failed with all of them could not be tried.
            self.failed.retain(|_, at| *at == now);
        }
        if let (Fitness::Ailing { since }, Fitness::Well { .. }) = (&self.fitness, &next) {
            // What failed meanwhile failed for what ailed the worker.
            self.failed.retain(|_, at| *at < *since);
        }
        self.fitness = next;
        if matches!(self.fitness, Fitness::Unfit { .. }) {
            self.is_probing &= evidence.probe.is_none();
        } else {
            self.is_probing = false;
        }
        let probe = self.due_probe(now);
        self.is_probing |= probe.is_some();
        Verdict {
            trouble: Trouble::new(self.condition(), self.failed.keys().take(Trouble::MOST).cloned()),
            unfit: self.text(now),
            failing: lasting.filter(|_| !self.is_unfit()),
            probe,
        }
    }

    /// Notes which leases fail for long; what is to be said of them.
    fn remember(&mut self, evidence: &Evidence, now: Instant) -> Option<String> {
        let memory = self.times.0.memory_of_failures();
        self.failed
            .retain(|_, at| now.saturating_duration_since(*at) < memory);
        let mut lasting = Vec::new();
        for (key, vitals) in &evidence.shards {
            let failure = Work::ALL.into_iter().find_map(|work| {
                let failure = vitals
                    .failure(work)
                    .filter(|failure| self.is_of_the_shard(failure))?;
                let lasts = self.lasted(failure.since, now);
                let is_proved = failure.attempts >= TWICE && lasts >= self.times.patience(work);
                (is_proved || vitals.is_given_up(work)).then_some((failure, lasts))
            });
            if let Some((failure, lasts)) = failure {
                self.failed.insert(key.clone(), now);
                lasting.push((key, lasts, &failure.error));
            } else if vitals.is_well() {
                self.failed.remove(key);
            }
        }
        let (key, lasts, error) = lasting.first()?;
        let others = match lasting.len() {
            1 => String::new(),
            many => format!(" and {} other shards", many - 1),
        };
        Some(format!(
            "{key}{others} got no further here for {} s; another worker that can is to try: {error}",
            lasts.as_secs()
        ))
    }

    fn next(&mut self, evidence: &Evidence, now: Instant) -> Fitness {
        if evidence.was_blocked {
            return self.unfit(Cause::Blocked, now);
        }
        let worst = Work::ALL
            .into_iter()
            .filter_map(|work| self.failing(work, evidence, now))
            .max_by_key(|failing| failing.is_proved);
        match (&self.fitness, worst) {
            (Fitness::Unfit { cause, since, .. } | Fitness::OnTrial { cause, since }, _)
                if self.is_over(cause, *since, evidence, now) || self.has_passed(evidence, now) =>
            {
                if evidence.shards.len() > 1 {
                    Fitness::Recovering { since: now }
                } else {
                    Fitness::Well { since: now }
                }
            }
            (Fitness::Unfit { .. }, _) => self.retried(evidence, now),
            (Fitness::OnTrial { .. }, Some(failing)) if failing.is_proved => self.unfit(failing.cause, now),
            (Fitness::OnTrial { .. }, _) => self.fitness.clone(),
            (Fitness::Ailing { since }, Some(failing))
                if failing.is_proved && self.has_been_said(&failing, *since, now) =>
            {
                self.unfit(failing.cause, now)
            }
            (Fitness::Recovering { since }, None)
                if now.saturating_duration_since(*since) < self.times.0.recovery() =>
            {
                self.fitness.clone()
            }
            (Fitness::Ailing { since }, Some(_)) => Fitness::Ailing { since: *since },
            (Fitness::Recovering { .. } | Fitness::Well { .. }, Some(_)) => Fitness::Ailing { since: now },
            (Fitness::Well { since }, None) => {
                if now.saturating_duration_since(*since) >= self.times.0.longest_trial_pause() {
                    self.pause = self.times.0.first_trial();
                }
                Fitness::Well { since: *since }
            }
            (Fitness::Ailing { .. } | Fitness::Recovering { .. }, None) => Fitness::Well { since: now },
        }
    }

    /// Whether a kind of work fails in this worker and not only in a shard of it: nothing of it has succeeded since, and at least
    /// half of the shards fail, not counting those that failed before while others did not. (The others may have nothing to do.)
    fn failing(&self, work: Work, evidence: &Evidence, now: Instant) -> Option<Failing> {
        let active = || evidence.shards.iter().filter(|(_, vitals)| !vitals.is_idle);
        let failures = active().filter_map(|(key, vitals)| Some((key, vitals.failure(work)?)));
        let succeeded_at = evidence
            .shards
            .values()
            .filter_map(|vitals| vitals.succeeded_at(work))
            .max();
        let is_alone = |failure: &Failure| succeeded_at.is_some_and(|at| at > failure.since);
        let (alone, together): (Vec<_>, Vec<_>) = failures.partition(|(_, failure)| is_alone(failure));
        let (key, first) = together.iter().min_by_key(|(_, failure)| failure.since)?;
        let lasts = self.lasted(first.since, now);
        let is_general =
            together.len() * 2 >= active().count() - alone.len() && lasts >= self.times.suspicion(work);
        // The second call may be under way, and have no answer yet.
        let attempts: u32 = together.iter().map(|(_, failure)| failure.attempts).sum();
        is_general.then(|| Failing {
            is_proved: attempts >= TWICE && lasts >= self.times.patience(work),
            cause: Cause::Failing(work, (*key).clone(), first.error.clone()),
        })
    }

    /// Whether it has not failed merely for what ailed the worker, as far as is known: it has failed since that is over.
    fn is_of_the_shard(&self, failure: &Failure) -> bool {
        match self.fitness {
            Fitness::Well { since } => failure.until > since,
            _ => true,
        }
    }

    fn lasted(&self, since: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(since.max(self.awake_since))
    }

    /// Whether it has been ailing for so long that all others that fail must have noticed, too. A call that nobody answers fails
    /// only after a while, in each worker at another moment.
    fn has_been_said(&self, failing: &Failing, since: Instant, now: Instant) -> bool {
        let Cause::Failing(work, ..) = failing.cause else {
            return true;
        };
        now.saturating_duration_since(since) >= self.times.notice(work)
    }

    /// Whether what an unfit worker could not do has worked since.
    fn is_over(&self, cause: &Cause, since: Instant, evidence: &Evidence, now: Instant) -> bool {
        let has_done = |work: Work| {
            let times = evidence
                .shards
                .values()
                .filter_map(|vitals| vitals.succeeded_at(work));
            times.max().is_some_and(|at| at > since)
        };
        match cause {
            Cause::Failing(work, ..) => has_done(*work),
            // It takes some time until it would be noticed.
            Cause::Blocked => {
                has_done(Work::Processing)
                    && now.saturating_duration_since(since) >= self.times.0.patience_with_blocked()
            }
        }
    }

    /// Whether a trial has lasted for as long as failures would have needed to prove something, and there was none. There may
    /// be no lease to try it with, or no record to process: then there is no reason to keep the worker waiting.
    fn has_passed(&self, evidence: &Evidence, now: Instant) -> bool {
        let Fitness::OnTrial { cause, since } = &self.fitness else {
            return false;
        };
        let (patience, fails) = match cause {
            Cause::Failing(work, ..) => {
                let fails = |vitals: &Vitals| vitals.failure(*work).is_some();
                (self.times.patience(*work), evidence.shards.values().any(fails))
            }
            Cause::Blocked => (self.times.0.patience_with_blocked(), false),
        };
        !fails && now.saturating_duration_since(*since) >= patience
    }

    fn unfit(&mut self, cause: Cause, now: Instant) -> Fitness {
        let pause = match cause {
            // It is probed first, as often as later.
            Cause::Failing(Work::Reading, ..) => self.pause.min(self.times.0.longest_probe_pause()),
            _ => self.pause,
        };
        self.pause = (self.pause * 2).min(self.times.0.longest_trial_pause());
        Fitness::Unfit {
            cause,
            since: now,
            retry_at: now + pause,
        }
    }

    /// An unfit worker is tried when its pause is over; if it could not read, once a probe has worked.
    fn retried(&mut self, evidence: &Evidence, now: Instant) -> Fitness {
        let Fitness::Unfit {
            cause,
            since,
            retry_at,
        } = self.fitness.clone()
        else {
            return self.fitness.clone();
        };
        let on_trial = Fitness::OnTrial {
            cause: cause.clone(),
            since: now,
        };
        match (&cause, &evidence.probe) {
            (Cause::Failing(Work::Reading, ..), Some(Ok(()))) => on_trial,
            (Cause::Failing(Work::Reading, key, _), Some(Err(error))) => {
                let pause = self.pause.min(self.times.0.longest_probe_pause());
                self.pause = (self.pause * 2).min(self.times.0.longest_trial_pause());
                Fitness::Unfit {
                    cause: Cause::Failing(Work::Reading, key.clone(), error.clone()),
                    since,
                    retry_at: now + pause,
                }
            }
            (Cause::Failing(Work::Reading, ..), None) => self.fitness.clone(),
            _ if now >= retry_at => on_trial,
            _ => self.fitness.clone(),
        }
    }

    fn due_probe(&self, now: Instant) -> Option<LeaseKey> {
        match &self.fitness {
            Fitness::Unfit {
                cause: Cause::Failing(Work::Reading, key, _),
                retry_at,
                ..
            } if now >= *retry_at && !self.is_probing => Some(key.clone()),
            _ => None,
        }
    }

    fn condition(&self) -> Condition {
        match self.fitness {
            Fitness::Well { .. } => Condition::Well,
            Fitness::Ailing { .. } | Fitness::Recovering { .. } => Condition::Ailing,
            Fitness::Unfit { .. } => Condition::Unfit,
            Fitness::OnTrial { .. } => Condition::OnTrial,
        }
    }

    fn is_unfit(&self) -> bool {
        matches!(self.fitness, Fitness::Unfit { .. } | Fitness::OnTrial { .. })
    }

    fn text(&self, now: Instant) -> Option<String> {
        let (cause, next) = match &self.fitness {
            Fitness::Well { .. } | Fitness::Ailing { .. } | Fitness::Recovering { .. } => return None,
            Fitness::Unfit { cause, retry_at, .. } => {
                let pause = retry_at.saturating_duration_since(now).as_secs();
                (cause, format!("it is tried again in {pause} s"))
            }
            Fitness::OnTrial { cause, .. } => (cause, "it is being tried with one lease".to_owned()),
        };
        Some(match cause {
            Cause::Failing(work, key, error) => format!(
                "this worker could not {}: its leases go to workers that can, if there are any, and {next}; last, for {key}: \
                 {error}",
                work.text()
            ),
            Cause::Blocked => format!(
                "this worker's processors blocked the threads of its runtime: its leases go to other workers, and {next}; do \
                 blocking work in tokio::task::spawn_blocking"
            ),
        })
    }
}

struct Failing {
    /// It has lasted long enough, and is no single failure.
    is_proved: bool,
    cause: Cause,
}

#[cfg(test)]
mod tests;
