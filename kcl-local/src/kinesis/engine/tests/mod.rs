//! Scenarios with a whole engine, at times that the tests choose.

mod histories;
mod listing;
mod reading;
mod resharding;
mod retention;
mod statuses;
mod subscriptions;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;

const STREAM: &str = "orders";
const ALL: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 10 << 20,
};
const HOUR: u64 = 3_600_000;

/// An engine with one stream, and the time.
struct World {
    engine: Engine,
    now: EpochMillis,
}

impl World {
    fn new(shards: u32) -> Self {
        Self::with(KinesisOptions::default(), shards)
    }

    fn with(options: KinesisOptions, shards: u32) -> Self {
        let mut world = Self {
            engine: Engine::new(options),
            now: EpochMillis::new(1_700_000_000_000),
        };
        world.create(STREAM, shards).unwrap();
        world
    }

    fn create(&mut self, name: &str, shards: u32) -> Result<(), EngineError> {
        let spec = StreamSpec {
            name: name.to_owned(),
            mode: CapacityMode::Provisioned,
            shards,
            max_record_kib: 1024,
            warm_mibps: None,
            distribution: Distribution::ByKey,
            tags: BTreeMap::new(),
        };
        self.engine.create(spec, self.now)
    }

    fn advance(&mut self, millis: u64) {
        self.now = EpochMillis::new(self.now.get() + millis);
    }

    fn stream(&mut self) -> &mut Stream {
        let stream = self.engine.stream(STREAM, self.now).unwrap();
        stream.expire(self.now);
        stream
    }

    fn status(&mut self) -> StreamStatus {
        self.stream().status()
    }

    fn put_at(&mut self, key: HashKey, content: &str) -> Result<SequenceNumber, EngineError> {
        let payload = Payload {
            partition_key: "k".into(),
            data: Bytes::copy_from_slice(content.as_bytes()),
        };
        self.engine.put(STREAM, key, payload, self.now)
    }

    fn put(&mut self, content: &str) -> SequenceNumber {
        self.put_at(HashKey::MIN, content).unwrap()
    }

    fn iterator(&mut self, shard: u32, start: StartingPosition) -> Result<ShardIterator, EngineError> {
        self.engine.iterator(STREAM, ShardId::new(shard), start, self.now)
    }

    fn read(&mut self, iterator: &ShardIterator) -> Result<ReadOutcome<'_>, EngineError> {
        self.engine.read(iterator.clone(), ALL, self.now)
    }

    /// What a shard holds from `start` on.
    fn contents(&mut self, shard: u32, start: StartingPosition) -> Vec<String> {
        let iterator = self.iterator(shard, start).unwrap();
        contents(&self.read(&iterator).unwrap().records)
    }

    fn split(&mut self, shard: u32, at: HashKey) -> Result<(), EngineError> {
        self.engine.split(STREAM, ShardId::new(shard), at, self.now)
    }

    /// Splits a shard in the middle.
    fn halve(&mut self, shard: u32) {
        let range = self.stream().shards[&ShardId::new(shard)].range;
        self.split(shard, middle(range)).unwrap();
    }

    fn merge(&mut self, lower: u32, upper: u32) -> Result<(), EngineError> {
        self.engine
            .merge(STREAM, ShardId::new(lower), ShardId::new(upper), self.now)
    }

    fn ids(&mut self, filter: ShardFilter) -> Vec<u32> {
        self.stream()
            .select(filter)
            .iter()
            .map(|shard| shard.id().number())
            .collect()
    }
}

fn label() -> StreamLabel {
    StreamLabel::new(STREAM, KinesisOptions::default().account_id.as_str().into())
}

fn contents(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.payload.data.to_vec()).unwrap();
    records.iter().map(text).collect()
}

fn middle(range: hash::HashRange) -> HashKey {
    let (start, end) = (u128_of(range.start), u128_of(range.end));
    HashKey::new(start + (end - start) / 2 + 1)
}

fn u128_of(key: HashKey) -> u128 {
    key.to_string().parse().unwrap()
}

/// Whether `shards` divide the whole space of hash keys.
fn is_partition(shards: &[&Shard]) -> bool {
    let mut ranges: Vec<_> = shards.iter().map(|shard| shard.range).collect();
    ranges.sort_by_key(|range| range.start);
    ranges.first().is_some_and(|first| first.start == HashKey::MIN)
        && ranges.last().is_some_and(|last| last.end == HashKey::MAX)
        && ranges.windows(2).all(|pair| pair[0].precedes(pair[1]))
}
