//! Every conditional write to a lease as data: what must hold, and what changes.
//!
//! The conditions are those of the Java KCL 3.5, so that both may share a table; where ours are narrower the doc
//! of the variant says so. Stores translate [`Requirement`]s and [`Effect`]s, they do not interpret changes.

use std::collections::BTreeSet;

use crate::checkpoint::{Checkpoint, PendingCheckpoint};
use crate::ids::{ProcessId, WorkerId};
use crate::lease::{HashRange, Lease};

/// A conditional write to one lease, relative to the row as the writer last saw it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LeaseChange {
    /// The owner's heartbeat. (Narrower than the Java KCL, which asks for the counter only: the row must name the writer. An owner
    /// that was changed by hand is not kept alive by the one before.)
    Renew {
        /// Smoothed throughput to publish, if known.
        throughput_kbps: Option<f64>,
    },
    /// The owner's first write: which of the processes that may have its name holds the lease. A heartbeat, too. It carries out
    /// what an operator ordered by [`Self::OperatorRewind`].
    ///
    /// It lifts the counter to the present time, if it was below: a row that was made anew, or restored from a backup, has a
    /// lower counter than its former self. (The Java KCL adds one. It takes counters as they come.)
    Begin {
        /// The process.
        process: ProcessId,
        /// The time by the owner's clock, in milliseconds since the Unix epoch.
        at: u64,
    },
    /// Gives the lease to a worker at once; also the last step of a hand-off. (Narrower than the Java KCL: the counter must be
    /// as it was seen. A renewal since then wins, and a request that arrives late changes nothing in a later term of the
    /// same owner.)
    Assign {
        /// The new owner.
        to: WorkerId,
    },
    /// Names the next owner and lets the present one finish. The counter stays.
    BeginHandOff {
        /// The next owner.
        to: WorkerId,
    },
    /// Leaves the lease to the worker that still processes it. (Of our own: the Java KCL assigns it instead. The counter stays,
    /// for whoever cancels says nothing of the processor: it is neither a sign of its life to observers, nor may it be taken
    /// by the processor for a renewal of its own whose answer was lost.)
    CancelHandOff,
    /// The owner gives the lease up, to whomever the leader names. (As narrow as [`Self::Assign`].)
    Release,
    /// Progress, and at the same time a heartbeat. (Narrower than the Java KCL: the writer must own the lease.)
    Checkpoint {
        /// How far the shard was processed.
        checkpoint: Checkpoint,
        /// A checkpoint to be committed later; `None` clears one.
        pending: Option<PendingCheckpoint>,
        /// Smoothed throughput to publish, if it is time for that.
        throughput_kbps: Option<f64>,
    },
    /// The owner's note of when reading at the latest record began, in milliseconds since the Unix epoch.
    ReadingSince(u64),
    /// The owner's note that the shard is paused since then, in milliseconds since the Unix epoch, or no longer.
    PausedSince(Option<u64>),
    /// The owner's record of the children of an ended shard. The counter stays.
    Children(BTreeSet<String>),
    /// Fills in a missing hash range. The counter stays.
    HashRange(HashRange),
    /// An operator's note that the shard is paused since then, in milliseconds since the Unix epoch, or no longer. The counter stays:
    /// the owner learns of it with its next write, and must not take it for a write of its own.
    OperatorPause(Option<u64>),
    /// An operator's order to process the shard anew from another position, while workers run: the owner gives the lease up when it
    /// learns of it, and whoever begins with it next does so there. `None` takes the order back. The counter stays, as with
    /// [`Self::OperatorPause`].
    OperatorRewind(Option<Checkpoint>),
    /// An operator's order to process the shard anew from another position, while no worker runs: nobody owns the lease afterwards, and
    /// nothing is left of what was prepared or noted for the position before. (As narrow as [`Self::Assign`].)
    Reset {
        /// Where processing continues.
        checkpoint: Checkpoint,
    },
}

/// One condition on the stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// The row exists.
    Exists,
    /// `leaseCounter` has this value.
    Counter(u64),
    /// `leaseOwner` has this value, or is absent.
    Owner(Option<WorkerId>),
    /// `checkpointOwner` has this value, or is absent.
    CheckpointOwner(Option<WorkerId>),
    /// `checkpointOwner` has this value, or is absent while `leaseOwner` has it.
    ProcessedBy(WorkerId),
    /// `rewindTo` and `rewindToSubSequenceNumber` say this.
    RewindTo(Checkpoint),
}

/// One change of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Sets `leaseCounter`.
    SetCounter(u64),
    /// Adds one to `leaseCounter`, whatever it is.
    AddToCounter,
    /// Sets or removes `leaseOwner`.
    Owner(Option<WorkerId>),
    /// Sets or removes `checkpointOwner`.
    CheckpointOwner(Option<WorkerId>),
    /// Sets `ownerProcess`.
    Process(ProcessId),
    /// Adds one to `ownerSwitchesSinceCheckpoint`.
    AddOwnerSwitch,
    /// Sets `ownerSwitchesSinceCheckpoint` to 0.
    ResetOwnerSwitches,
    /// Sets `checkpoint` and `checkpointSubSequenceNumber`.
    Checkpoint(Checkpoint),
    /// Sets or removes the attributes of a pending checkpoint.
    Pending(Option<PendingCheckpoint>),
    /// Sets or removes `readingSince`.
    ReadingSince(Option<u64>),
    /// Sets or removes `pausedSince`.
    PausedSince(Option<u64>),
    /// Sets or removes `rewindTo` and `rewindToSubSequenceNumber`.
    RewindTo(Option<Checkpoint>),
    /// Sets `childShardIds`.
    Children(BTreeSet<String>),
    /// Sets `startingHashKey` and `endingHashKey`.
    HashRange(HashRange),
    /// Sets `throughputKBps`.
    Throughput(f64),
}

impl LeaseChange {
    /// What must hold for the change to be applied.
    pub fn requirements(&self, seen: &Lease) -> Vec<Requirement> {
        let as_seen = || {
            vec![
                Requirement::Owner(seen.owner.clone()),
                Requirement::CheckpointOwner(seen.checkpoint_owner.clone()),
            ]
        };
        match self {
            Self::Begin { .. } | Self::Renew { .. } => {
                // Who knows of no hand-off learns of one by being refused.
                let mine = match &seen.checkpoint_owner {
                    Some(me) => vec![Requirement::ProcessedBy(me.clone())],
                    None => as_seen(),
                };
                let mut all = [vec![Requirement::Counter(seen.counter)], mine].concat();
                // What is carried out is what the operator ordered last.
                let order = seen
                    .rewind_to
                    .clone()
                    .filter(|_| matches!(self, Self::Begin { .. }));
                all.extend(order.map(Requirement::RewindTo));
                all
            }
            Self::Assign { .. } | Self::Release | Self::CancelHandOff | Self::Reset { .. } => {
                let mut all = vec![Requirement::Exists, Requirement::Counter(seen.counter)];
                all.extend(as_seen());
                all
            }
            Self::BeginHandOff { .. } => vec![
                Requirement::Exists,
                Requirement::Owner(seen.owner.clone()),
                Requirement::CheckpointOwner(None),
            ],
            Self::Checkpoint { .. } | Self::ReadingSince(_) | Self::PausedSince(_) | Self::Children(_) => {
                let mine = match &seen.checkpoint_owner {
                    Some(owner) => Requirement::CheckpointOwner(Some(owner.clone())),
                    None => Requirement::Owner(seen.owner.clone()),
                };
                vec![Requirement::Counter(seen.counter), mine]
            }
            Self::HashRange(_) => vec![Requirement::Exists],
            Self::OperatorPause(_) | Self::OperatorRewind(_) => {
                let mut all = vec![Requirement::Exists];
                all.extend(as_seen());
                all
            }
        }
    }

    /// What the change does.
    pub fn effects(&self, seen: &Lease) -> Vec<Effect> {
        match self {
            Self::Renew { throughput_kbps } => {
                let mut all = vec![Effect::SetCounter(seen.counter + 1)];
                all.extend(throughput_kbps.map(Effect::Throughput));
                all
            }
            Self::Begin { process, at } => {
                let mut all = vec![
                    Effect::SetCounter((seen.counter + 1).max(*at)),
                    Effect::Process(process.clone()),
                ];
                if let Some(checkpoint) = &seen.rewind_to {
                    all.push(Effect::RewindTo(None));
                    all.extend(processed_anew_from(checkpoint));
                }
                all
            }
            Self::Assign { to } => {
                let mut all = vec![
                    Effect::Owner(Some(to.clone())),
                    Effect::CheckpointOwner(None),
                    Effect::AddToCounter,
                ];
                if seen.owner.as_ref().is_some_and(|owner| owner != to) {
                    all.push(Effect::AddOwnerSwitch);
                }
                all
            }
            Self::BeginHandOff { to } => {
                vec![
                    Effect::Owner(Some(to.clone())),
                    Effect::CheckpointOwner(seen.owner.clone()),
                ]
            }
            Self::CancelHandOff => {
                vec![
                    Effect::Owner(seen.checkpoint_owner.clone()),
                    Effect::CheckpointOwner(None),
                ]
            }
            Self::Release if seen.is_in_hand_off() => {
                vec![Effect::CheckpointOwner(None), Effect::AddToCounter]
            }
            Self::Release => vec![Effect::Owner(None), Effect::AddToCounter],
            Self::Checkpoint {
                checkpoint,
                pending,
                throughput_kbps,
            } => {
                let mut all = vec![
                    Effect::SetCounter(seen.counter + 1),
                    Effect::Checkpoint(checkpoint.clone()),
                    Effect::Pending(pending.clone()),
                ];
                all.extend(throughput_kbps.map(Effect::Throughput));
                if pending.is_none() {
                    all.push(Effect::ResetOwnerSwitches);
                }
                all
            }
            Self::ReadingSince(millis) => vec![
                Effect::SetCounter(seen.counter + 1),
                Effect::ReadingSince(Some(*millis)),
            ],
            Self::PausedSince(millis) => {
                vec![Effect::SetCounter(seen.counter + 1), Effect::PausedSince(*millis)]
            }
            Self::Children(children) => vec![Effect::Children(children.clone())],
            Self::HashRange(range) => vec![Effect::HashRange(*range)],
            Self::OperatorPause(millis) => vec![Effect::PausedSince(*millis)],
            Self::OperatorRewind(checkpoint) => vec![Effect::RewindTo(checkpoint.clone())],
            Self::Reset { checkpoint } => {
                let mut all = vec![
                    Effect::Owner(None),
                    Effect::CheckpointOwner(None),
                    Effect::RewindTo(None),
                    Effect::AddToCounter,
                ];
                all.extend(processed_anew_from(checkpoint));
                all
            }
        }
    }

    /// The row after the change, if it was `row` before.
    pub fn applied_to(&self, row: &Lease, seen: &Lease) -> Lease {
        let mut after = row.clone();
        for effect in self.effects(seen) {
            effect.apply(&mut after);
        }
        after
    }
}

/// The position, and nothing that was prepared or noted for the one before.
fn processed_anew_from(checkpoint: &Checkpoint) -> [Effect; 4] {
    [
        Effect::Checkpoint(checkpoint.clone()),
        Effect::Pending(None),
        Effect::ReadingSince(None),
        Effect::ResetOwnerSwitches,
    ]
}

impl Requirement {
    /// Whether an existing row meets the condition.
    pub fn holds(&self, row: &Lease) -> bool {
        match self {
            Self::Exists => true,
            Self::Counter(counter) => row.counter == *counter,
            Self::Owner(owner) => row.owner == *owner,
            Self::CheckpointOwner(owner) => row.checkpoint_owner == *owner,
            Self::ProcessedBy(worker) => row.actual_owner() == Some(worker),
            Self::RewindTo(checkpoint) => row.rewind_to.as_ref() == Some(checkpoint),
        }
    }
}

impl Effect {
    /// Changes the row.
    pub fn apply(&self, row: &mut Lease) {
        match self {
            Self::SetCounter(counter) => row.counter = *counter,
            Self::AddToCounter => row.counter += 1,
            Self::Owner(owner) => row.owner.clone_from(owner),
            Self::CheckpointOwner(owner) => row.checkpoint_owner.clone_from(owner),
            Self::Process(process) => row.process = Some(process.clone()),
            Self::AddOwnerSwitch => row.owner_switches_since_checkpoint += 1,
            Self::ResetOwnerSwitches => row.owner_switches_since_checkpoint = 0,
            Self::Checkpoint(checkpoint) => row.checkpoint = checkpoint.clone(),
            Self::Pending(pending) => row.pending_checkpoint.clone_from(pending),
            Self::ReadingSince(millis) => row.reading_since = *millis,
            Self::PausedSince(millis) => row.paused_since = *millis,
            Self::RewindTo(checkpoint) => row.rewind_to.clone_from(checkpoint),
            Self::Children(children) => row.children.clone_from(children),
            Self::HashRange(range) => row.hash_range = Some(*range),
            Self::Throughput(kbps) => row.throughput_kbps = Some(*kbps),
        }
    }

    /// Whether the row looks as if the effect had taken place.
    pub fn is_visible_in(&self, row: &Lease) -> bool {
        let mut after = row.clone();
        match self {
            Self::AddToCounter | Self::AddOwnerSwitch | Self::SetCounter(_) | Self::Throughput(_) => {
                return true;
            }
            other => other.apply(&mut after),
        }
        after == *row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned_by(owner: &str) -> Lease {
        Lease {
            owner: Some(owner.into()),
            counter: 7,
            ..Lease::new("shard-1", Checkpoint::TrimHorizon)
        }
    }

    fn after(change: &LeaseChange, row: &Lease) -> Lease {
        change.applied_to(row, row)
    }

    #[test]
    fn a_hand_off_leaves_the_counter_and_counts_no_owner_switch() {
        let row = owned_by("a");
        let begun = after(&LeaseChange::BeginHandOff { to: "b".into() }, &row);
        assert_eq!(begun.owner, Some("b".into()));
        assert_eq!(begun.checkpoint_owner, Some("a".into()));
        assert_eq!(begun.counter, 7);

        let done = after(&LeaseChange::Assign { to: "b".into() }, &begun);
        assert_eq!(done.owner, Some("b".into()));
        assert_eq!(done.checkpoint_owner, None);
        assert_eq!(done.counter, 8);
        assert_eq!(done.owner_switches_since_checkpoint, 0);
    }

    #[test]
    fn an_owner_lifts_a_counter_that_is_behind_the_time_and_never_lowers_one() {
        let begun_at = |at: u64| {
            let process = "p1".into();
            after(&LeaseChange::Begin { process, at }, &owned_by("a")).counter
        };
        assert_eq!(begun_at(1_800_000_000_000), 1_800_000_000_000);
        assert_eq!(begun_at(7), 8, "a clock that stands says nothing");
    }

    #[test]
    fn an_assignment_to_another_worker_counts_an_owner_switch() {
        let assign = |to: &str| LeaseChange::Assign { to: to.into() };
        assert_eq!(
            after(&assign("b"), &owned_by("a")).owner_switches_since_checkpoint,
            1
        );
        assert_eq!(
            after(&assign("a"), &owned_by("a")).owner_switches_since_checkpoint,
            0
        );
        let unowned = Lease::new("shard-1", Checkpoint::TrimHorizon);
        assert_eq!(after(&assign("a"), &unowned).owner_switches_since_checkpoint, 0);
    }

    #[test]
    fn a_hand_off_that_is_cancelled_leaves_the_row_as_it_was_before_unless_it_was_written_since() {
        let row = owned_by("a");
        let begun = after(&LeaseChange::BeginHandOff { to: "b".into() }, &row);
        assert_eq!(after(&LeaseChange::CancelHandOff, &begun), row);
        let renew = LeaseChange::Renew {
            throughput_kbps: None,
        };
        let requirements = LeaseChange::CancelHandOff.requirements(&begun);
        let holds = |row: &Lease| requirements.iter().all(|r| r.holds(row));
        assert!(holds(&begun));
        assert!(!holds(&after(&renew, &begun)), "its processor renewed it");
        assert!(!holds(&row), "nothing is under way");
    }

    #[test]
    fn releasing_during_a_hand_off_leaves_the_lease_to_the_next_owner() {
        let in_hand_off = after(&LeaseChange::BeginHandOff { to: "b".into() }, &owned_by("a"));
        let released = after(&LeaseChange::Release, &in_hand_off);
        assert_eq!(
            (released.owner, released.checkpoint_owner),
            (Some("b".into()), None)
        );
        assert_eq!(after(&LeaseChange::Release, &owned_by("a")).owner, None);
    }

    #[test]
    fn a_renewal_is_refused_once_a_hand_off_has_begun_and_the_owner_does_not_know() {
        let seen = owned_by("a");
        let row = after(&LeaseChange::BeginHandOff { to: "b".into() }, &seen);
        let renew = LeaseChange::Renew {
            throughput_kbps: None,
        };
        assert!(!renew.requirements(&seen).iter().all(|r| r.holds(&row)));
        assert!(
            renew.requirements(&row).iter().all(|r| r.holds(&row)),
            "but it may renew once it knows"
        );
    }

    #[test]
    fn a_renewal_is_refused_when_the_row_names_somebody_else_although_the_counter_stayed() {
        let renew = LeaseChange::Renew {
            throughput_kbps: None,
        };
        let may_renew = |seen: &Lease, row: &Lease| renew.requirements(seen).iter().all(|r| r.holds(row));
        let mine = owned_by("a");
        let freed = Lease {
            owner: None,
            ..mine.clone()
        };
        assert!(!may_renew(&mine, &freed));
        assert!(!may_renew(&mine, &owned_by("b")));
        let in_hand_off = after(&LeaseChange::BeginHandOff { to: "b".into() }, &mine);
        assert!(!may_renew(&in_hand_off, &freed));
        assert!(!may_renew(&in_hand_off, &owned_by("b")));
        assert!(may_renew(&in_hand_off, &mine), "the hand-off was cancelled");
    }

    #[test]
    fn an_expired_lease_is_not_taken_from_an_owner_that_renewed_since() {
        let seen = owned_by("a");
        let renewed = after(
            &LeaseChange::Renew {
                throughput_kbps: None,
            },
            &seen,
        );
        let take = LeaseChange::Assign { to: "b".into() };
        assert!(take.requirements(&seen).iter().all(|r| r.holds(&seen)));
        assert!(!take.requirements(&seen).iter().all(|r| r.holds(&renewed)));
    }

    #[test]
    fn an_operator_s_pause_is_no_sign_of_life_and_asks_only_who_has_the_lease() {
        let row = owned_by("a");
        let paused = after(&LeaseChange::OperatorPause(Some(5)), &row);
        assert_eq!((paused.counter, paused.paused_since), (7, Some(5)));
        let resume = LeaseChange::OperatorPause(None);
        let holds = |now: &Lease| resume.requirements(&paused).iter().all(|r| r.holds(now));
        let renewed = Lease {
            counter: 8,
            ..paused.clone()
        };
        assert!(holds(&renewed), "the owner renews it all the time");
        assert!(!holds(&owned_by("b")), "another owner has it");
        assert_eq!(after(&resume, &renewed).paused_since, None);
    }

    #[test]
    fn a_reset_leaves_nothing_of_the_position_before_and_is_refused_if_anybody_wrote() {
        let row = Lease {
            checkpoint_owner: Some("b".into()),
            owner_switches_since_checkpoint: 2,
            pending_checkpoint: Some(PendingCheckpoint::new(Checkpoint::ShardEnd, None)),
            reading_since: Some(1),
            ..owned_by("a")
        };
        let reset = LeaseChange::Reset {
            checkpoint: Checkpoint::Latest,
        };
        let expected = Lease {
            counter: 8,
            ..Lease::new("shard-1", Checkpoint::Latest)
        };
        assert_eq!(after(&reset, &row), expected);
        let renewed = Lease {
            counter: 8,
            ..row.clone()
        };
        assert!(!reset.requirements(&row).iter().all(|r| r.holds(&renewed)));
    }

    #[test]
    fn a_checkpoint_resets_switches_but_a_prepared_one_does_not() {
        let mut row = owned_by("a");
        row.owner_switches_since_checkpoint = 2;
        let pending = PendingCheckpoint {
            checkpoint: Checkpoint::ShardEnd,
            state: None,
        };
        let prepared = after(
            &LeaseChange::Checkpoint {
                throughput_kbps: None,
                checkpoint: row.checkpoint.clone(),
                pending: Some(pending.clone()),
            },
            &row,
        );
        assert_eq!(prepared.owner_switches_since_checkpoint, 2);
        assert_eq!(prepared.pending_checkpoint, Some(pending));
        let made = after(
            &LeaseChange::Checkpoint {
                throughput_kbps: None,
                checkpoint: Checkpoint::ShardEnd,
                pending: None,
            },
            &prepared,
        );
        assert_eq!(made.owner_switches_since_checkpoint, 0);
        assert_eq!(made.pending_checkpoint, None);
    }
}
