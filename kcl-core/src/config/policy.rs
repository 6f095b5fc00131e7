//! What happens when a processor fails. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to do when [`process_records`](crate::RecordProcessor::process_records) keeps failing for one batch.
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// use std::{num::NonZeroU32, time::Duration};
/// use kcl_core::{FailurePolicy, SkipRule};
///
/// let rule = SkipRule::new(NonZeroU32::new(5).unwrap(), Duration::from_secs(60));
/// builder.failure_policy(FailurePolicy::SkipAfter(rule))
/// # }
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Repeat the call with growing pauses until it succeeds; nothing is ever skipped. The shard's status names the
    /// problem `processor-failing` meanwhile.
    #[default]
    RetryForever,
    /// Find the record at fault, and go on behind it. **That record is lost** to this application unless the processor put
    /// it somewhere; the log names it, and the shard's status counts it. See [`SkipRule`].
    SkipAfter(SkipRule),
}

/// When a record is at fault, and not what processes it.
///
/// A batch that failed [`attempts`](Self::new) times in a row is cut in halves, which are delivered in order, each as a batch
/// of its own; a half that fails is cut again, until what fails is one record alone. That one is skipped once it failed alone
///
/// - as many times in a row,
/// - for as long as [`time`](Self::new) says,
/// - and as many times again, each time after the record in front of it was processed, which is delivered again for this: alone,
///   in a batch of its own. (It is the nearest one that has no more than 64 KiB.)
///
/// The last condition tells a bad record from a sink that is away, for this shard or for all, or that fails now and then: nothing
/// is skipped then, however long it lasts. When the record in front fails too, attempts and time are counted anew. A bad record that has none in front
/// of it, such as the first one of a shard, is not skipped either, unless
/// [`even_unproven_after`](Self::even_unproven_after) says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipRule {
    attempts: NonZeroU32,
    #[serde(with = "humantime_serde")]
    time: Duration,
    #[serde(rename = "even_unproven_after", default, with = "humantime_serde")]
    unproven: Option<Duration>,
}

impl SkipRule {
    /// A record is skipped when it failed alone `attempts` times and for `time`, and the one in front of it does not.
    ///
    /// ```
    /// # use std::{num::NonZeroU32, time::Duration};
    /// # use kcl_core::{FailurePolicy, SkipRule};
    /// let five = NonZeroU32::new(5).unwrap();
    /// let policy = FailurePolicy::SkipAfter(SkipRule::new(five, Duration::from_secs(60)));
    /// ```
    pub fn new(attempts: NonZeroU32, time: Duration) -> Self {
        Self {
            attempts,
            time,
            unproven: None,
        }
    }

    /// Skips a record that failed alone for so long even if none in front of it can be processed. **An outage that lasts
    /// longer costs a record.** Default: never.
    #[must_use]
    pub fn even_unproven_after(mut self, time: Duration) -> Self {
        self.unproven = Some(time);
        self
    }
}

/// A call of the processor that failed, and what is known around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) call: FailedCall,
    /// Failed calls in a row, with just the same records.
    pub(crate) attempts: u32,
    /// Since the first of them.
    pub(crate) lasted: Duration,
}

/// Which call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedCall {
    Initialize,
    ProcessRecords(Piece),
    ShardEnded,
}

/// The records of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) records: usize,
    /// Whether they are a piece of a batch that failed.
    pub(crate) is_cut: bool,
    /// For how long calls with them have failed, those before a record in front failed included.
    pub(crate) lasted_in_all: Duration,
    /// How often the record in front was processed again since, and this one failed after it.
    pub(crate) proofs: u32,
    /// Whether there is one.
    pub(crate) has_probe: bool,
}

/// What to do about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The same again.
    Repeat,
    /// The same again: the record failed long enough, but nothing shows that it is the record.
    AwaitProof,
    /// Deliver the record in front once more, and then the same again.
    Probe,
    /// The same after a pause: it may have been an accident.
    ProbeAgain,
    /// Deliver the halves, each for itself.
    Halve,
    /// Go on behind it.
    Skip,
}

impl FailurePolicy {
    /// The one place that is asked what to do with a failed call.
    pub(crate) fn react(&self, failure: &Failure) -> Reaction {
        let (Self::SkipAfter(rule), FailedCall::ProcessRecords(piece)) = (self, failure.call) else {
            return Reaction::Repeat;
        };
        let is_tried = failure.attempts >= rule.attempts.get();
        if piece.records > 1 {
            return if piece.is_cut || is_tried {
                Reaction::Halve
            } else {
                Reaction::Repeat
            };
        }
        let is_hopeless = rule.unproven.is_some_and(|time| piece.lasted_in_all >= time);
        match is_tried && failure.lasted >= rule.time {
            _ if is_hopeless => Reaction::Skip,
            false => Reaction::Repeat,
            true if piece.proofs >= rule.attempts.get() => Reaction::Skip,
            true if !piece.has_probe => Reaction::AwaitProof,
            true if piece.proofs == 0 => Reaction::Probe,
            true => Reaction::ProbeAgain,
        }
    }

    /// Durations that make no sense.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::SkipAfter(SkipRule {
                time,
                unproven: Some(unproven),
                ..
            }) if unproven < time => Some(format!(
                "failure_policy skips unproven records after {unproven:?}, before others ({time:?}); make it longer or leave it out"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn three() -> SkipRule {
        SkipRule::new(NonZeroU32::new(3).expect("not zero"), MINUTE)
    }

    /// One record that failed alone often enough, long enough, while others did not.
    const AT_FAULT: Piece = Piece {
        records: 1,
        is_cut: true,
        lasted_in_all: MINUTE,
        proofs: 3,
        has_probe: true,
    };

    /// What the policy says of a piece that failed so often in a row, for so long.
    fn reaction(policy: &FailurePolicy, piece: Piece, attempts: u32, lasted: Duration) -> Reaction {
        policy.react(&Failure {
            call: FailedCall::ProcessRecords(piece),
            attempts,
            lasted,
        })
    }

    #[test]
    fn a_record_is_skipped_when_it_failed_alone_often_and_long_enough_while_others_did_not() {
        let policy = FailurePolicy::SkipAfter(three());
        assert_eq!(reaction(&policy, AT_FAULT, 3, MINUTE), Reaction::Skip);
        assert_eq!(reaction(&policy, AT_FAULT, 2, MINUTE), Reaction::Repeat);
        let almost = MINUTE - Duration::from_millis(1);
        assert_eq!(reaction(&policy, AT_FAULT, 3, almost), Reaction::Repeat);
        for (lacking, expected) in [
            (
                Piece {
                    proofs: 0,
                    ..AT_FAULT
                },
                Reaction::Probe,
            ),
            (
                Piece {
                    proofs: 2,
                    ..AT_FAULT
                },
                Reaction::ProbeAgain,
            ),
            (
                Piece {
                    records: 2,
                    ..AT_FAULT
                },
                Reaction::Halve,
            ),
        ] {
            assert_eq!(reaction(&policy, lacking, 3, MINUTE), expected, "{lacking:?}");
        }
        let unproven = Piece {
            proofs: 0,
            has_probe: false,
            lasted_in_all: MINUTE * 10_000,
            ..AT_FAULT
        };
        assert_eq!(
            reaction(&policy, unproven, 10_000, MINUTE * 10_000),
            Reaction::AwaitProof
        );
    }

    #[test]
    fn a_batch_is_cut_when_it_failed_often_enough_and_its_pieces_at_once() {
        let policy = FailurePolicy::SkipAfter(three());
        let whole = Piece {
            records: 100,
            is_cut: false,
            lasted_in_all: Duration::ZERO,
            proofs: 0,
            has_probe: true,
        };
        assert_eq!(reaction(&policy, whole, 1, Duration::ZERO), Reaction::Repeat);
        assert_eq!(reaction(&policy, whole, 3, Duration::ZERO), Reaction::Halve);
        let cut = Piece {
            is_cut: true,
            ..whole
        };
        assert_eq!(reaction(&policy, cut, 1, Duration::ZERO), Reaction::Halve);
    }

    #[test]
    fn without_a_rule_the_batch_is_repeated_as_it_is() {
        let batch = Piece {
            records: 10_000,
            ..AT_FAULT
        };
        for piece in [AT_FAULT, batch] {
            let said = reaction(&FailurePolicy::RetryForever, piece, 3, MINUTE);
            assert_eq!(said, Reaction::Repeat);
        }
    }

    #[test]
    fn a_call_that_is_not_about_records_is_repeated_whatever_the_policy() {
        for call in [FailedCall::Initialize, FailedCall::ShardEnded] {
            let failure = Failure {
                call,
                attempts: 10_000,
                lasted: MINUTE * 10_000,
            };
            let hasty = FailurePolicy::SkipAfter(three().even_unproven_after(MINUTE));
            for policy in [FailurePolicy::RetryForever, hasty] {
                assert_eq!(policy.react(&failure), Reaction::Repeat);
            }
        }
    }

    #[test]
    fn without_proof_only_a_stated_time_skips() {
        let policy = FailurePolicy::SkipAfter(three().even_unproven_after(MINUTE * 60));
        let unproven = Piece {
            proofs: 0,
            has_probe: false,
            ..AT_FAULT
        };
        assert_eq!(reaction(&policy, unproven, 3, MINUTE), Reaction::AwaitProof);
        let for_an_hour = Piece {
            lasted_in_all: MINUTE * 60,
            ..unproven
        };
        assert_eq!(reaction(&policy, for_an_hour, 3, MINUTE), Reaction::Skip);
        assert_eq!(policy.problem(), None);
        let hasty = FailurePolicy::SkipAfter(three().even_unproven_after(MINUTE / 2));
        assert!(hasty.problem().is_some());
    }
}
