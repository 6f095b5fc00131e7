//! An account's commitment to pay for a minimum of throughput, which is what lets its streams be warm.

use std::time::Duration;

use super::Engine;
use super::error::EngineError;
use super::time::EpochMillis;

/// How long a commitment lasts at least.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_MinimumThroughputBillingCommitmentInput.html>
const COMMITMENT: Duration = Duration::from_secs(24 * 60 * 60);

/// An account's commitment to pay for a minimum of throughput.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Commitment {
    pub(crate) started: Option<EpochMillis>,
    /// When it ends, or has ended.
    ends: Option<EpochMillis>,
}

/// How a commitment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitmentStatus {
    Enabled,
    /// Ends as soon as it may.
    Ending,
    Disabled,
}

impl Commitment {
    pub(crate) fn status(self, now: EpochMillis) -> CommitmentStatus {
        match (self.started, self.ends) {
            (Some(_), None) => CommitmentStatus::Enabled,
            (Some(_), Some(ends)) if ends > now => CommitmentStatus::Ending,
            _ => CommitmentStatus::Disabled,
        }
    }

    /// When it ended.
    pub(crate) fn ended(self, now: EpochMillis) -> Option<EpochMillis> {
        self.ends.filter(|ends| *ends <= now)
    }

    /// The earliest time at which it may end, if it has not.
    pub(crate) fn earliest_end(self, now: EpochMillis) -> Option<EpochMillis> {
        let is_on = self.status(now) != CommitmentStatus::Disabled;
        self.started
            .filter(|_| is_on)
            .map(|started| started.plus(COMMITMENT))
    }

    /// Begins, or goes on although it was to end.
    fn enable(&mut self, now: EpochMillis) {
        if self.status(now) == CommitmentStatus::Disabled {
            self.started = Some(now);
        }
        self.ends = None;
    }

    /// Ends now, or as soon as it may.
    fn disable(&mut self, now: EpochMillis) {
        if self.status(now) == CommitmentStatus::Enabled {
            self.ends = self.earliest_end(now).map(|earliest| earliest.max(now));
        }
    }
}

impl Engine {
    /// How the account's commitment stands.
    pub(crate) fn commitment(&self) -> Commitment {
        self.commitment
    }

    /// Begins a commitment, or lets it end.
    pub(crate) fn commit(&mut self, is_on: bool, now: EpochMillis) -> Commitment {
        if is_on {
            self.commitment.enable(now);
        } else {
            self.commitment.disable(now);
        }
        self.commitment
    }

    pub(super) fn require_commitment(&self, now: EpochMillis) -> Result<(), EngineError> {
        match self.commitment.status(now) {
            CommitmentStatus::Enabled | CommitmentStatus::Ending => Ok(()),
            CommitmentStatus::Disabled => Err(EngineError::WrongMode(
                "Warm throughput is only for accounts that have MinimumThroughputBillingCommitment enabled."
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    fn at(millis: u64) -> EpochMillis {
        EpochMillis::new(1_700_000_000_000 + millis)
    }

    #[test]
    fn a_commitment_lasts_a_day_at_least() {
        let mut commitment = Commitment::default();
        assert_eq!(commitment.status(at(0)), CommitmentStatus::Disabled);
        commitment.enable(at(0));
        assert_eq!(commitment.earliest_end(at(0)), Some(at(DAY)));
        commitment.disable(at(10));
        assert_eq!(commitment.status(at(DAY - 1)), CommitmentStatus::Ending);
        assert_eq!(commitment.status(at(DAY)), CommitmentStatus::Disabled);
        assert_eq!(commitment.ended(at(DAY)), Some(at(DAY)));
        assert_eq!(commitment.earliest_end(at(DAY)), None);
    }

    #[test]
    fn an_end_that_has_not_come_can_be_taken_back() {
        let mut commitment = Commitment::default();
        commitment.enable(at(0));
        commitment.disable(at(10));
        commitment.enable(at(20));
        assert_eq!(commitment.status(at(2 * DAY)), CommitmentStatus::Enabled);
        assert_eq!(commitment.started, Some(at(0)));
        commitment.disable(at(2 * DAY));
        assert_eq!(
            commitment.ended(at(2 * DAY)),
            Some(at(2 * DAY)),
            "its day is over"
        );
        commitment.enable(at(3 * DAY));
        assert_eq!(commitment.started, Some(at(3 * DAY)));
    }
}
