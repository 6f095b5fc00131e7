//! Where ownerships begin, and what that says of the checkpoints before them.

use std::collections::BTreeMap;

use kcl_lease::Checkpoint;

/// One ownership of a shard: worker, shard and a number that is the worker's own.
type Ownership = (String, String, u64);

/// Checks that duplicates appear only above the last checkpoint: no ownership begins below a checkpoint that was
/// confirmed before it, and none is given a record at or below its own beginning.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    confirmed: BTreeMap<String, Checkpoint>,
    starts: BTreeMap<Ownership, Checkpoint>,
    violations: Vec<String>,
}

impl Positions {
    /// A processor was initialized to continue behind `start`.
    pub(crate) fn began(&mut self, worker: &str, shard: &str, number: u64, start: Checkpoint) {
        if let Some(confirmed) = self.confirmed.get(shard).filter(|confirmed| **confirmed > start) {
            self.violations.push(format!(
                "{worker} began {shard} at {start} although {confirmed} was confirmed before"
            ));
        }
        self.starts
            .insert((worker.to_owned(), shard.to_owned(), number), start);
    }

    /// A processor was given a record.
    pub(crate) fn delivered(&mut self, worker: &str, shard: &str, number: u64, at: &Checkpoint) {
        let ownership = (worker.to_owned(), shard.to_owned(), number);
        if let Some(start) = self.starts.get(&ownership).filter(|start| at <= *start) {
            self.violations.push(format!(
                "{worker} was given {at} of {shard} although it began behind {start}"
            ));
        }
    }

    /// A checkpoint was confirmed to a processor.
    pub(crate) fn confirmed(&mut self, shard: &str, at: Checkpoint) {
        let greatest = self.confirmed.entry(shard.to_owned()).or_insert(at.clone());
        if at > *greatest {
            *greatest = at;
        }
    }

    /// Whether a checkpoint at or behind `at` was confirmed.
    pub(crate) fn is_confirmed(&self, shard: &str, at: &Checkpoint) -> bool {
        self.confirmed.get(shard).is_some_and(|confirmed| confirmed >= at)
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u32) -> Checkpoint {
        Checkpoint::parse(sequence.to_string(), 0).expect("a number")
    }

    #[test]
    fn duplicates_above_the_last_checkpoint_are_no_violation() {
        let mut positions = Positions::default();
        positions.began("a", "s", 1, Checkpoint::TrimHorizon);
        positions.delivered("a", "s", 1, &at(10));
        positions.confirmed("s", at(10));
        positions.delivered("a", "s", 1, &at(20));
        assert!(positions.is_confirmed("s", &at(10)) && !positions.is_confirmed("s", &at(20)));
        positions.began("b", "s", 1, at(10));
        positions.delivered("b", "s", 1, &at(20));
        positions.confirmed("s", at(20));
        positions.delivered("a", "s", 1, &at(20));
        assert!(positions.violations().is_empty(), "{positions:?}");
    }

    #[test]
    fn a_beginning_below_a_checkpoint_and_a_record_below_the_beginning_are() {
        let mut positions = Positions::default();
        positions.confirmed("s", at(100));
        positions.began("b", "s", 1, at(99));
        positions.delivered("b", "s", 1, &at(99));
        assert_eq!(
            positions.violations(),
            [
                "b began s at 99 although 100 was confirmed before",
                "b was given 99 of s although it began behind 99"
            ]
        );
    }
}
