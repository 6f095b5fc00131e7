//! How workers end.

use super::Rule;
use crate::history::{Event, What};

pub(super) const LEFT: &str = "a worker that stops leaves no lease and no row behind";
pub(super) const ENDED: &str = "a worker ends only when it is told to";

#[derive(Debug)]
pub(super) struct Leaving;

impl Rule for Leaving {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Stopped {
                id,
                owned,
                has_row,
                had_joined: true,
                faults: 0,
            } if *has_row || !owned.is_empty() => {
                let row = if *has_row { " and its row" } else { "" };
                Some((LEFT, format!("{id} left {owned:?}{row} behind")))
            }
            What::Ended { reason } => Some((ENDED, format!("{}: {reason}", event.who))),
            _ => None,
        }
    }
}
