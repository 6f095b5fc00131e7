//! What a refused or unanswered write by the owner means, told from the row as it is now.

use super::held_state::LossReason;
use super::holder::Holder;
use crate::lease::Lease;
use crate::store::LeaseChange;

/// The verdict on a write that was not confirmed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It was applied all the same: its answer was lost, or the SDK repeated it. Or an earlier one was that did the same.
    Applied(Lease),
    /// The lease is still ours, but the row differs from what we knew: write again, relative to this row.
    Retry(Lease),
    /// The lease belongs to somebody else.
    Lost(LossReason),
}

/// Judges by the row that a strongly consistent read or the refusal itself showed.
///
/// Only the owner moves the counter under the condition of what it was, by one after its first write, and all its writes go
/// through one writer. So a row that is one ahead and still ours shows either the effect of the write in question or that of an
/// earlier one whose outcome was unknown; in both cases the lease never left us. Since when the counter is what it is, the row
/// does not tell. (Whoever begins or cancels a hand-off leaves the counter.)
pub(super) fn resolve(me: &Holder, seen: &Lease, change: &LeaseChange, row: Option<Lease>) -> Verdict {
    let Some(row) = row else {
        return Verdict::Lost(LossReason::Deleted);
    };
    if gives_away(change) && row.counter > seen.counter && effects_are_visible(change, seen, &row) {
        return Verdict::Applied(row);
    }
    match row.actual_owner() {
        Some(owner) if *owner == me.worker => {}
        Some(owner) => return Verdict::Lost(LossReason::TakenBy(owner.clone())),
        None => return Verdict::Lost(LossReason::Unowned),
    }
    if is_of_another_process(me, seen, change, &row) {
        return Verdict::Lost(LossReason::Superseded);
    }
    let written = change.applied_to(seen, seen).counter;
    if row.counter == seen.counter {
        Verdict::Retry(row)
    } else if row.counter == written && effects_are_visible(change, seen, &row) {
        Verdict::Applied(row)
    } else if row.counter == seen.counter + 1 {
        Verdict::Retry(row)
    } else {
        Verdict::Lost(LossReason::TakenBy(me.worker.clone()))
    }
}

/// Whether a process of the same name began with the lease meanwhile. Its writes look like ours otherwise: the counter moves
/// by one, and the owner stays.
fn is_of_another_process(me: &Holder, seen: &Lease, change: &LeaseChange, row: &Lease) -> bool {
    let is_not_begun = matches!(change, LeaseChange::Begin { .. }) && row.process == seen.process;
    let process = row.process.as_ref();
    !is_not_begun && process.is_some_and(|process| me.is_namesake(process))
}

/// Whether whoever makes this change owns the lease no longer.
pub(super) fn gives_away(change: &LeaseChange) -> bool {
    matches!(change, LeaseChange::Assign { .. } | LeaseChange::Release)
}

fn effects_are_visible(change: &LeaseChange, seen: &Lease, row: &Lease) -> bool {
    change
        .effects(seen)
        .iter()
        .all(|effect| effect.is_visible_in(row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::ids::ProcessId;
    use crate::store::{LeaseStore, MemoryLeaseStore};

    fn me() -> Arc<Holder> {
        let store: Arc<dyn LeaseStore> = Arc::new(MemoryLeaseStore::new());
        Holder::for_tests(&store, "me", Duration::from_secs(10))
    }

    fn process(worker: &str, run: &str) -> Option<ProcessId> {
        Some(ProcessId::of(&worker.into(), run))
    }

    fn mine() -> Lease {
        Lease {
            owner: Some("me".into()),
            counter: 7,
            process: process("me", "p"),
            ..Lease::new("s", Checkpoint::TrimHorizon)
        }
    }

    fn renew() -> LeaseChange {
        LeaseChange::Renew {
            throughput_kbps: None,
        }
    }

    fn checkpoint(at: &str) -> LeaseChange {
        LeaseChange::Checkpoint {
            throughput_kbps: None,
            checkpoint: Checkpoint::parse(at, 0).unwrap(),
            pending: None,
        }
    }

    fn verdict(change: &LeaseChange, row: Lease) -> Verdict {
        resolve(&me(), &mine(), change, Some(row))
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_counts() {
        let row = Lease { counter: 8, ..mine() };
        assert_eq!(verdict(&renew(), row.clone()), Verdict::Applied(row));
    }

    #[test]
    fn a_checkpoint_whose_answer_was_lost_counts_but_an_earlier_one_does_not() {
        let applied = checkpoint("10").applied_to(&mine(), &mine());
        assert_eq!(
            verdict(&checkpoint("10"), applied.clone()),
            Verdict::Applied(applied.clone())
        );
        assert_eq!(
            verdict(&checkpoint("20"), applied.clone()),
            Verdict::Retry(applied)
        );
        let renewed = renew().applied_to(&mine(), &mine());
        assert_eq!(
            verdict(&checkpoint("10"), renewed.clone()),
            Verdict::Retry(renewed)
        );
    }

    #[test]
    fn a_renewal_by_another_process_of_the_same_name_is_not_taken_for_ours() {
        let row = Lease {
            counter: 8,
            process: process("me", "q"),
            ..mine()
        };
        let superseded = Verdict::Lost(LossReason::Superseded);
        assert_eq!(verdict(&renew(), row.clone()), superseded);
        assert_eq!(verdict(&checkpoint("10"), row.clone()), superseded);
        assert_eq!(verdict(&LeaseChange::Release, row), superseded);
    }

    #[test]
    fn a_lease_that_others_held_before_is_begun_with() {
        let begin = LeaseChange::Begin {
            process: ProcessId::of(&"me".into(), "p"),
            at: 1_800_000_000_000,
        };
        for before in [None, process("me", "earlier"), process("b", "p")] {
            let seen = Lease {
                process: before,
                ..mine()
            };
            let judge = |row: Lease| resolve(&me(), &seen, &begin, Some(row));
            assert_eq!(judge(seen.clone()), Verdict::Retry(seen.clone()), "not applied");
            let applied = begin.applied_to(&seen, &seen);
            assert_eq!(judge(applied.clone()), Verdict::Applied(applied));
            let twin = Lease {
                counter: 8,
                process: process("me", "q"),
                ..mine()
            };
            assert_eq!(judge(twin), Verdict::Lost(LossReason::Superseded));
        }
    }

    #[test]
    fn a_hand_off_that_began_meanwhile_is_no_loss() {
        let row = Lease {
            owner: Some("b".into()),
            checkpoint_owner: Some("me".into()),
            ..mine()
        };
        assert_eq!(verdict(&renew(), row.clone()), Verdict::Retry(row));
    }

    #[test]
    fn another_owner_none_or_a_missing_row_is_loss() {
        let taken = Lease {
            owner: Some("b".into()),
            counter: 8,
            ..mine()
        };
        assert_eq!(
            verdict(&renew(), taken),
            Verdict::Lost(LossReason::TakenBy("b".into()))
        );
        let released = Lease {
            owner: None,
            counter: 8,
            ..mine()
        };
        assert_eq!(verdict(&renew(), released), Verdict::Lost(LossReason::Unowned));
        assert_eq!(
            resolve(&me(), &mine(), &renew(), None),
            Verdict::Lost(LossReason::Deleted)
        );
    }

    #[test]
    fn a_counter_that_jumped_or_fell_back_was_somebody_else_even_under_our_name() {
        for counter in [9, 6, 0] {
            let row = Lease { counter, ..mine() };
            assert_eq!(
                verdict(&renew(), row),
                Verdict::Lost(LossReason::TakenBy("me".into()))
            );
        }
    }

    #[test]
    fn giving_away_is_done_once_the_row_says_so() {
        let assign = LeaseChange::Assign { to: "b".into() };
        let row = assign.applied_to(&mine(), &mine());
        assert_eq!(verdict(&assign, row.clone()), Verdict::Applied(row));
        let release = LeaseChange::Release;
        let row = release.applied_to(&mine(), &mine());
        assert_eq!(verdict(&release, row.clone()), Verdict::Applied(row));
        let taken = Lease {
            owner: Some("c".into()),
            counter: 8,
            ..mine()
        };
        assert_eq!(
            verdict(&assign, taken),
            Verdict::Lost(LossReason::TakenBy("c".into()))
        );
    }
}
