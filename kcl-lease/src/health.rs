//! What is wrong at present, visible in the status and, without flooding it, in the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::signing::SigningProblem;

/// A problem that lasts is logged again after this time.
const SILENCE: Duration = Duration::from_secs(30);

/// Something that a worker does again and again, and that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activity {
    /// The code of the problem that its failures are.
    pub code: &'static str,
    /// What is being done, such as `renewing leases`.
    pub doing: &'static str,
}

/// Why an activity failed.
pub trait Cause: fmt::Display {
    /// Whether AWS could not be called, or did not believe the call, whatever was called.
    fn signing(&self) -> Option<SigningProblem> {
        None
    }
}

/// Something that is wrong at present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Which problem it is, such as `renewal-failing`. Codes do not change: alarms may rely on them.
    pub code: &'static str,
    /// What is wrong, why, and what to do, in a sentence.
    pub text: String,
    /// For how long it has lasted, in milliseconds.
    pub since_ms: u64,
}

impl Problem {
    /// A problem that began at a moment.
    pub fn new(code: &'static str, text: impl Into<String>, since: Instant) -> Self {
        Self {
            code,
            text: text.into(),
            since_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.since_ms).as_secs_f64();
        write!(f, "{} ({}, for {seconds:.1} s)", self.text, self.code)
    }
}

/// The problems of a worker, at most one of each code. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health {
    problems: Arc<Mutex<BTreeMap<&'static str, Entry>>>,
    /// By the code of the activity that fails for it.
    causes: Arc<Mutex<BTreeMap<&'static str, SigningProblem>>>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    since: Instant,
    logged_at: Instant,
    suppressed: u64,
}

impl Health {
    /// Notes that an activity failed; it will be repeated. Logs it the first time and then every 30 s.
    ///
    /// Where AWS does not believe this process, that is a problem of its own, until all activities that failed for it work.
    pub fn failed(&self, activity: Activity, error: &impl Cause) {
        self.raise(activity.code, format!("{} fails: {error}", activity.doing));
        let cause = error.signing();
        self.attribute(activity, cause);
        if let Some(cause) = cause {
            self.raise(cause.code(), cause.advice().to_owned());
        }
    }

    /// Notes that an activity works.
    pub fn succeeded(&self, activity: Activity) {
        self.settle(activity.code);
        self.attribute(activity, None);
    }

    /// Notes that an activity is no longer tried.
    pub fn ended(&self, activity: Activity) {
        self.problems().remove(activity.code);
        self.attribute(activity, None);
    }

    /// Notes for which reason an activity fails at present. A reason that no activity has any more is over.
    fn attribute(&self, activity: Activity, cause: Option<SigningProblem>) {
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match cause {
            Some(cause) => causes.insert(activity.code, cause),
            None => causes.remove(activity.code),
        };
        let is_over = |before: &SigningProblem| !causes.values().any(|cause| cause == before);
        if let Some(before) = before.filter(is_over) {
            self.settle(before.code());
        }
    }

    /// Notes that something is wrong. Logs it the first time and then every 30 s.
    pub fn raise(&self, code: &'static str, text: String) {
        let now = Instant::now();
        let mut problems = self.problems();
        let Some(entry) = problems.get_mut(code) else {
            tracing::warn!(code, "{text}");
            let entry = Entry {
                text,
                since: now,
                logged_at: now,
                suppressed: 0,
            };
            problems.insert(code, entry);
            return;
        };
        entry.text = text;
        if now.saturating_duration_since(entry.logged_at) >= SILENCE {
            let (lasts, suppressed) = (entry.since.elapsed(), entry.suppressed);
            tracing::warn!(code, ?lasts, suppressed, "still: {}", entry.text);
            entry.logged_at = now;
            entry.suppressed = 0;
        } else {
            entry.suppressed += 1;
        }
    }

    /// Notes that a problem is over.
    pub fn settle(&self, code: &'static str) {
        if let Some(entry) = self.problems().remove(code) {
            tracing::info!(code, after = ?entry.since.elapsed(), "over: {}", entry.text);
        }
    }

    /// Whether there is a problem of this code.
    pub fn has(&self, code: &'static str) -> bool {
        self.problems().contains_key(code)
    }

    /// What is wrong now, by code.
    pub fn list(&self) -> Vec<Problem> {
        let problems = self.problems();
        let problem =
            |(code, entry): (&&'static str, &Entry)| Problem::new(code, entry.text.clone(), entry.since);
        problems.iter().map(problem).collect()
    }

    fn problems(&self) -> MutexGuard<'_, BTreeMap<&'static str, Entry>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENEWING: Activity = Activity {
        code: "renewal-failing",
        doing: "renewing leases",
    };
    const SCANNING: Activity = Activity {
        code: "scan-failing",
        doing: "scanning the table",
    };

    fn told(health: &Health) -> Vec<String> {
        health.list().iter().map(ToString::to_string).collect()
    }

    #[derive(Debug)]
    struct Told(&'static str, Option<SigningProblem>);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Cause for Told {
        fn signing(&self) -> Option<SigningProblem> {
            self.1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_aws_does_not_believe_is_a_problem_of_its_own_until_every_activity_works() {
        let health = Health::default();
        let expired = Told("token expired", Some(SigningProblem::CredentialsExpired));
        health.failed(RENEWING, &expired);
        tokio::time::advance(Duration::from_secs(5)).await;
        health.failed(SCANNING, &expired);
        let codes = || {
            health
                .list()
                .iter()
                .map(|problem| problem.code)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            codes(),
            ["credentials-expired", "renewal-failing", "scan-failing"]
        );
        health.succeeded(RENEWING);
        assert_eq!(codes(), ["credentials-expired", "scan-failing"]);
        assert_eq!(health.list()[0].since_ms, 5_000);
        health.failed(SCANNING, &Told("throttled", None));
        assert_eq!(codes(), ["scan-failing"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_shown_with_its_age_until_the_activity_works_again() {
        let health = Health::default();
        assert!(health.list().is_empty());
        health.failed(RENEWING, &Told("no route", None));
        tokio::time::advance(Duration::from_secs(40)).await;
        health.failed(RENEWING, &Told("throttled", None));
        assert_eq!(
            told(&health),
            ["renewing leases fails: throttled (renewal-failing, for 40.0 s)"]
        );
        health.failed(SCANNING, &Told("denied", None));
        health.succeeded(RENEWING);
        assert_eq!(
            told(&health),
            ["scanning the table fails: denied (scan-failing, for 0.0 s)"]
        );
        health.ended(SCANNING);
        assert!(health.list().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_lasts_until_it_is_settled_however_its_words_change() {
        let health = Health::default();
        health.raise("rows-unreadable", "one row".to_owned());
        tokio::time::advance(Duration::from_secs(5)).await;
        health.raise("rows-unreadable", "two rows".to_owned());
        assert_eq!(told(&health), ["two rows (rows-unreadable, for 5.0 s)"]);
        health.settle("rows-unreadable");
        assert!(!health.has("rows-unreadable"));
    }
}
