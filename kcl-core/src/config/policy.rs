//! What happens when a processor fails. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What to do when [`process_records`](crate::RecordProcessor::process_records) keeps failing.
///
/// A call that fails is repeated with the same records, after growing pauses. What happens when that does not help is put together from
/// parts: how often and for how long it is tried ([`after`](Self::after)), whether a batch is cut to find the record at fault
/// ([`bisect`](Self::bisect)), and what becomes of it then ([`LastResort`]).
///
/// ```no_run
/// # fn configure(builder: kcl_core::WorkerBuilder) -> kcl_core::WorkerBuilder {
/// use std::{num::NonZeroU32, time::Duration};
/// use kcl_core::dead_letters::JsonLines;
/// use kcl_core::{FailurePolicy, LastResort};
///
/// let five = NonZeroU32::new(5).unwrap();
/// builder
///     .failure_policy(FailurePolicy::after(five, Duration::from_secs(60)).then(LastResort::DeadLetter))
///     .dead_letters(JsonLines::new("/var/lib/my-app/dead-letters.jsonl"))
/// # }
/// ```
///
/// # When a record is at fault, and not what processes it
///
/// A record is skipped or becomes a dead letter when it failed often and long enough, and then as many times again, each time after
/// the record in front of it was processed, which is delivered once more for this: alone, in a batch of its own. (It is the nearest one
/// that has no more than 64 KiB.) This tells a bad record from a sink that is away, for this shard or for all, or that fails now and
/// then: nothing is given up then, however long it lasts. When the record in front fails too, attempts and time are counted anew. A bad
/// record that has none in front of it, such as the first one of a shard, is not given up either, unless
/// [`even_unproven_after`](Self::even_unproven_after) says so. A batch that is not to be cut is judged in the same way, as a whole.
/// With [`each_record`](crate::each_record), other records that go through show the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailurePolicy {
    attempts: NonZeroU32,
    #[serde(with = "humantime_serde")]
    time: Duration,
    bisect: Option<bool>,
    then: LastResort,
    #[serde(rename = "even_unproven_after", with = "humantime_serde")]
    unproven: Option<Duration>,
    #[serde(with = "humantime_serde")]
    first_pause: Duration,
    #[serde(with = "humantime_serde")]
    longest_pause: Duration,
}

/// What becomes of records that failed often and long enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LastResort {
    /// They are tried for ever. Nothing is given up. The shard's status names the problem `processor-failing` meanwhile.
    #[default]
    Repeat,
    /// They are skipped. **They are lost** to this application unless the processor put them somewhere; the log names the first of
    /// them, and the shard's status counts them.
    Skip,
    /// They are written to the [dead letters](crate::WorkerBuilder::dead_letters), and the shard goes on behind them. If they cannot
    /// be written, they are tried again.
    DeadLetter,
    /// Another worker is to try, if there is one that has not failed with the shard. They are tried here until it takes over.
    Release,
    /// The worker stops: other shards are drained, and [`run`](crate::Worker::run) returns
    /// [`Error::Processor`](crate::Error::Processor). What failed is not tried again meanwhile.
    Stop,
}

impl Default for FailurePolicy {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::MIN.saturating_add(4),
            time: Duration::from_secs(60),
            bisect: None,
            then: LastResort::Repeat,
            unproven: None,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }
}

impl FailurePolicy {
    /// Repeats for ever, and gives nothing up. The default.
    #[must_use]
    pub fn retry_forever() -> Self {
        Self::default()
    }

    /// Resorts to something else once the same records failed `attempts` times in a row, and for `time`. What that is,
    /// [`then`](Self::then) says. Where a configuration leaves them out: five times, and a minute.
    #[must_use]
    pub fn after(attempts: NonZeroU32, time: Duration) -> Self {
        Self {
            attempts,
            time,
            ..Self::default()
        }
    }

    /// What becomes of records that failed often and long enough. Default: they are tried for ever.
    #[must_use]
    pub fn then(mut self, resort: LastResort) -> Self {
        self.then = resort;
        self
    }

    /// Whether a batch that failed often enough is cut in halves, which are delivered in order, each as a batch of its own; a half that
    /// fails is cut again, until what fails is one record alone. Where the processor names the record at fault
    /// ([`ProcessorError::at`](crate::ProcessorError::at)), it is cut there. Default: yes if records are skipped or become dead letters,
    /// no otherwise.
    #[must_use]
    pub fn bisect(mut self, bisect: bool) -> Self {
        self.bisect = Some(bisect);
        self
    }

    /// Gives up what failed for so long even if nothing in front of it can be processed. **An outage that lasts longer costs
    /// records**, or makes them dead letters. Default: never.
    #[must_use]
    pub fn even_unproven_after(mut self, time: Duration) -> Self {
        self.unproven = Some(time);
        self
    }

    /// The pause before the first repetition, and the longest one; in between each is about twice as long as the one before. Default:
    /// 100 ms, and 10 s.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }

    pub(crate) fn first_pause(&self) -> Duration {
        self.first_pause
    }

    pub(crate) fn longest_pause(&self) -> Duration {
        self.longest_pause
    }

    /// Whether records can become dead letters.
    pub(crate) fn writes_dead_letters(&self) -> bool {
        self.then == LastResort::DeadLetter
    }

    fn bisects(&self) -> bool {
        let is_given_up = matches!(self.then, LastResort::Skip | LastResort::DeadLetter);
        self.bisect.unwrap_or(is_given_up)
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
    /// The same again: they failed long enough, but nothing shows that it is them.
    AwaitProof,
    /// Deliver the record in front once more, and then the same again.
    Probe,
    /// The same after a pause: it may have been an accident.
    ProbeAgain,
    /// Deliver the halves, each for itself.
    Halve,
    /// Go on behind them.
    Skip,
    /// Write them to the dead letters, and go on behind them.
    DeadLetter,
    /// The same again, and have another worker try.
    Release,
    /// Stop the worker.
    Stop,
}

impl FailurePolicy {
    /// The one place that is asked what to do with a failed call.
    pub(crate) fn react(&self, failure: &Failure) -> Reaction {
        let is_tried = failure.attempts >= self.attempts.get();
        let is_over = is_tried && failure.lasted >= self.time;
        let FailedCall::ProcessRecords(piece) = failure.call else {
            return match self.then {
                LastResort::Release if is_over => Reaction::Release,
                LastResort::Stop if is_over => Reaction::Stop,
                _ => Reaction::Repeat,
            };
        };
        if piece.records > 1 && self.bisects() {
            return if piece.is_cut || is_tried {
                Reaction::Halve
            } else {
                Reaction::Repeat
            };
        }
        let given_up = match self.then {
            LastResort::Repeat => return Reaction::Repeat,
            LastResort::Release if is_over => return Reaction::Release,
            LastResort::Stop if is_over => return Reaction::Stop,
            LastResort::Release | LastResort::Stop => return Reaction::Repeat,
            LastResort::Skip => Reaction::Skip,
            LastResort::DeadLetter => Reaction::DeadLetter,
        };
        let is_hopeless = self.unproven.is_some_and(|time| piece.lasted_in_all >= time);
        match is_over {
            _ if is_hopeless => given_up,
            false => Reaction::Repeat,
            true if piece.proofs >= self.attempts.get() => given_up,
            true if !piece.has_probe => Reaction::AwaitProof,
            true if piece.proofs == 0 => Reaction::Probe,
            true => Reaction::ProbeAgain,
        }
    }

    /// Durations that make no sense.
    pub(crate) fn problem(&self) -> Option<String> {
        let (first, longest) = (self.first_pause, self.longest_pause);
        match self.unproven {
            Some(unproven) if unproven < self.time => Some(format!(
                "failure_policy gives up unproven records after {unproven:?}, before others ({:?}); make it longer or leave it out",
                self.time
            )),
            _ if first.is_zero() || first > longest => Some(format!(
                "failure_policy pauses for {first:?} at first and {longest:?} at most; make the first one longer than nothing, and no \
                 longer than the longest"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn three() -> FailurePolicy {
        FailurePolicy::after(NonZeroU32::new(3).expect("not zero"), MINUTE)
    }

    fn skipping() -> FailurePolicy {
        three().then(LastResort::Skip)
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
        let policy = skipping();
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
        let policy = skipping();
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
            let said = reaction(&FailurePolicy::retry_forever(), piece, 3, MINUTE);
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
            let hasty = skipping().even_unproven_after(MINUTE);
            for policy in [FailurePolicy::retry_forever(), hasty] {
                assert_eq!(policy.react(&failure), Reaction::Repeat);
            }
        }
    }

    #[test]
    fn what_becomes_of_records_at_fault_is_a_choice() {
        for (resort, expected) in [
            (LastResort::Repeat, Reaction::Repeat),
            (LastResort::Skip, Reaction::Skip),
            (LastResort::DeadLetter, Reaction::DeadLetter),
            (LastResort::Release, Reaction::Release),
            (LastResort::Stop, Reaction::Stop),
        ] {
            let policy = three().then(resort);
            assert_eq!(reaction(&policy, AT_FAULT, 3, MINUTE), expected);
            assert_eq!(
                reaction(&policy, AT_FAULT, 2, MINUTE),
                Reaction::Repeat,
                "{resort:?}"
            );
        }
    }

    #[test]
    fn a_batch_may_be_left_whole_or_cut_whatever_becomes_of_it() {
        let batch = Piece {
            records: 100,
            is_cut: false,
            ..AT_FAULT
        };
        assert_eq!(
            reaction(&skipping().bisect(false), batch, 3, MINUTE),
            Reaction::Skip
        );
        assert_eq!(reaction(&three().bisect(true), batch, 3, MINUTE), Reaction::Halve);
        for resort in [LastResort::Release, LastResort::Stop] {
            let policy = three().then(resort);
            assert_ne!(reaction(&policy, batch, 3, MINUTE), Reaction::Halve);
            assert_eq!(reaction(&policy.bisect(true), batch, 3, MINUTE), Reaction::Halve);
        }
    }

    #[test]
    fn other_calls_are_given_to_another_worker_or_stop_this_one_and_nothing_else() {
        let failure = Failure {
            call: FailedCall::Initialize,
            attempts: 3,
            lasted: MINUTE,
        };
        let react = |resort| three().then(resort).react(&failure);
        assert_eq!(react(LastResort::Release), Reaction::Release);
        assert_eq!(react(LastResort::Stop), Reaction::Stop);
        assert_eq!(react(LastResort::DeadLetter), Reaction::Repeat);
    }

    #[test]
    fn pauses_that_make_no_sense_are_told() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(1));
        assert_eq!(three().pauses(short, long).problem(), None);
        assert!(three().pauses(long, short).problem().is_some());
        assert!(three().pauses(Duration::ZERO, long).problem().is_some());
    }

    #[test]
    fn without_proof_only_a_stated_time_skips() {
        let policy = skipping().even_unproven_after(MINUTE * 60);
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
        let hasty = skipping().even_unproven_after(MINUTE / 2);
        assert!(hasty.problem().is_some());
    }
}
