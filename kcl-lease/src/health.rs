//! What fails at present, visible in the status and, without flooding it, in the log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A failure that lasts is logged again after this time.
const SILENCE: Duration = Duration::from_secs(30);

/// The failing activities of a worker. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health {
    failing: Arc<Mutex<BTreeMap<&'static str, Failure>>>,
}

#[derive(Debug)]
struct Failure {
    error: String,
    since: Instant,
    logged_at: Instant,
    suppressed: u64,
}

impl Health {
    /// Notes that an activity failed; it will be repeated. Logs it the first time and then every 30 s.
    pub fn failed(&self, activity: &'static str, error: &impl fmt::Display) {
        let now = Instant::now();
        let mut failing = self.failing();
        let failure = failing.entry(activity).or_insert_with(|| {
            tracing::warn!(activity, %error, "failed; it is repeated");
            Failure {
                error: String::new(),
                since: now,
                logged_at: now,
                suppressed: 0,
            }
        });
        failure.error = error.to_string();
        if now.saturating_duration_since(failure.logged_at) >= SILENCE {
            let (since, suppressed) = (failure.since.elapsed(), failure.suppressed);
            tracing::warn!(activity, %error, ?since, suppressed, "still fails; it is repeated");
            failure.logged_at = now;
            failure.suppressed = 0;
        } else {
            failure.suppressed += 1;
        }
    }

    /// Notes that an activity works.
    pub fn succeeded(&self, activity: &'static str) {
        if let Some(failure) = self.failing().remove(activity) {
            tracing::info!(activity, after = ?failure.since.elapsed(), "works again");
        }
    }

    /// Notes that an activity is no longer tried.
    pub fn ended(&self, activity: &'static str) {
        self.failing().remove(activity);
    }

    /// One sentence for each failing activity.
    pub fn problems(&self) -> Vec<String> {
        let failing = self.failing();
        let sentence = |(activity, failure): (&&str, &Failure)| {
            format!(
                "{activity} has been failing for {:.1} s: {}",
                failure.since.elapsed().as_secs_f64(),
                failure.error
            )
        };
        failing.iter().map(sentence).collect()
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<&'static str, Failure>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_shown_with_its_age_until_the_activity_works_again() {
        let health = Health::default();
        assert!(health.problems().is_empty());
        health.failed("renewing", &"no route");
        tokio::time::advance(Duration::from_secs(40)).await;
        health.failed("renewing", &"throttled");
        assert_eq!(
            health.problems(),
            ["renewing has been failing for 40.0 s: throttled"]
        );
        health.failed("scanning", &"denied");
        health.succeeded("renewing");
        assert_eq!(health.problems(), ["scanning has been failing for 0.0 s: denied"]);
        health.ended("scanning");
        assert!(health.problems().is_empty());
    }
}
