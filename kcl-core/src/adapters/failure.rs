//! A record whose handler failed.

use kcl_lease::Environment;
use tokio::time::Instant;

use crate::config::{FailedCall, Failure, FailurePolicy, Piece};
use crate::retry::Retry;

/// The failures of one record so far.
#[derive(Debug)]
pub(super) struct Failures {
    retry: Retry,
    since: Instant,
    /// How many records of the shard were done when it failed last.
    done: u64,
    /// How often it failed again after others went through: that shows that it is the record, and not what handles it.
    proofs: u32,
}

impl Failures {
    pub(super) fn new(env: Environment, policy: &FailurePolicy) -> Self {
        Self {
            retry: Retry::new(env, policy.first_pause(), policy.longest_pause()),
            since: Instant::now(),
            done: u64::MAX,
            proofs: 0,
        }
    }

    /// One more, when so many records of the shard are done; and the pause before it may be repeated.
    pub(super) fn add(&mut self, done: u64) -> (Failure, std::time::Duration) {
        let pause = self.retry.pause();
        self.proofs += u32::from(done > self.done);
        self.done = done;
        let lasted = self.since.elapsed();
        let failure = Failure {
            call: FailedCall::ProcessRecords(Piece {
                records: 1,
                is_cut: false,
                lasted_in_all: lasted,
                proofs: self.proofs,
                has_probe: true,
            }),
            attempts: self.retry.attempts(),
            lasted,
        };
        (failure, pause)
    }

    /// How many there were.
    pub(super) fn attempts(&self) -> u32 {
        self.retry.attempts()
    }

    /// Whether others went through meanwhile.
    pub(super) fn is_proven(&self) -> bool {
        self.proofs > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_as_proof_when_another_record_went_through_since_the_one_before() {
        let env = Environment::seeded(1, || std::time::UNIX_EPOCH);
        let mut failures = Failures::new(env, &FailurePolicy::default());
        let mut proofs = |done| match failures.add(done).0 {
            Failure {
                call: FailedCall::ProcessRecords(piece),
                ..
            } => piece.proofs,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [proofs(7), proofs(7), proofs(9), proofs(9), proofs(10)],
            [0, 0, 1, 1, 2]
        );
    }
}
