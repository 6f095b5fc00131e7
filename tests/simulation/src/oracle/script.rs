//! What a script says of its own history.

use super::Rule;
use crate::history::{Event, What};

/// Says nothing of the library: what the script is about did not come about.
pub const UNPLAYABLE: &str = "a script can be played to its end";

/// Passes on what the script saw.
#[derive(Debug)]
pub(super) struct Script;

impl Rule for Script {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Unplayable { waited_for } => Some((UNPLAYABLE, format!("waited for {waited_for}"))),
            What::Unmet { expectation, seen } => Some((expectation, seen.clone())),
            _ => None,
        }
    }
}
