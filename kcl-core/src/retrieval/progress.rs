//! Which records of an answer are new. Pure.

use kcl_lease::{Checkpoint, ExtendedSequenceNumber};

use crate::record::Record;

/// How far a shard's records are processed, or on their way to be.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    done: Option<ExtendedSequenceNumber>,
    /// The position is a checkpoint's: it may lie inside the record that it names.
    may_lie_inside: bool,
    /// The last record that was left out, until it is taken; of an aggregate, up to the user record at its position.
    front: Option<Record>,
}

impl Progress {
    /// Everything up to a checkpoint is done.
    pub(crate) fn behind(checkpoint: &Checkpoint) -> Self {
        match checkpoint {
            Checkpoint::At(position) => Self {
                done: Some(position.clone()),
                may_lie_inside: true,
                front: None,
            },
            _ => Self::default(),
        }
    }

    /// The last record that is done, or of which a part is.
    pub(crate) fn done(&self) -> Option<&ExtendedSequenceNumber> {
        self.done.as_ref()
    }

    /// The record in front of the new ones, if an answer held it and it is small enough to be kept.
    pub(crate) fn take_front(&mut self) -> Option<Record> {
        self.front.take()
    }

    /// Leaves the new ones of an answer's records, and goes on to their end.
    ///
    /// Of an aggregate that the checkpoint covers in part, the other user records are new. A plain record that it covers in
    /// part, as somebody else counts parts, is new as a whole; its position is never less than the checkpoint, so that it can
    /// be checkpointed in its turn.
    pub(crate) fn advance(&mut self, records: &mut Vec<Record>) {
        let Some(last) = records.last().map(|record| record.position().clone()) else {
            return;
        };
        let mut reached = last;
        if let Some(done) = self.done.take() {
            // In the shard's order, so what is done comes first.
            let mut old = records.partition_point(|record| record.position().sequence <= done.sequence);
            let mut front = None;
            if let Some(named) = old.checked_sub(1).and_then(|index| records.get_mut(index))
                && self.may_lie_inside
                && named.position().sequence == done.sequence
                && is_partly_new(named, done.sub_sequence)
            {
                old -= 1;
                front = keep_what_is_new(named, done.sub_sequence);
            }
            let before = records.drain(..old).next_back();
            let before = before.filter(|before| front.is_none() && before.is_small());
            let front = front.or_else(|| before.map(|before| before.detach_to(before.sub_sequence_number())));
            self.front = front.or(self.front.take());
            self.may_lie_inside &= reached.sequence < done.sequence;
            reached = records.last().map_or(reached, |record| record.position().clone());
            reached = reached.max(done);
        }
        self.done = Some(reached);
    }
}

/// Whether a checkpoint that names a record does not cover all of it.
fn is_partly_new(named: &Record, done: u64) -> bool {
    if named.is_packed() {
        done < named.sub_sequence_number()
    } else {
        done != named.sub_sequence_number()
    }
}

/// Leaves out what is done. If something of the record is, that is in front of the rest.
fn keep_what_is_new(named: &mut Record, done: u64) -> Option<Record> {
    if named.is_packed() {
        let front = named.is_small().then(|| named.detach_to(done));
        named.leave_out_to(done);
        front
    } else {
        named.raise_sub_sequence(done);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::{aggregate, record, whole_aggregate};

    fn behind(sequence: u64, sub: u64) -> Progress {
        Progress::behind(&Checkpoint::parse(sequence.to_string(), sub).expect("valid"))
    }

    fn new_of(progress: &mut Progress, mut records: Vec<Record>) -> Vec<String> {
        progress.advance(&mut records);
        records
            .iter()
            .map(|record| record.position().to_string())
            .collect()
    }

    #[test]
    fn what_a_checkpoint_covers_is_left_out() {
        let mut progress = behind(2, 0);
        let new = new_of(&mut progress, vec![record(1), record(2), record(3), record(4)]);
        assert_eq!(new, ["3", "4"]);
        assert_eq!(new_of(&mut progress, vec![record(4), record(5)]), ["5"]);
    }

    #[test]
    fn without_a_checkpoint_everything_is_new_once() {
        for start in [
            Checkpoint::TrimHorizon,
            Checkpoint::Latest,
            Checkpoint::AtTimestamp,
        ] {
            let mut progress = Progress::behind(&start);
            assert_eq!(new_of(&mut progress, vec![record(1), record(2)]), ["1", "2"]);
            assert_eq!(new_of(&mut progress, vec![record(2), record(3)]), ["3"]);
        }
    }

    /// The user records that are new behind a checkpoint, and the index up to which the one in front was done.
    fn inside(sub: u64, aggregate: Record) -> (Vec<u64>, Option<u64>) {
        let mut progress = behind(7, sub);
        let mut records = vec![record(6), aggregate];
        progress.advance(&mut records);
        let mut new = Vec::new();
        for record in &mut records {
            while let Some(next) = record.look_at_next() {
                new.extend(
                    record
                        .take_next(next, true)
                        .map(|record| record.sub_sequence_number()),
                );
            }
        }
        let front = progress.take_front();
        assert_eq!(
            front.as_ref().map(|front| front.sequence_number().as_str()),
            Some("7")
        );
        (new, front.map(|front| front.sub_sequence_number()))
    }

    #[test]
    fn reading_goes_on_inside_an_aggregate() {
        for (sub, new) in [(0, &[1, 2][..]), (1, &[2]), (2, &[])] {
            assert_eq!(
                inside(sub, aggregate(7)),
                (new.to_vec(), Some(sub)),
                "sub-sequence {sub}"
            );
        }
        assert_eq!(
            inside(5, aggregate(7)),
            (vec![], Some(2)),
            "behind its last user record"
        );
    }

    #[test]
    fn an_aggregate_that_is_not_taken_apart_is_delivered_again_until_its_last_user_record_is_checkpointed() {
        let answer = || vec![whole_aggregate(7), record(8)];
        for (sub, expected) in [(0, &["7:2", "8"][..]), (1, &["7:2", "8"]), (2, &["8"])] {
            assert_eq!(
                new_of(&mut behind(7, sub), answer()),
                expected,
                "sub-sequence {sub}"
            );
        }
    }

    #[test]
    fn a_record_that_somebody_else_took_apart_is_delivered_whole_and_can_be_checkpointed() {
        let mut progress = behind(7, 5);
        assert_eq!(new_of(&mut progress, vec![record(6), record(7)]), ["7:5"]);
        assert_eq!(
            new_of(&mut progress, vec![record(7), record(8)]),
            ["8"],
            "and only once"
        );
    }

    #[test]
    fn a_checkpoint_between_records_covers_those_before_it() {
        let mut progress = behind(7, 1);
        assert_eq!(new_of(&mut progress, vec![record(6), record(9)]), ["9"]);
        let mut progress = behind(7, 1);
        assert_eq!(new_of(&mut progress, vec![record(5), record(6)]), [""; 0]);
        assert_eq!(
            new_of(&mut progress, vec![record(7)]),
            ["7:1"],
            "it comes with the next answer"
        );
    }
}
