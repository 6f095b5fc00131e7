//! What a plan consists of.

use super::view::{Claim, LeaseView};
use crate::ids::WorkerId;
use crate::lease::Lease;
use crate::store::LeaseChange;

/// One conditional write of a plan.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Move {
    /// The row as it was judged.
    pub(crate) lease: Lease,
    /// The write.
    pub(crate) change: LeaseChange,
}

impl Move {
    /// Who gets the lease.
    pub(crate) fn target(&self) -> Option<&WorkerId> {
        match &self.change {
            LeaseChange::Assign { to, .. } | LeaseChange::BeginHandOff { to } => Some(to),
            LeaseChange::CancelHandOff => self.lease.checkpoint_owner.as_ref(),
            _ => None,
        }
    }

    /// From its living owner to another worker: what nobody has begun with moves at no cost.
    pub(super) fn over(view: &LeaseView, to: WorkerId) -> Self {
        let change = match view.claim {
            Claim::No => LeaseChange::Assign { to },
            _ => LeaseChange::BeginHandOff { to },
        };
        Self {
            lease: view.lease.clone(),
            change,
        }
    }
}
