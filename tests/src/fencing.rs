//! Whether owners of a shard kept out of each other's way, judged by their tokens.

use std::collections::BTreeMap;

use kcl_lease::Checkpoint;

/// Judges what processors of one application did, told in the order in which it happened. A processor tells that it is
/// about to do something, does it, and tells how that ended: what its successor told in between is no evidence against it.
#[derive(Debug, Default)]
pub struct Fencing {
    ownerships: BTreeMap<String, BTreeMap<u64, Ownership>>,
    violations: Vec<String>,
    expired: usize,
}

#[derive(Debug)]
struct Ownership {
    worker: String,
    start: Checkpoint,
    confirmed: Option<Checkpoint>,
    /// The batch at hand was begun after a successor had begun.
    entered_late: bool,
    /// The checkpoint at hand was begun after a successor had begun.
    saves_late: bool,
}

impl Fencing {
    /// A processor was initialized to continue behind `start`, a sequence number or a sentinel.
    pub fn began(&mut self, worker: &str, shard: &str, token: u64, start: &str) {
        let ownership = Ownership {
            worker: worker.to_owned(),
            start: position(start),
            confirmed: None,
            entered_late: false,
            saves_late: false,
        };
        let before = self
            .ownerships
            .entry(shard.to_owned())
            .or_default()
            .insert(token, ownership);
        if let Some(before) = before {
            let first = before.worker;
            self.violations.push(format!(
                "{worker} began {shard} with token {token}, and so had {first}"
            ));
        }
    }

    /// A processor was given a batch, and will look whether its lease is valid.
    pub fn entering(&mut self, shard: &str, token: u64) {
        let is_late = self.has_successor(shard, token);
        if let Some(ownership) = self.ownership(shard, token) {
            ownership.entered_late = is_late;
        }
    }

    /// It looked.
    pub fn entered(&mut self, shard: &str, token: u64, is_valid: bool) {
        let Some(ownership) = self.ownership(shard, token).filter(|found| found.entered_late) else {
            return;
        };
        let worker = ownership.worker.clone();
        if is_valid {
            self.violations.push(format!(
                "{worker} was given a batch of {shard} with a valid lease and token {token} after a successor had begun"
            ));
        } else {
            self.expired += 1;
        }
    }

    /// A processor was given a record.
    pub fn record(&mut self, shard: &str, token: u64, sequence: &str) {
        let at = position(sequence);
        let Some(ownership) = self.ownership(shard, token).filter(|found| found.start >= at) else {
            return;
        };
        let (worker, start) = (ownership.worker.clone(), ownership.start.clone());
        self.violations.push(format!(
            "{worker} was given {at} of {shard} although it began behind {start}"
        ));
    }

    /// A processor is going to checkpoint.
    pub fn saving(&mut self, shard: &str, token: u64) {
        let is_late = self.has_successor(shard, token);
        if let Some(ownership) = self.ownership(shard, token) {
            ownership.saves_late = is_late;
        }
    }

    /// Its checkpoint at this sequence number was confirmed.
    pub fn saved(&mut self, shard: &str, token: u64, sequence: &str) {
        let at = position(sequence);
        let Some(ownership) = self.ownership(shard, token) else {
            return;
        };
        ownership.confirmed = ownership.confirmed.take().max(Some(at.clone()));
        if ownership.saves_late {
            let worker = ownership.worker.clone();
            self.violations.push(format!(
                "{worker} checkpointed {shard} at {at} with token {token} after a successor had begun"
            ));
        }
    }

    /// How often a processor was given a batch after its successor had begun, and could see that its lease had expired. A
    /// process that is frozen between the library's own look and the processor's cannot be kept from it.
    pub fn expired(&self) -> usize {
        self.expired
    }

    /// What must not have happened, as sentences.
    pub fn violations(&self) -> Vec<String> {
        let mut violations = self.violations.clone();
        for (shard, ownerships) in &self.ownerships {
            let mut confirmed = None;
            for (token, ownership) in ownerships {
                let (worker, start) = (&ownership.worker, &ownership.start);
                if let Some(confirmed) = confirmed.filter(|confirmed| *confirmed > start) {
                    violations.push(format!(
                        "{worker} began {shard} with token {token} at {start} although {confirmed} was confirmed to an \
                         owner before it"
                    ));
                }
                confirmed = confirmed.max(ownership.confirmed.as_ref());
            }
        }
        violations
    }

    fn ownership(&mut self, shard: &str, token: u64) -> Option<&mut Ownership> {
        self.ownerships.get_mut(shard)?.get_mut(&token)
    }

    fn has_successor(&self, shard: &str, token: u64) -> bool {
        let last = self
            .ownerships
            .get(shard)
            .and_then(|ownerships| ownerships.last_key_value());
        last.is_some_and(|(last, _)| *last > token)
    }
}

fn position(text: &str) -> Checkpoint {
    Checkpoint::parse(text, 0).expect("a sequence number or a sentinel")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worker a owns shard s with token 3 and has checkpointed at 10.
    fn owned() -> Fencing {
        let mut fencing = Fencing::default();
        fencing.began("a", "s", 3, "TRIM_HORIZON");
        fencing.entering("s", 3);
        fencing.entered("s", 3, true);
        fencing.record("s", 3, "10");
        fencing.saving("s", 3);
        fencing.saved("s", 3, "10");
        fencing
    }

    #[test]
    fn an_owner_caught_in_the_act_by_its_successor_did_nothing_wrong() {
        let mut fencing = owned();
        fencing.entering("s", 3);
        fencing.began("b", "s", 5, "10");
        fencing.entered("s", 3, true);
        fencing.record("s", 3, "11");
        fencing.record("s", 5, "11");
        assert_eq!(fencing.violations(), [""; 0]);
        assert_eq!(fencing.expired(), 0);
    }

    #[test]
    fn a_checkpoint_told_after_the_successor_began_counts_only_if_it_reached_further() {
        let mut fencing = owned();
        fencing.saving("s", 3);
        fencing.began("b", "s", 5, "20");
        fencing.saved("s", 3, "20");
        assert_eq!(fencing.violations(), [""; 0]);
        fencing.saved("s", 3, "21");
        assert_eq!(
            fencing.violations(),
            ["b began s with token 5 at 20 although 21 was confirmed to an owner before it"]
        );
    }

    #[test]
    fn a_beginning_told_late_is_judged_by_its_token() {
        let mut fencing = owned();
        fencing.began("c", "s", 7, "10");
        fencing.saved("s", 7, "30");
        fencing.began("b", "s", 5, "10");
        assert_eq!(fencing.violations(), [""; 0]);
    }

    #[test]
    fn a_batch_after_the_successor_began_is_a_violation_if_the_lease_seems_valid() {
        let mut fencing = owned();
        fencing.began("b", "s", 5, "10");
        fencing.entering("s", 3);
        fencing.entered("s", 3, false);
        assert_eq!((fencing.violations().len(), fencing.expired()), (0, 1));
        fencing.entering("s", 3);
        fencing.entered("s", 3, true);
        assert_eq!(
            fencing.violations(),
            ["a was given a batch of s with a valid lease and token 3 after a successor had begun"]
        );
    }

    #[test]
    fn stale_checkpoints_records_below_the_beginning_and_shared_tokens_are_violations() {
        let mut fencing = owned();
        fencing.began("b", "s", 5, "10");
        fencing.saving("s", 3);
        fencing.saved("s", 3, "10");
        fencing.record("s", 5, "10");
        fencing.began("c", "s", 5, "10");
        assert_eq!(
            fencing.violations(),
            [
                "a checkpointed s at 10 with token 3 after a successor had begun",
                "b was given 10 of s although it began behind 10",
                "c began s with token 5, and so had b"
            ]
        );
    }
}
