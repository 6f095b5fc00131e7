//! Records that are handled beside each other, as `each_record` and `deliveries` do it: in the histories of some seeds.

use std::time::Duration;

use kcl_core::{
    Deliveries, DeliveryOptions, EachRecord, EachRecordOptions, Record, RecordProcessor, ShardContext,
};

use crate::faults::{SINGLE_RECORDS, Wanted};
use crate::history::Name;
use crate::seeds::Dice;

/// What makes the processors of one worker.
pub(crate) type Processors = Box<dyn Fn(&ShardContext) -> Box<dyn RecordProcessor> + Send + Sync>;

type EachRecords = Box<dyn Fn(&ShardContext) -> EachRecord + Send + Sync>;

/// In what way records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A handler is called.
    EachRecord,
    /// A `tower` service is called.
    Service,
    /// They are taken from a stream, and acknowledged by tasks of their own.
    Deliveries,
}

/// Which records are handled one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Those of one partition key.
    ByKey,
    /// Those whose partition keys end alike.
    ByGroup,
    /// None.
    InAnyOrder,
}

/// The options of every worker in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In what way they come.
    pub shape: Shape,
    /// Which records wait for each other.
    pub order: Handled,
    /// Records of a shard that are handled at once.
    pub at_once: usize,
    /// Those of all shards of a worker, if that is bounded.
    pub in_worker: Option<usize>,
    /// Records that are taken in and not done.
    pub undone: usize,
    /// Those of all shards of a worker, if that is bounded.
    pub undone_in_worker: Option<usize>,
    /// Records that keys which fail may hold back before no more are taken in.
    pub held_back: usize,
    /// Records from the first one that is not done to the last one that is taken in.
    pub ahead: usize,
    /// How long a checkpoint may wait.
    pub interval: Duration,
}

/// How records are handled in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Singles {
    /// What the workers are told.
    pub limits: Limits,
    /// They write to a sink with moods, and give up what it never takes, once others have shown that it is the record. So each shard
    /// is to have others.
    pub has_sink: bool,
}

impl Singles {
    /// How often its sink is away: a record that fails then, and once by chance, was not shown to be at fault.
    pub const TIMES_AWAY: u64 = 2;

    /// Those of a seed's history, if records are handled beside each other in it.
    #[must_use]
    pub fn drawn(seed: u64, wanted: &Wanted) -> Option<Self> {
        if !wanted.has(SINGLE_RECORDS, seed.is_multiple_of(10)) {
            return None;
        }
        let mut dice = Dice::of(seed, "single records");
        let mut between = |low, high| usize::try_from(dice.between(low, high)).unwrap_or(1);
        let [at_once, undone, held_back, ahead] =
            [between(1, 8), between(4, 64), between(2, 16), between(16, 256)];
        let in_worker = between(1, 12);
        let mut more_dice = Dice::of(seed, "services and bounds of workers");
        let is_service = more_dice.happens(400);
        let undone_in_worker = more_dice.happens(400).then(|| more_dice.between(2, 40));
        let shape = match dice.happens(500) {
            true if is_service => Shape::Service,
            true => Shape::EachRecord,
            false => Shape::Deliveries,
        };
        let has_sink = dice.happens(350);
        // What others show needs others: where a key holds too much back, no more of them are taken in.
        let more = if has_sink { 1_000 } else { 0 };
        let limits = Limits {
            shape,
            order: match dice.roll(10) {
                0..=6 => Handled::ByKey,
                7 => Handled::ByGroup,
                _ => Handled::InAnyOrder,
            },
            at_once,
            in_worker: dice.happens(350).then_some(in_worker),
            undone: undone + more,
            undone_in_worker: undone_in_worker
                .and_then(|records| usize::try_from(records).ok())
                .filter(|_| !has_sink),
            held_back: held_back + more,
            ahead: ahead + more,
            interval: Duration::from_millis(dice.between(100, 3_000)),
        };
        Some(Self { limits, has_sink })
    }
}

impl Limits {
    /// Processors that call a handler, with these limits.
    pub(crate) fn calling(self, processors: impl EachRecordOptions) -> Processors {
        let processors = self.applied_to(processors);
        Box::new(move |shard| Box::new(processors(shard)))
    }

    /// Processors whose records come by a stream, with these limits.
    pub(crate) fn delivering(self) -> (Processors, Deliveries) {
        let options = DeliveryOptions::new(self.in_worker.unwrap_or(usize::MAX))
            .max_per_shard(self.at_once)
            .max_undone(self.undone)
            .max_held_back(self.held_back)
            .max_ahead(self.ahead)
            .checkpoint_interval(self.interval);
        let options = match self.order {
            Handled::ByKey => options.keyed(),
            Handled::ByGroup => options.keyed_by(|record| group(record).to_owned()),
            Handled::InAnyOrder => options,
        };
        let options = match self.undone_in_worker {
            Some(records) => options.worker_max_undone(records),
            None => options,
        };
        let (processors, deliveries) = options.split();
        (Box::new(move |shard| Box::new(processors(shard))), deliveries)
    }

    fn applied_to(self, processors: impl EachRecordOptions) -> EachRecords {
        let processors = processors
            .concurrency(self.at_once)
            .max_undone(self.undone)
            .max_held_back(self.held_back)
            .max_ahead(self.ahead)
            .checkpoint_interval(self.interval);
        let processors: EachRecords = match self.in_worker {
            Some(records) => Box::new(processors.worker_concurrency(records)),
            None => Box::new(processors),
        };
        let processors: EachRecords = match self.undone_in_worker {
            Some(records) => Box::new(processors.worker_max_undone(records)),
            None => processors,
        };
        match self.order {
            Handled::ByKey => processors,
            Handled::ByGroup => Box::new(processors.keyed_by(|record| group(record).to_owned())),
            Handled::InAnyOrder => Box::new(processors.unordered()),
        }
    }

    /// What a record waits for: others of the same lane.
    pub(crate) fn lane(&self, record: &Record) -> Option<Name> {
        match self.order {
            Handled::ByKey => Some(record.partition_key().into()),
            Handled::ByGroup => Some(group(record).into()),
            Handled::InAnyOrder => None,
        }
    }
}

/// The last character of its key.
fn group(record: &Record) -> &str {
    let key = record.partition_key();
    let last = key.char_indices().next_back();
    last.map_or("", |(place, _)| &key[place..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_all_histories_handles_records_beside_each_other_or_those_in_which_that_is_wanted() {
        let share = |wanted: &Wanted| {
            (0..100)
                .filter(|seed| Singles::drawn(*seed, wanted).is_some())
                .count()
        };
        assert_eq!(share(&Wanted::default()), 10);
        let only = |kind: &str| Wanted {
            only: vec![kind.to_owned()],
            ..Wanted::default()
        };
        assert_eq!(share(&only(SINGLE_RECORDS)), 100);
        assert_eq!(share(&only("kill")), 0);
    }
}
