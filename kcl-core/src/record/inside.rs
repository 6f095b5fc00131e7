//! Records in which a producer put many user records.

use std::sync::Arc;

use bytes::Bytes;
use kcl_aggregation::{Aggregate, UserRecord};
use kcl_lease::ExtendedSequenceNumber;

use super::{OVERHEAD, Record};
use crate::memory::Share;

/// What is in an aggregate, and what of it was taken out.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    aggregate: Aggregate,
    /// The user records before this one were taken out, or are done.
    next: usize,
}

impl Inside {
    fn of(data: &Bytes) -> Option<Box<Self>> {
        let aggregate = Aggregate::parse(data)?;
        Some(Box::new(Self { aggregate, next: 0 }))
    }

    /// What it takes in memory beside the record, in bytes.
    pub(super) fn overhead(&self) -> u64 {
        self.aggregate.overhead() as u64
    }

    fn left(&self) -> usize {
        self.aggregate.len() - self.next
    }
}

/// Counts what user records that were taken out take beside the record that they came in.
pub(crate) fn count_overhead(user_records: &[Record]) {
    let mut counted: Option<(&Arc<Share>, u64)> = None;
    let held = user_records.iter().filter(|record| record.is_user_record);
    for share in held.filter_map(|record| Some(record.holding.as_ref()?.share())) {
        counted = match counted {
            Some((of, count)) if Arc::ptr_eq(of, share) => Some((of, count + 1)),
            Some((of, count)) => {
                of.grow(count * OVERHEAD);
                Some((share, 1))
            }
            None => Some((share, 1)),
        };
    }
    if let Some((of, count)) = counted {
        of.grow(count * OVERHEAD);
    }
}

impl Record {
    /// Looks whether the record is an aggregate. A whole one is done when the last of its user records is.
    pub(crate) fn look_inside(&mut self, takes_apart: bool) {
        if let Some(inside) = Inside::of(&self.data) {
            self.position.sub_sequence = inside.aggregate.len() as u64 - 1;
            self.inside = takes_apart.then_some(inside);
        }
    }

    /// Whether it is an aggregate that is to be taken apart.
    pub(crate) fn is_packed(&self) -> bool {
        self.inside.is_some()
    }

    /// User records up to this index are done.
    pub(crate) fn leave_out_to(&mut self, index: u64) {
        if let Some(inside) = &mut self.inside {
            let next = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
            inside.next = next.min(inside.aggregate.len());
        }
    }

    /// As [`Record::detach`], but still to be taken apart if this one is, up to and with the user record at `last`.
    pub(crate) fn detach_to(&self, last: u64) -> Self {
        let mut whole = self.detach();
        if self.inside.is_some() {
            whole.inside = Inside::of(&whole.data);
            whole.position.sub_sequence = last;
        }
        whole
    }

    /// The next user record, if one is left.
    pub(crate) fn look_at_next(&self) -> Option<UserRecord> {
        let inside = self.inside.as_ref()?;
        inside.aggregate.get(inside.next)
    }

    /// Takes the next user record out, or leaves it out.
    pub(crate) fn take_next(&mut self, user_record: UserRecord, belongs: bool) -> Option<Self> {
        let inside = self.inside.as_mut()?;
        let (index, left) = (inside.next, inside.left().max(1));
        inside.next += 1;
        let holding = self.holding.as_mut().filter(|_| belongs);
        let holding = holding.map(|holding| holding.part(left as u64, OVERHEAD));
        belongs.then(|| Self {
            position: ExtendedSequenceNumber::new(self.position.sequence.clone(), index as u64),
            data: user_record.data,
            partition_key: user_record.partition_key,
            explicit_hash_key: user_record.explicit_hash_key,
            approximate_arrival: self.approximate_arrival,
            encryption: self.encryption,
            is_user_record: true,
            inside: None,
            holding,
        })
    }
}
