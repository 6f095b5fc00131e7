//! How a history ends: everything processed, everything in order.

use std::collections::BTreeSet;

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const RESTS: &str = "once nothing is disturbed any more, the fleet comes to rest";
pub(super) const LOST: &str = "every record is processed";

#[derive(Debug, Default)]
pub(super) struct Rest {
    waiting: BTreeSet<(Name, u64)>,
    delivered: BTreeSet<(Name, u64)>,
}

impl Rest {
    pub(super) fn unprocessed(&self) -> usize {
        self.waiting.len()
    }
}

impl Rule for Rest {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Put { key, counter, .. } => {
                let record = (key.clone(), *counter);
                if !self.delivered.contains(&record) {
                    self.waiting.insert(record);
                }
                None
            }
            What::Delivered { key, counter, .. } => {
                let record = (key.clone(), *counter);
                self.waiting.remove(&record);
                self.delivered.insert(record);
                None
            }
            What::Settled => {
                let (key, counter) = self.waiting.first()?;
                Some((LOST, format!("{key}:{counter} never was")))
            }
            What::Unsettled { because } => Some((RESTS, because.join("; "))),
            _ => None,
        }
    }
}
