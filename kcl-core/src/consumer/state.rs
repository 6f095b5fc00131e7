//! The life of one shard's consumer as a state machine: events in, the next step out. Pure.
//!
//! ```text
//! waiting on parents -> initializing -> processing -> ending the shard -> done
//!                                           |
//!                                       draining -> done                (loss: done, from anywhere)
//! ```

use kcl_lease::LossReason;

/// What to do next. Exactly one step is under way at any time, and answered by exactly one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Wait until the parents' leases are ended or gone. Interruptible.
    AwaitParents,
    /// Make the processor and call `initialize`.
    Initialize,
    /// Wait for the next batch. Interruptible.
    AwaitBatch,
    /// Call `process_records` with the batch that arrived, or with what is left of it.
    Process,
    /// Wait before the failed step is repeated. Interruptible.
    Pause,
    /// Call `shard_ended`.
    EndShard,
    /// Create the leases of the shards that follow.
    CreateChildren,
    /// Write children and SHARD_END to the lease.
    RecordEnd,
    /// Call `shutdown_requested`.
    RequestShutdown,
    /// Give the lease up. Nobody needs to own the lease of an ended shard. (The Java KCL renews it until it is deleted.)
    GiveUp,
    /// Call `lease_lost`.
    TellLoss(LossReason),
    /// Nothing any more.
    Finish,
}

/// What came of the step, or what interrupted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The step is done.
    Succeeded,
    /// `Process`: a piece of the batch is done, and others are left.
    PieceDone,
    /// `Process`: there is something else to deliver before anything can be said.
    Undecided,
    /// The step failed and may be repeated.
    Failed,
    /// `AwaitBatch`: there is one.
    BatchArrived {
        /// The shard ends with it.
        is_last: bool,
    },
    /// The lease is to be given up soon.
    DrainBegan,
    /// The lease is lost.
    Lost(LossReason),
}

#[derive(Debug)]
pub(crate) struct Machine {
    step: Step,
    /// The step to repeat after a pause.
    failed: Option<Step>,
    /// Consecutive failures of the present step.
    attempts: u32,
    is_initialized: bool,
    is_draining: bool,
    has_last_batch: bool,
    /// The shard was over before this worker acquired the lease.
    was_over: bool,
}

impl Machine {
    pub(crate) fn new(was_over: bool) -> Self {
        let step = if was_over {
            Step::CreateChildren
        } else {
            Step::AwaitParents
        };
        Self {
            step,
            failed: None,
            attempts: 0,
            is_initialized: false,
            is_draining: false,
            has_last_batch: false,
            was_over,
        }
    }

    /// The step under way.
    pub(crate) fn step(&self) -> &Step {
        &self.step
    }

    /// How often the present step, or the one to be repeated, has failed in a row.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// What fails now is not what failed before.
    pub(crate) fn got_ahead(&mut self) {
        self.attempts = 0;
    }

    /// Whether [`Event::DrainBegan`] makes a difference now: at first, and again when an attempt to end the shard
    /// failed meanwhile.
    pub(crate) fn heeds_drain(&self) -> bool {
        let is_failing_to_end = self.step == Step::Pause
            && matches!(
                self.failed,
                Some(Step::EndShard | Step::CreateChildren | Step::RecordEnd)
            );
        !self.is_draining || is_failing_to_end
    }

    /// Takes in what came of the present step; the next step.
    pub(crate) fn on(&mut self, event: Event) -> &Step {
        self.step = self.next(event);
        &self.step
    }

    fn next(&mut self, event: Event) -> Step {
        match event {
            Event::Lost(reason) => self.lost(reason),
            Event::DrainBegan => self.drain(),
            Event::Failed => self.failed(),
            Event::BatchArrived { is_last } => {
                self.has_last_batch = is_last;
                Step::Process
            }
            Event::PieceDone => {
                self.attempts = 0;
                Step::Process
            }
            Event::Undecided => Step::Process,
            Event::Succeeded => {
                if self.step != Step::Pause {
                    self.attempts = 0;
                }
                self.succeeded()
            }
        }
    }

    fn succeeded(&mut self) -> Step {
        match &self.step {
            Step::AwaitParents => Step::Initialize,
            Step::Initialize => {
                self.is_initialized = true;
                Step::AwaitBatch
            }
            Step::Process if self.has_last_batch => Step::EndShard,
            Step::Process | Step::AwaitBatch => Step::AwaitBatch,
            Step::Pause => self.failed.take().unwrap_or(Step::Finish),
            Step::EndShard => Step::CreateChildren,
            Step::CreateChildren if self.was_over => Step::GiveUp,
            Step::CreateChildren => Step::RecordEnd,
            Step::RecordEnd => {
                self.was_over = true;
                Step::GiveUp
            }
            Step::RequestShutdown => Step::GiveUp,
            Step::GiveUp | Step::TellLoss(_) | Step::Finish => Step::Finish,
        }
    }

    fn failed(&mut self) -> Step {
        self.attempts = self.attempts.saturating_add(1);
        match &self.step {
            // The last chance to checkpoint is one chance. What was not checkpointed is delivered again elsewhere.
            Step::RequestShutdown => Step::GiveUp,
            Step::TellLoss(_) | Step::Finish => Step::Finish,
            step => {
                self.failed = Some(step.clone());
                Step::Pause
            }
        }
    }

    /// Asked to give the lease up while `step` has not begun, or is waiting.
    fn drain(&mut self) -> Step {
        self.is_draining = true;
        let due = match (&self.step, &self.failed) {
            (Step::Pause, Some(failed)) => failed.clone(),
            (step, _) => step.clone(),
        };
        match due {
            Step::AwaitParents | Step::Initialize => Step::GiveUp,
            // Everything is processed: it is quicker to end the shard here than to have it done elsewhere. But only once.
            Step::EndShard | Step::CreateChildren | Step::RecordEnd if self.step != Step::Pause => due,
            Step::CreateChildren | Step::RecordEnd | Step::GiveUp => {
                self.failed = None;
                Step::GiveUp
            }
            Step::AwaitBatch | Step::Process | Step::EndShard => {
                self.failed = None;
                Step::RequestShutdown
            }
            Step::RequestShutdown | Step::TellLoss(_) | Step::Finish | Step::Pause => due,
        }
    }

    fn lost(&mut self, reason: LossReason) -> Step {
        match &self.step {
            Step::TellLoss(_) | Step::Finish | Step::GiveUp => Step::Finish,
            // Told to shut down already, or never told anything.
            _ if !self.is_initialized || self.was_over => Step::Finish,
            // `shard_ended` was the last call.
            Step::CreateChildren | Step::RecordEnd => Step::Finish,
            Step::Pause
                if matches!(
                    self.failed,
                    Some(Step::CreateChildren | Step::RecordEnd | Step::GiveUp)
                ) =>
            {
                Step::Finish
            }
            _ => Step::TellLoss(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Event = Event::BatchArrived { is_last: false };
    const LAST: Event = Event::BatchArrived { is_last: true };
    const OK: Event = Event::Succeeded;
    const FAILED: Event = Event::Failed;
    const DRAIN: Event = Event::DrainBegan;
    const LOST: Event = Event::Lost(LossReason::Expired);
    const TELL: Step = Step::TellLoss(LossReason::Expired);

    /// All steps of a consumer that meets these events, the first one included.
    fn steps(was_over: bool, events: &[Event]) -> Vec<Step> {
        let mut machine = Machine::new(was_over);
        let mut steps = vec![machine.step().clone()];
        steps.extend(events.iter().map(|event| machine.on(event.clone()).clone()));
        steps
    }

    #[test]
    fn a_shard_is_processed_to_its_end() {
        assert_eq!(
            steps(false, &[OK, OK, BATCH, OK, LAST, OK, OK, OK, OK, OK,]),
            [
                Step::AwaitParents,
                Step::Initialize,
                Step::AwaitBatch,
                Step::Process,
                Step::AwaitBatch,
                Step::Process,
                Step::EndShard,
                Step::CreateChildren,
                Step::RecordEnd,
                Step::GiveUp,
                Step::Finish,
            ]
        );
    }

    #[test]
    fn a_failing_batch_is_repeated_until_it_succeeds() {
        assert_eq!(
            steps(false, &[OK, OK, BATCH, FAILED, OK, FAILED, OK, OK]),
            [
                Step::AwaitParents,
                Step::Initialize,
                Step::AwaitBatch,
                Step::Process,
                Step::Pause,
                Step::Process,
                Step::Pause,
                Step::Process,
                Step::AwaitBatch,
            ]
        );
    }

    #[test]
    fn a_batch_in_pieces_is_processed_piece_by_piece_and_its_end_is_that_of_the_shard() {
        let pieces = [FAILED, OK, Event::PieceDone, Event::Undecided, OK];
        let steps = steps(false, &[&[OK, OK, LAST][..], &pieces].concat());
        assert_eq!(
            steps[3..],
            [
                Step::Process,
                Step::Pause,
                Step::Process,
                Step::Process,
                Step::Process,
                Step::EndShard
            ]
        );
    }

    #[test]
    fn attempts_are_counted_until_a_success() {
        let mut machine = Machine::new(false);
        for event in [OK, OK, BATCH, FAILED, OK, FAILED, OK, FAILED] {
            machine.on(event);
        }
        assert_eq!(machine.attempts(), 3);
        machine.on(OK);
        assert_eq!(machine.attempts(), 3, "the pause is over, not the failure");
        machine.on(OK);
        assert_eq!(machine.attempts(), 0);
    }

    #[test]
    fn draining_lets_the_processor_checkpoint_before_the_lease_is_given_up() {
        let expected = [Step::RequestShutdown, Step::GiveUp, Step::Finish];
        let idle = steps(false, &[OK, OK, DRAIN, OK, OK]);
        assert_eq!(idle[3..], expected);
        let before_a_batch = steps(false, &[OK, OK, BATCH, DRAIN, OK, OK]);
        assert_eq!(before_a_batch[4..], expected);
        let while_failing = steps(false, &[OK, OK, BATCH, FAILED, DRAIN, OK, OK]);
        assert_eq!(while_failing[5..], expected);
        let failing_to_shut_down = steps(false, &[OK, OK, DRAIN, FAILED, OK]);
        assert_eq!(failing_to_shut_down[3..], expected);
    }

    #[test]
    fn draining_a_consumer_that_never_began_tells_the_processor_nothing() {
        for events in [&[DRAIN, OK][..], &[FAILED, DRAIN, OK], &[OK, FAILED, DRAIN, OK]] {
            let steps = steps(false, events);
            assert_eq!(
                steps[steps.len() - 2..],
                [Step::GiveUp, Step::Finish],
                "{events:?}"
            );
        }
    }

    #[test]
    fn a_shard_that_is_processed_to_its_end_is_ended_even_when_draining() {
        let after_the_last_batch = steps(false, &[OK, OK, LAST, OK, DRAIN, OK, OK, OK, OK]);
        assert_eq!(
            after_the_last_batch[4..],
            [
                Step::EndShard,
                Step::EndShard,
                Step::CreateChildren,
                Step::RecordEnd,
                Step::GiveUp,
                Step::Finish
            ]
        );
        let failing_to_end = steps(false, &[OK, OK, LAST, OK, DRAIN, FAILED, DRAIN, OK, OK]);
        assert_eq!(
            failing_to_end[6..],
            [Step::Pause, Step::RequestShutdown, Step::GiveUp, Step::Finish]
        );
        let failing_to_record = steps(false, &[OK, OK, LAST, OK, OK, OK, FAILED, DRAIN, OK]);
        assert_eq!(failing_to_record[7..], [Step::Pause, Step::GiveUp, Step::Finish]);
    }

    #[test]
    fn loss_is_told_to_a_processor_that_is_at_work() {
        for events in [
            &[OK, OK, LOST, OK][..],
            &[OK, OK, BATCH, LOST, OK],
            &[OK, OK, BATCH, FAILED, LOST, OK],
            &[OK, OK, LAST, OK, LOST, OK],
            &[OK, OK, DRAIN, LOST, OK],
        ] {
            let steps = steps(false, events);
            assert_eq!(steps[steps.len() - 2..], [TELL, Step::Finish], "{events:?}");
        }
    }

    #[test]
    fn loss_is_not_told_before_the_beginning_or_after_the_last_call() {
        for events in [
            &[LOST][..],
            &[OK, LOST],
            &[OK, FAILED, LOST],
            &[OK, OK, LAST, OK, OK, LOST],
            &[OK, OK, LAST, OK, OK, FAILED, LOST],
            &[OK, OK, LAST, OK, OK, OK, LOST],
            &[OK, OK, LAST, OK, OK, OK, OK, LOST],
            &[OK, OK, DRAIN, OK, LOST],
            &[OK, OK, DRAIN, OK, FAILED, LOST],
        ] {
            let steps = steps(false, events);
            assert_eq!(steps.last(), Some(&Step::Finish), "{events:?}");
            assert!(!steps.contains(&TELL), "{events:?}");
        }
    }

    #[test]
    fn a_shard_that_was_over_before_has_no_processor() {
        assert_eq!(
            steps(true, &[OK, OK]),
            [Step::CreateChildren, Step::GiveUp, Step::Finish]
        );
        assert_eq!(
            steps(true, &[FAILED, OK, LOST])[1..],
            [Step::Pause, Step::CreateChildren, Step::Finish]
        );
        assert_eq!(
            steps(true, &[DRAIN, OK, OK])[1..],
            [Step::CreateChildren, Step::GiveUp, Step::Finish]
        );
    }
}
