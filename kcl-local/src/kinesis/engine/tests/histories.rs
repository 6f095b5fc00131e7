//! Random histories of puts, splits, merges, scalings and waits, and what must hold after any of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u128),
    /// The index of an open shard, and where in its range to cut, in parts of 2^32.
    Split(usize, u32),
    Merge(usize),
    Scale(u32),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => any::<u128>().prop_map(Step::Put),
        2 => (any::<usize>(), any::<u32>()).prop_map(|(shard, cut)| Step::Split(shard, cut)),
        2 => any::<usize>().prop_map(Step::Merge),
        1 => (1_u32..12).prop_map(Step::Scale),
        2 => prop_oneof![Just(0), Just(1), 1_u64..2_000, HOUR..8 * HOUR].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

struct Written {
    key: HashKey,
    at: EpochMillis,
    number: SequenceNumber,
}

/// A stream after a history, and all that was ever written to it, in order.
struct Outcome {
    world: World,
    written: Vec<Written>,
}

fn play(shards: u32, update_delay: u64, steps: &[Step]) -> Outcome {
    let update_delay = Duration::from_millis(update_delay);
    let world = World::with(
        KinesisOptions {
            update_delay,
            ..Default::default()
        },
        shards,
    );
    let mut outcome = Outcome {
        world,
        written: Vec::new(),
    };
    for step in steps {
        outcome.take(step);
        let open = outcome.world.stream().select(ShardFilter::AtLatest);
        assert!(is_partition(&open), "after {step:?}");
    }
    outcome
}

impl Outcome {
    fn take(&mut self, step: &Step) {
        let world = &mut self.world;
        let mut open = world.stream().select(ShardFilter::AtLatest);
        open.sort_by_key(|shard| shard.range.start);
        match *step {
            Step::Put(key) => {
                let key = HashKey::new(key);
                let number = world.put_at(key, &self.written.len().to_string()).unwrap();
                self.written.push(Written {
                    key,
                    at: world.now,
                    number,
                });
            }
            Step::Split(index, cut) => {
                let shard = open[index % open.len()];
                let (start, end) = (u128_of(shard.range.start), u128_of(shard.range.end));
                let key = start + ((end - start) >> 32) * u128::from(cut);
                let shard = shard.id().number();
                // Fails while the stream is being updated and for keys at the edge, and then changes nothing.
                let _ = world.split(shard, HashKey::new(key));
            }
            Step::Merge(index) if open.len() > 1 => {
                let index = index % (open.len() - 1);
                let (lower, upper) = (open[index].id().number(), open[index + 1].id().number());
                let _ = world.merge(lower, upper);
            }
            Step::Merge(_) => {}
            Step::Scale(shards) => {
                let _ = world.engine.scale(STREAM, shards, world.now);
            }
            Step::Wait(millis) => world.advance(millis),
        }
    }

    /// Reads the shards that `filter` shows from `start` and their descendants from their beginnings, parents
    /// before children, in small batches. Returns the contents by shard, with the records' numbers.
    fn walk(&mut self, filter: ShardFilter, start: StartingPosition) -> Vec<(ShardId, Vec<Record>)> {
        let world = &mut self.world;
        let mut waiting: BTreeMap<ShardId, StartingPosition> = world
            .stream()
            .select(filter)
            .iter()
            .map(|shard| (shard.id(), start))
            .collect();
        let mut walked = Vec::new();
        // A child has a greater id than its parents, so the smallest id comes next.
        while let Some((id, start)) = waiting.pop_first() {
            let mut next = Some(world.iterator(id.number(), start).unwrap());
            let mut records = Vec::new();
            while let Some(iterator) = next.take() {
                let token = iterator.encode(world.now);
                let iterator = ShardIterator::decode(&token, world.now).unwrap();
                let read = world
                    .engine
                    .read(iterator, ReadLimit { records: 3, ..ALL }, world.now)
                    .unwrap();
                assert_eq!(read.next.is_none(), !read.children.is_empty());
                assert!(read.children.iter().all(|child| child.parents.contains(&id)));
                waiting.extend(
                    read.children
                        .iter()
                        .map(|child| (child.id(), StartingPosition::TrimHorizon)),
                );
                next = read.next.filter(|_| !read.records.is_empty());
                records.extend(read.records);
            }
            walked.push((id, records));
        }
        walked
    }

    /// The indices of the records that were written at `time` or later and are still kept.
    fn expected(&self, time: EpochMillis) -> Vec<usize> {
        let horizon = self.world.now.get().saturating_sub(24 * HOUR).max(time.get());
        let kept = self
            .written
            .iter()
            .enumerate()
            .filter(|(_, written)| written.at.get() >= horizon);
        kept.map(|(index, _)| index).collect()
    }
}

fn index_of(record: &Record) -> usize {
    contents(std::slice::from_ref(record))[0].parse().unwrap()
}

fn sorted_indices(walked: &[(ShardId, Vec<Record>)]) -> Vec<usize> {
    let mut indices: Vec<_> = walked
        .iter()
        .flat_map(|(_, records)| records)
        .map(index_of)
        .collect();
    indices.sort_unstable();
    indices
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn walking_from_the_trim_horizon_meets_every_record_once(
        shards in 1_u32..6, delay in prop_oneof![Just(0_u64), 1_u64..3_000], steps in steps()
    ) {
        let mut outcome = play(shards, delay, &steps);
        let walked = outcome.walk(ShardFilter::AtTrimHorizon, StartingPosition::TrimHorizon);
        prop_assert_eq!(sorted_indices(&walked), outcome.expected(EpochMillis::new(0)));
        for (shard, records) in &walked {
            for record in records {
                let written = &outcome.written[index_of(record)];
                prop_assert_eq!(record.sequence_number, written.number);
                prop_assert_eq!(record.arrived, written.at);
                prop_assert_eq!(written.number.origin().shard, *shard);
            }
        }
    }

    #[test]
    fn walking_from_a_time_meets_every_record_since_then_once(
        shards in 1_u32..6, steps in steps(), back in prop_oneof![Just(0), Just(1), 0_u64..3_000, 0..30 * HOUR]
    ) {
        let mut outcome = play(shards, 0, &steps);
        let time = EpochMillis::new(outcome.world.now.get() - back);
        let shown = outcome.world.stream().select(ShardFilter::AtTimestamp(time));
        prop_assert!(is_partition(&shown));
        let walked = outcome.walk(ShardFilter::AtTimestamp(time), StartingPosition::AtTimestamp(time));
        prop_assert_eq!(sorted_indices(&walked), outcome.expected(time));
    }

    #[test]
    fn records_of_one_hash_key_keep_their_order_across_generations(
        shards in 1_u32..6, steps in steps(), key: u128
    ) {
        let one_key = |step: &Step| match step {
            Step::Put(_) => Step::Put(key),
            other => other.clone(),
        };
        let mut outcome = play(shards, 0, &steps.iter().map(one_key).collect::<Vec<_>>());
        let walked = outcome.walk(ShardFilter::AtTrimHorizon, StartingPosition::TrimHorizon);
        let met: Vec<_> = walked.iter().flat_map(|(_, records)| records).map(index_of).collect();
        prop_assert!(met.is_sorted());
        let numbers: Vec<_> = outcome.written.iter().map(|written| written.number).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "numbers grow from parent to child too");
        prop_assert!(outcome.written.iter().all(|written| written.key == HashKey::new(key)));
    }

    #[test]
    fn every_shard_holds_its_records_and_no_others(shards in 1_u32..6, steps in steps()) {
        let mut outcome = play(shards, 0, &steps);
        let numbers: BTreeSet<_> = outcome.written.iter().map(|written| written.number).collect();
        prop_assert_eq!(numbers.len(), outcome.written.len(), "numbers are unique in the stream");
        for written in &outcome.written {
            let stream = outcome.world.stream();
            // The shard may have expired by now.
            if let Some(shard) = stream.shards.get(&written.number.origin().shard) {
                prop_assert!(shard.range.start <= written.key && written.key <= shard.range.end);
                prop_assert!(shard.starting_sequence_number() < written.number);
                prop_assert!(shard.ending_sequence_number().is_none_or(|end| written.number < end));
            }
        }
    }
}
