//! What a checkpoint may be. Pure.

use kcl_lease::{Checkpoint, ExtendedSequenceNumber};

use crate::begin::Begin;

/// A position that may not be checkpointed.
///
/// ```
/// use kcl_core::testing::{self, TestShard};
/// use kcl_core::CheckpointError;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let shard = TestShard::new().await;
/// let record = testing::record("a").build(); // which was not delivered
/// match shard.checkpointer().checkpoint_at(&record).await {
///     Err(CheckpointError::OutOfRange(error)) => assert_eq!(error.to.to_string(), "TRIM_HORIZON"),
///     other => panic!("{other:?}"),
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot checkpoint at {requested}: allowed are delivered records from {from} to {to}")]
#[non_exhaustive]
pub struct OutOfRange {
    /// The position asked for.
    pub requested: Checkpoint,
    /// The last checkpoint.
    pub from: Checkpoint,
    /// The last delivered record; equal to `from` when nothing was delivered since.
    pub to: Checkpoint,
}

/// Where one shard's processing stands.
#[derive(Debug)]
pub(crate) struct CheckpointRules {
    /// Written to the lease.
    last: Checkpoint,
    /// The greatest position ever handed to the processor.
    delivered: Checkpoint,
    /// The greatest position of batches that the processor is done with.
    processed: Checkpoint,
    /// The end of the batch that was handed to the processor last. It lies before `delivered` where a batch that failed is
    /// delivered in pieces.
    at_hand: Checkpoint,
    /// Whether the processor is working on a batch right now.
    in_batch: bool,
    /// Where the processor said that delivery begins, and the checkpoint that was behind it.
    repeats: Option<(Checkpoint, Checkpoint)>,
    /// The lease table did not take a checkpoint since the present call began.
    was_refused: bool,
    #[cfg(feature = "testing")]
    all_written: Vec<String>,
}

impl CheckpointRules {
    /// `pending` was prepared by a former processor, and so it was delivered to that.
    pub(crate) fn new(start: Checkpoint, pending: Option<Checkpoint>) -> Self {
        Self {
            last: start.clone(),
            delivered: pending.map_or(start.clone(), |pending| pending.max(start.clone())),
            at_hand: start.clone(),
            processed: start,
            in_batch: false,
            repeats: None,
            was_refused: false,
            #[cfg(feature = "testing")]
            all_written: Vec::new(),
        }
    }

    /// The processor is initialized, and delivery begins.
    pub(crate) fn begin(&mut self, begin: &Begin) -> Checkpoint {
        self.processed = match begin {
            Begin::AtCheckpoint => self.last.clone(),
            Begin::Behind(position) => {
                let own = Checkpoint::At(position.clone());
                self.repeats = (own < self.last).then(|| (own.clone(), self.last.clone()));
                self.delivered = self.delivered.clone().max(own.clone());
                own
            }
        };
        self.at_hand = self.processed.clone();
        self.processed.clone()
    }

    /// The processor is called.
    pub(crate) fn call_begins(&mut self) {
        self.was_refused = false;
    }

    /// The lease table does not take a checkpoint.
    pub(crate) fn refused(&mut self) {
        self.was_refused = true;
    }

    /// Whether a checkpoint could not be written since the present call began: if that fails, it is not for its records.
    pub(crate) fn was_refused(&self) -> bool {
        self.was_refused
    }

    /// A batch that ends at `end` (`None`: an empty one) is handed to the processor, for the first time or again.
    pub(crate) fn batch_begins(&mut self, end: Option<&ExtendedSequenceNumber>) {
        self.at_hand = match end {
            Some(end) => Checkpoint::At(end.clone()),
            None => self.processed.clone(),
        };
        self.delivered = self.delivered.clone().max(self.at_hand.clone());
        self.in_batch = true;
    }

    /// The call returned. Only a success counts as processed.
    pub(crate) fn batch_ends(&mut self, success: bool) {
        if success {
            self.processed = self.processed.clone().max(self.at_hand.clone());
        }
        self.in_batch = false;
    }

    /// The call failed, but everything up to this position is done.
    pub(crate) fn is_done_up_to(&mut self, position: &ExtendedSequenceNumber) {
        self.processed = self.processed.clone().max(Checkpoint::At(position.clone()));
    }

    pub(crate) fn last(&self) -> &Checkpoint {
        &self.last
    }

    /// The greatest position of batches that the processor is done with.
    pub(crate) fn processed(&self) -> &Checkpoint {
        &self.processed
    }

    /// The position of a checkpoint that names none: the end of the batch at hand, else of what was processed.
    pub(crate) fn implied(&self) -> Checkpoint {
        let end = if self.in_batch {
            &self.at_hand
        } else {
            &self.processed
        };
        end.max(&self.last).clone()
    }

    /// Whether a checkpoint at `target` has to be written; false where the last one is.
    pub(crate) fn is_due(&self, target: &Checkpoint) -> Result<bool, Box<OutOfRange>> {
        let is_repeated = |(own, last): &(Checkpoint, Checkpoint)| own <= target && target <= last;
        if *target == self.last || self.repeats.as_ref().is_some_and(is_repeated) {
            return Ok(false);
        }
        let is_position = matches!(target, Checkpoint::At(_));
        if !is_position || *target < self.last || *target > self.delivered {
            return Err(Box::new(OutOfRange {
                requested: target.clone(),
                from: self.last.clone(),
                to: self.delivered.clone(),
            }));
        }
        Ok(true)
    }

    /// The lease now stores this checkpoint.
    pub(crate) fn written(&mut self, checkpoint: Checkpoint) {
        #[cfg(feature = "testing")]
        self.all_written.push(checkpoint.to_string());
        self.last = checkpoint;
    }

    /// Everything that was written, in order.
    #[cfg(feature = "testing")]
    pub(crate) fn all_written(&self) -> &[String] {
        &self.all_written
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(sequence: u64, sub: u64) -> Checkpoint {
        Checkpoint::parse(sequence.to_string(), sub).expect("valid")
    }

    fn position(sequence: u64) -> ExtendedSequenceNumber {
        match at(sequence, 0) {
            Checkpoint::At(position) => position,
            _ => unreachable!(),
        }
    }

    /// A shard whose last checkpoint is 10, and which was delivered a batch that ends at 20.
    fn in_batch() -> CheckpointRules {
        let mut rules = CheckpointRules::new(at(10, 0), None);
        rules.batch_begins(Some(&position(20)));
        rules
    }

    #[test]
    fn a_processor_that_begins_before_the_checkpoint_repeats_without_writing_and_goes_on() {
        let mut rules = CheckpointRules::new(at(10, 0), None);
        assert_eq!(rules.begin(&Begin::Behind(position(5))), at(5, 0));
        assert_eq!(rules.implied(), at(10, 0));
        rules.batch_begins(Some(&position(12)));
        assert_eq!(rules.is_due(&at(7, 0)), Ok(false));
        assert_eq!(rules.is_due(&at(10, 0)), Ok(false));
        assert!(rules.is_due(&at(4, 0)).is_err(), "that was not delivered");
        assert_eq!(rules.is_due(&at(12, 0)), Ok(true));
        rules.written(at(12, 0));
        assert!(rules.is_due(&at(11, 0)).is_err(), "it never moves back");
    }

    #[test]
    fn a_processor_that_begins_behind_the_checkpoint_may_checkpoint_there_at_once() {
        let mut rules = CheckpointRules::new(at(10, 0), None);
        assert_eq!(rules.begin(&Begin::Behind(position(15))), at(15, 0));
        assert_eq!(rules.implied(), at(15, 0));
        assert_eq!(rules.is_due(&at(15, 0)), Ok(true));
        assert!(rules.is_due(&at(16, 0)).is_err(), "that was not delivered");
    }

    #[test]
    fn what_was_prepared_may_be_committed_before_the_first_batch_and_delivery_begins_behind_it() {
        let mut rules = CheckpointRules::new(at(10, 0), Some(at(20, 0)));
        assert_eq!(rules.implied(), at(10, 0), "only where it is named");
        assert_eq!(rules.is_due(&at(20, 0)), Ok(true));
        rules.written(at(20, 0));
        assert_eq!(rules.begin(&Begin::AtCheckpoint), at(20, 0));
        assert_eq!(rules.processed(), &at(20, 0));
    }

    #[test]
    fn inside_a_batch_its_end_is_implied() {
        assert_eq!(in_batch().implied(), at(20, 0));
    }

    #[test]
    fn outside_of_a_batch_only_what_succeeded_is_implied() {
        let mut rules = in_batch();
        rules.batch_ends(false);
        assert_eq!(rules.implied(), at(10, 0), "the batch failed");
        rules.batch_begins(Some(&position(20)));
        rules.batch_ends(true);
        assert_eq!(
            rules.implied(),
            at(20, 0),
            "the batch succeeded at its second attempt"
        );
    }

    #[test]
    fn a_checkpoint_inside_a_failed_batch_is_not_taken_back() {
        let mut rules = in_batch();
        rules.written(at(15, 0));
        rules.batch_ends(false);
        assert_eq!(rules.implied(), at(15, 0));
        assert_eq!(rules.is_due(&rules.implied()), Ok(false));
    }

    #[test]
    fn a_position_lies_between_the_last_checkpoint_and_the_last_delivered_record() {
        let rules = in_batch();
        for (target, due) in [
            (at(10, 0), Ok(false)),
            (at(10, 1), Ok(true)),
            (at(20, 0), Ok(true)),
            (at(9, 0), Err(())),
            (at(20, 1), Err(())),
            (at(21, 0), Err(())),
            (Checkpoint::TrimHorizon, Err(())),
            (Checkpoint::ShardEnd, Err(())),
        ] {
            assert_eq!(rules.is_due(&target).map_err(|_| ()), due, "{target}");
        }
    }

    #[test]
    fn in_a_piece_of_a_batch_that_failed_the_end_of_the_piece_is_implied() {
        let mut rules = in_batch();
        rules.batch_ends(false);
        rules.batch_begins(Some(&position(15)));
        assert_eq!(rules.implied(), at(15, 0));
        rules.batch_ends(true);
        assert_eq!(
            rules.implied(),
            at(15, 0),
            "the rest was delivered, but not processed"
        );
        rules.batch_begins(Some(&position(20)));
        rules.batch_ends(false);
        assert_eq!((rules.implied(), rules.processed()), (at(15, 0), &at(15, 0)));
    }

    #[test]
    fn an_error_says_which_range_is_allowed() {
        let error = in_batch().is_due(&at(21, 0)).expect_err("not delivered");
        assert_eq!(
            error.to_string(),
            "cannot checkpoint at 21: allowed are delivered records from 10 to 20"
        );
    }

    #[test]
    fn before_the_first_record_there_is_nothing_to_write() {
        let mut rules = CheckpointRules::new(Checkpoint::TrimHorizon, None);
        assert_eq!(rules.is_due(&rules.implied()), Ok(false));
        rules.batch_begins(None);
        assert_eq!(
            rules.is_due(&rules.implied()),
            Ok(false),
            "an empty batch moves nothing"
        );
    }

    proptest! {
        #[test]
        fn checkpoints_never_move_backwards_or_pass_what_was_delivered(
            steps in proptest::collection::vec((0u8..4, 0u64..60), 1..60),
        ) {
            let mut rules = CheckpointRules::new(Checkpoint::Latest, None);
            let (mut delivered, mut last) = (0, None);
            for (step, number) in steps {
                match step {
                    0 => { rules.batch_begins(Some(&position(number))); delivered = delivered.max(number); }
                    1 => rules.batch_ends(number % 2 == 0),
                    _ => {
                        let target = if step == 2 { rules.implied() } else { at(number, 0) };
                        if rules.is_due(&target) == Ok(true) {
                            prop_assert!(Some(&target) > last.as_ref() && target <= at(delivered, 0));
                            rules.written(target.clone());
                            last = Some(target);
                        }
                    }
                }
            }
        }
    }
}
