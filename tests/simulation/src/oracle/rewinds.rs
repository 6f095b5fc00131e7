//! Shards that are to be processed anew: all of what was processed is, by an owner that begins after the order.

use std::collections::{BTreeMap, BTreeSet};

use kcl_core::ExtendedSequenceNumber;

use super::Rule;
use crate::edits::Edit;
use crate::history::{Event, Name, What};

pub(super) const ANEW: &str = "what is to be processed anew is processed anew from its beginning";
pub(super) const LEFT: &str = "an order to process a shard anew is carried out";

/// An order that was given.
#[derive(Debug)]
struct Order {
    /// The lease's counter then: whoever began before has no greater token.
    counter: u64,
    /// What was processed before, and is to be processed again.
    due: BTreeSet<ExtendedSequenceNumber>,
}

#[derive(Debug, Default)]
pub(super) struct Rewinds {
    /// By shard, what was processed of it and is still there.
    processed: BTreeMap<Name, BTreeSet<ExtendedSequenceNumber>>,
    orders: BTreeMap<Name, Order>,
    /// Shards whose rows say that they are to be processed anew.
    standing: BTreeSet<Name>,
}

impl Rewinds {
    fn nothing_is_due(&mut self, shard: &Name) {
        self.orders.remove(shard);
        self.standing.remove(shard);
    }
}

impl Rule for Rewinds {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::RowEditedByHand { shard, edit, row } => match edit {
                Edit::Ordered => {
                    let due = self.processed.get(shard).cloned().unwrap_or_default();
                    let counter = row.counter;
                    self.orders.insert(shard.clone(), Order { counter, due });
                    self.standing.insert(shard.clone());
                }
                // From elsewhere.
                Edit::Set(..) => self.nothing_is_due(shard),
                _ => {}
            },
            What::Row { shard, row } => {
                match row.rewind_to {
                    Some(_) => self.standing.insert(shard.clone()),
                    None => self.standing.remove(shard),
                };
            }
            What::Delivered { of, position, .. } => {
                let processed = self.processed.entry(of.shard.clone()).or_default();
                processed.insert(position.clone());
                if let Some(order) = self.orders.get_mut(&of.shard)
                    && of.token > order.counter
                {
                    order.due.remove(position);
                }
            }
            What::Trimmed { shard } | What::ShardGone { shard } => {
                self.processed.remove(shard);
                self.orders.remove(shard);
            }
            What::RowDeletedByHand { shard } | What::RowGone { shard } => self.nothing_is_due(shard),
            What::StreamDeleted { .. } | What::TableDeleted => *self = Self::default(),
            What::Settled => {
                if let Some(shard) = self.standing.first() {
                    return Some((LEFT, format!("nobody has begun anew with {shard}")));
                }
                let left = |(shard, order): (&Name, &Order)| {
                    let first = order.due.first()?;
                    Some(format!("{first} and {} others of {shard}", order.due.len() - 1))
                };
                return self.orders.iter().find_map(left).map(|seen| (ANEW, seen));
            }
            _ => {}
        }
        None
    }

    fn forget(&mut self, shard: &Name) {
        self.nothing_is_due(shard);
    }
}
