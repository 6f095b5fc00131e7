//! Whether a gap that is told may be one.

use std::collections::BTreeSet;

use super::Rule;
use crate::history::{Event, Name, What};

pub(super) const UNFOUNDED: &str = "a gap is told only of a shard from which records were trimmed";

/// Shards from which records were trimmed.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    trimmed: BTreeSet<Name>,
}

impl Rule for Gaps {
    fn see(&mut self, event: &Event) -> Option<(&'static str, String)> {
        match &event.what {
            What::Trimmed { shard } | What::ShardGone { shard } => {
                self.trimmed.insert(shard.clone());
                None
            }
            What::StreamDeleted { shards } => {
                self.trimmed.extend(shards.iter().cloned());
                None
            }
            What::GapReported { of, after, .. } if !self.trimmed.contains(&of.shard) => {
                let after = after
                    .as_ref()
                    .map_or("its beginning".to_owned(), ToString::to_string);
                Some((UNFOUNDED, format!("of {} behind {after}", of.shard)))
            }
            _ => None,
        }
    }
}
