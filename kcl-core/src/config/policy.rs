//! What happens when a processor fails. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

/// What to do when [`process_records`](crate::RecordProcessor::process_records) keeps failing for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkipRule {
    attempts: NonZeroU32,
    time: Duration,
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

/// A call of `process_records` that failed, and what is known around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Records of the call.
    pub(crate) records: usize,
    /// Whether they are a piece of a batch that failed.
    pub(crate) is_cut: bool,
    /// Failed calls with just these records, in a row.
    pub(crate) attempts: u32,
    /// Since the first of them.
    pub(crate) lasted: Duration,
    /// The same, but for those before a record in front failed, too.
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
    pub(crate) fn react(self, failure: &Failure) -> Reaction {
        let Self::SkipAfter(rule) = self else {
            return Reaction::Repeat;
        };
        let is_tried = failure.attempts >= rule.attempts.get();
        if failure.records > 1 {
            return if failure.is_cut || is_tried {
                Reaction::Halve
            } else {
                Reaction::Repeat
            };
        }
        let is_hopeless = rule.unproven.is_some_and(|time| failure.lasted_in_all >= time);
        match is_tried && failure.lasted >= rule.time {
            _ if is_hopeless => Reaction::Skip,
            false => Reaction::Repeat,
            true if failure.proofs >= rule.attempts.get() => Reaction::Skip,
            true if !failure.has_probe => Reaction::AwaitProof,
            true if failure.proofs == 0 => Reaction::Probe,
            true => Reaction::ProbeAgain,
        }
    }

    /// Durations that make no sense.
    pub(crate) fn problem(self) -> Option<String> {
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
    const AT_FAULT: Failure = Failure {
        records: 1,
        is_cut: true,
        attempts: 3,
        lasted: MINUTE,
        lasted_in_all: MINUTE,
        proofs: 3,
        has_probe: true,
    };

    #[test]
    fn a_record_is_skipped_when_it_failed_alone_often_and_long_enough_while_others_did_not() {
        let policy = FailurePolicy::SkipAfter(three());
        assert_eq!(policy.react(&AT_FAULT), Reaction::Skip);
        for (lacking, reaction) in [
            (
                Failure {
                    attempts: 2,
                    ..AT_FAULT
                },
                Reaction::Repeat,
            ),
            (
                Failure {
                    lasted: MINUTE - Duration::from_millis(1),
                    ..AT_FAULT
                },
                Reaction::Repeat,
            ),
            (
                Failure {
                    proofs: 0,
                    ..AT_FAULT
                },
                Reaction::Probe,
            ),
            (
                Failure {
                    proofs: 2,
                    ..AT_FAULT
                },
                Reaction::ProbeAgain,
            ),
            (
                Failure {
                    proofs: 0,
                    has_probe: false,
                    attempts: 10_000,
                    lasted: MINUTE * 10_000,
                    lasted_in_all: MINUTE * 10_000,
                    ..AT_FAULT
                },
                Reaction::AwaitProof,
            ),
            (
                Failure {
                    records: 2,
                    ..AT_FAULT
                },
                Reaction::Halve,
            ),
        ] {
            assert_eq!(policy.react(&lacking), reaction, "{lacking:?}");
        }
    }

    #[test]
    fn a_batch_is_cut_when_it_failed_often_enough_and_its_pieces_at_once() {
        let policy = FailurePolicy::SkipAfter(three());
        let first = Failure {
            records: 100,
            is_cut: false,
            attempts: 1,
            lasted: Duration::ZERO,
            lasted_in_all: Duration::ZERO,
            proofs: 0,
            has_probe: true,
        };
        assert_eq!(policy.react(&first), Reaction::Repeat);
        assert_eq!(policy.react(&Failure { attempts: 3, ..first }), Reaction::Halve);
        assert_eq!(
            policy.react(&Failure {
                is_cut: true,
                ..first
            }),
            Reaction::Halve
        );
    }

    #[test]
    fn without_a_rule_the_batch_is_repeated_as_it_is() {
        assert_eq!(FailurePolicy::RetryForever.react(&AT_FAULT), Reaction::Repeat);
        let batch = Failure {
            records: 10_000,
            ..AT_FAULT
        };
        assert_eq!(FailurePolicy::RetryForever.react(&batch), Reaction::Repeat);
    }

    #[test]
    fn without_proof_only_a_stated_time_skips() {
        let policy = FailurePolicy::SkipAfter(three().even_unproven_after(MINUTE * 60));
        let unproven = Failure {
            proofs: 0,
            has_probe: false,
            ..AT_FAULT
        };
        assert_eq!(policy.react(&unproven), Reaction::AwaitProof);
        let for_an_hour = Failure {
            lasted_in_all: MINUTE * 60,
            ..unproven
        };
        assert_eq!(policy.react(&for_an_hour), Reaction::Skip);
        assert_eq!(policy.problem(), None);
        let hasty = FailurePolicy::SkipAfter(three().even_unproven_after(MINUTE / 2));
        assert!(hasty.problem().is_some());
    }
}
