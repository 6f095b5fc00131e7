//! Records, and the shards that they go to.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, PutRecordsResultEntry, Shard, StreamStatus};
use kcl_aggregation::{Aggregator, UserRecord};
use kcl_core::{ExtendedSequenceNumber, SequenceNumber};
use tokio::time::{Instant, sleep};

use crate::aggregates::Aggregates;
use crate::history::{History, Name, What};
use crate::load::Machines;
use crate::memory::Memory;
use crate::seeds::Dice;
use crate::sink::Sink;
use crate::streams::Streams;

/// The stream's name.
pub const STREAM: &str = "clicks";
/// About so many records are put per second.
pub const RECORDS_PER_SECOND: u64 = 8;
/// So many keys take turns,
const TURNS: u64 = 400;
/// each this far from the one before: neighbours in time are far from each other.
const STRIDE: u64 = 247;

/// What is put, and where to.
#[derive(Debug)]
pub struct Workload {
    kinesis: Client,
    history: History,
    streams: Streams,
    machines: Option<Machines>,
    dice: Dice,
    world: Name,
    keys: u64,
    /// Records per put that go to one key, so that its shard is hot; per mille.
    hot: u64,
    counters: BTreeMap<u64, u64>,
    /// What records take, where that is much.
    memory: Option<Memory>,
    /// Where there are records that no processor can take: their dice.
    unreadable: Option<Dice>,
    /// Whether those become dead letters.
    is_kept: bool,
    /// Where records are put together: how.
    aggregates: Option<Aggregates>,
    spoiled: u64,
    /// How many keys had their turn, if they have turns.
    turns: Option<u64>,
    /// Nothing is put.
    rests: bool,
    /// Hash keys that get no records, and until when.
    hushed: Option<((u128, u128), Instant)>,
    known: usize,
    /// As many open shards are not split any further.
    most_shards: usize,
}

/// A record that is to be put.
#[derive(Debug)]
struct Drawn {
    key: Name,
    counter: u64,
    /// The explicit hash key.
    hash_key: Option<u128>,
    is_unreadable: bool,
}

impl Drawn {
    fn user_record(&self, data: String) -> UserRecord {
        let record = UserRecord::new(&*self.key, data);
        match self.hash_key {
            Some(hash_key) => record.explicit_hash_key(hash_key.to_string()),
            None => record,
        }
    }

    fn belongs_to(&self, shard: &Shard) -> bool {
        let (start, end) = range(shard);
        let hash_key = self.user_record(String::new()).hash_key();
        (start..=end).contains(&hash_key.expect("a hash key"))
    }
}

impl Workload {
    /// A workload on a stream that is to be created, and is split until it has `most_shards` open ones.
    pub fn new(
        kinesis: Client,
        history: History,
        streams: Streams,
        machines: Option<Machines>,
        mut dice: Dice,
        most_shards: usize,
    ) -> Self {
        // With few keys most shards are idle.
        let keys = *dice.pick(&[3, 10, 40, 120]).unwrap_or(&40);
        let hot = *dice.pick(&[0, 300, 900]).unwrap_or(&0);
        Self {
            kinesis,
            history,
            streams,
            machines,
            dice,
            world: "world".into(),
            keys,
            hot,
            counters: BTreeMap::new(),
            memory: None,
            unreadable: None,
            is_kept: false,
            aggregates: None,
            spoiled: 0,
            turns: None,
            rests: false,
            hushed: None,
            known: 0,
            most_shards,
        }
    }

    /// Records take so much.
    pub fn fatten(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    /// Many keys, none of which is hot: each shard gets records.
    pub fn spread_out(&mut self) {
        (self.keys, self.hot) = (120, 0);
    }

    /// Some records are such as no processor can take, and become dead letters, or may be skipped.
    pub fn spoil(&mut self, dice: Dice, is_kept: bool) {
        self.unreadable = Some(dice);
        self.is_kept = is_kept;
    }

    /// From now on it puts none of those.
    pub fn spoil_no_more(&mut self) {
        self.unreadable = None;
    }

    /// Some records are put together.
    pub fn put_together(&mut self, aggregates: Aggregates) {
        self.aggregates = Some(aggregates);
    }

    /// Every shard gets records all the time.
    pub fn spread_evenly(&mut self) {
        (self.keys, self.hot) = (400, 0);
    }

    /// Every shard gets its part of the records to the letter, in time too: from now on other keys take turns, which lie
    /// equally far from each other.
    pub fn spread_in_turn(&mut self) {
        self.turns = Some(0);
    }

    /// From now on nothing is put, or again something.
    pub fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    /// Records that a shard would get in its turn are left out for some time.
    pub async fn hush(&mut self, shard: &str, time: Duration) {
        let open = self.open_shards().await;
        let hushed = open.iter().find(|open| open.shard_id() == shard);
        self.hushed = hushed.map(|shard| (range(shard), Instant::now() + time));
    }

    /// The key whose turn it is, by its number, and its place among the hash keys; none if it is hushed.
    fn turn(&mut self) -> Option<(u64, u128)> {
        let turns = self.turns.as_mut()?;
        *turns += 1;
        let place = *turns * STRIDE % TURNS;
        let hash = u128::MAX / u128::from(TURNS) * u128::from(place);
        let is_hushed = self
            .hushed
            .is_some_and(|((start, end), until)| (start..=end).contains(&hash) && Instant::now() < until);
        (!is_hushed).then_some((self.keys + place, hash))
    }

    /// Puts a few records, each with its key's next counter.
    pub async fn put(&mut self) {
        if self.rests {
            return;
        }
        let is_together = self.aggregates.as_mut().is_some_and(Aggregates::are_next);
        let records = self.draw(is_together);
        if records.is_empty() {
            return;
        }
        if is_together {
            self.put_each_shards(records).await;
            return;
        }
        let entries = records.iter().map(|record| {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(&*record.key)
                .set_explicit_hash_key(record.hash_key.map(|hash| hash.to_string()))
                .data(Blob::new(self.data(record, 1)));
            entry.build().expect("complete")
        });
        let stored = self.store(entries.collect()).await;
        for (record, stored) in records.into_iter().zip(stored) {
            self.acknowledged(record, &stored, 0);
        }
    }

    /// What is put next.
    fn draw(&mut self, is_together: bool) -> Vec<Drawn> {
        let mut records: Vec<Drawn> = Vec::new();
        let mut last = None;
        for _ in 0..self.dice.between(1, 8) {
            let repeats = |dice: &mut Dice| dice.happens(Sink::IN_ROW);
            let is_in_row = |aggregates: &mut Aggregates| is_together && aggregates.repeats();
            let (key, hash) = if let Some(last) = last
                && self.turns.is_none()
                && self.aggregates.as_mut().is_some_and(is_in_row)
            {
                (last, None)
            } else if let Some(last) = last
                && self.unreadable.as_mut().is_some_and(repeats)
            {
                (last, None)
            } else if self.turns.is_some() {
                let Some((key, hash)) = self.turn() else {
                    continue;
                };
                (key, Some(hash))
            } else if self.dice.happens(self.hot) {
                (0, None)
            } else {
                (self.dice.roll(self.keys), None)
            };
            last = Some(key);
            let of_key = || self.aggregates.as_ref().and_then(|_| Aggregates::hash_key(key));
            let hash_key = hash.or_else(of_key);
            let counter = self.counters.entry(key).or_default();
            let name = match self.streams.count() {
                0 | 1 => format!("user-{key}"),
                // Its records begin anew.
                count => format!("user-{key} of stream {count}"),
            };
            let name: Name = name.into();
            let spoils = |dice: &mut Dice| dice.happens(Sink::BAD);
            // Directly behind one that is put in the same breath: the first record of a shard has none in front of it.
            let is_behind = records.last().is_some_and(|last| last.key == name);
            let is_unreadable =
                is_behind && self.spoiled < Sink::MOST_BAD && self.unreadable.as_mut().is_some_and(spoils);
            if is_unreadable {
                self.spoiled += 1;
                let (key, counter, is_kept) = (name.clone(), *counter, self.is_kept);
                self.history.record(
                    &self.world,
                    What::PutUnreadable {
                        key,
                        counter,
                        is_kept,
                    },
                );
            }
            records.push(Drawn {
                key: name,
                counter: *counter,
                hash_key,
                is_unreadable,
            });
            *counter += 1;
        }
        records
    }

    /// What a record holds, if it is one of so many in a record of Kinesis.
    fn data(&self, record: &Drawn, parts: usize) -> String {
        let data = record.counter.to_string();
        match &self.memory {
            _ if record.is_unreadable => Sink::unreadable(record.counter),
            Some(memory) => memory.filled(&data, parts),
            None => data,
        }
    }

    async fn store(&self, entries: Vec<PutRecordsRequestEntry>) -> Vec<PutRecordsResultEntry> {
        let request = self.kinesis.put_records().stream_name(STREAM);
        let answer = request.set_records(Some(entries)).send().await.expect("put");
        answer.records
    }

    fn acknowledged(&self, record: Drawn, stored: &PutRecordsResultEntry, sub_sequence: u64) {
        let sequence = stored.sequence_number().expect("nothing is throttled");
        let sequence = SequenceNumber::parse(sequence).expect("a number");
        let shard = self.streams.name(stored.shard_id().expect("stored"));
        if let Some(machines) = &self.machines {
            machines.put(&shard);
        }
        let what = What::Put {
            key: record.key,
            counter: record.counter,
            shard,
            position: ExtendedSequenceNumber::new(sequence, sub_sequence),
        };
        self.history.record(&self.world, what);
    }

    /// Puts records together for each shard, as far as it is known which one they belong to. As the Kinesis Producer Library does,
    /// puts those once more of which the answer says that they went to another one.
    async fn put_each_shards(&mut self, mut left: Vec<Drawn>) {
        let open = self.open_shards().await;
        let mut mixes = self.aggregates.as_mut().and_then(Aggregates::mixes);
        while !left.is_empty() {
            // All records of a key are in one of them, so they stay in order.
            let mut groups: BTreeMap<usize, Vec<Drawn>> = BTreeMap::new();
            for record in left.drain(..) {
                let place = open.iter().position(|shard| record.belongs_to(shard));
                let place = place.expect("a shard for every hash key");
                let group = mixes.map_or(place, |odd| (place + odd) / 2);
                groups.entry(group).or_default().push(record);
            }
            let entries = groups.values().map(|group| self.together(group)).collect();
            let stored = self.store(entries).await;
            for (group, stored) in groups.into_values().zip(stored) {
                let shard = open
                    .iter()
                    .find(|shard| stored.shard_id() == Some(shard.shard_id()));
                let shard = shard.expect("an open shard");
                for (index, record) in (0..).zip(group) {
                    if record.belongs_to(shard) {
                        self.acknowledged(record, &stored, index);
                    } else {
                        self.aggregates.iter().for_each(Aggregates::count_misplaced);
                        left.push(record);
                    }
                }
            }
            mixes = None;
        }
    }

    /// Records as one record of Kinesis.
    fn together(&self, group: &[Drawn]) -> PutRecordsRequestEntry {
        let mut aggregator = Aggregator::default();
        for record in group {
            let full = aggregator.push(record.user_record(self.data(record, group.len())));
            assert_eq!(full, Ok(None), "there is room for all");
        }
        self.aggregates.iter().for_each(|it| it.count(group.len()));
        let entry = aggregator.finish().expect("something was pushed");
        let built = PutRecordsRequestEntry::builder()
            .partition_key(&*entry.partition_key)
            .set_explicit_hash_key(entry.explicit_hash_key.map(String::from))
            .data(Blob::new(entry.data));
        built.build().expect("complete")
    }

    /// Creates the stream.
    pub async fn create(&mut self, shards: i32) {
        let request = self.kinesis.create_stream().stream_name(STREAM);
        request.shard_count(shards).send().await.expect("created");
        let created = loop {
            let request = self.kinesis.describe_stream_summary().stream_name(STREAM);
            let answer = request.send().await.expect("described");
            let summary = answer.stream_description_summary().expect("described");
            if *summary.stream_status() == StreamStatus::Active {
                break summary.stream_creation_timestamp().secs();
            }
            sleep(Duration::from_millis(100)).await;
        };
        self.streams.begin(created.try_into().expect("after 1970"));
        self.known = 0;
        self.counters.clear();
        self.shards().await;
    }

    /// Deletes the stream, and after this time makes another one under its name.
    pub async fn make_anew(&mut self, away: Duration, shards: i32) {
        let gone = self.shards().await;
        let gone = gone.iter().map(|shard| self.streams.name(shard.shard_id()));
        let shards_gone = gone.collect();
        let request = self.kinesis.delete_stream().stream_name(STREAM);
        let request = request.enforce_consumer_deletion(true);
        request.send().await.expect("deleted");
        self.streams.end();
        let what = What::StreamDeleted { shards: shards_gone };
        self.history.record(&self.world, what);
        sleep(away).await;
        self.create(shards).await;
    }

    /// All shards; those that are new are written down.
    pub async fn shards(&mut self) -> Vec<Shard> {
        let listed = self.kinesis.list_shards().stream_name(STREAM).send().await;
        let mut shards = listed.expect("listed").shards.unwrap_or_default();
        shards.sort_by(|a, b| a.shard_id().cmp(b.shard_id()));
        for shard in shards.iter().skip(self.known) {
            let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
            let parents = parents.into_iter().flatten();
            let what = What::ShardOpened {
                shard: self.streams.name(shard.shard_id()),
                parents: parents.map(|id| self.streams.name(id)).collect(),
            };
            self.history.record(&self.world, what);
        }
        self.known = shards.len();
        shards
    }

    /// The open shards, in the order of their hash keys.
    pub async fn open_shards(&mut self) -> Vec<Shard> {
        let mut shards = self.shards().await;
        shards.retain(|shard| {
            shard
                .sequence_number_range()
                .is_some_and(|range| range.ending_sequence_number().is_none())
        });
        shards.sort_by_key(|shard| range(shard).0);
        shards
    }

    /// Splits a random shard in the middle; if `twice`, its children too. What was done.
    pub async fn split(&mut self, twice: bool) -> String {
        let open = self.open_shards().await;
        let Some(shard) = self
            .dice
            .pick(&open)
            .cloned()
            .filter(|_| open.len() < self.most_shards)
        else {
            return "nothing to split".to_owned();
        };
        self.split_one(&shard).await;
        if twice {
            let id = shard.shard_id();
            let children = self.open_shards().await;
            let children = children
                .iter()
                .filter(|child| child.parent_shard_id() == Some(id));
            for child in children {
                self.split_one(child).await;
            }
        }
        self.shards().await;
        format!(
            "split {}{}",
            shard.shard_id(),
            if twice { " and its children" } else { "" }
        )
    }

    /// Splits the shard with this id in the middle.
    pub async fn split_this(&mut self, id: &str) {
        let open = self.open_shards().await;
        let shard = open.iter().find(|shard| shard.shard_id() == id);
        self.split_one(shard.expect("an open shard")).await;
        self.shards().await;
    }

    async fn split_one(&self, shard: &Shard) {
        let (start, end) = range(shard);
        let middle = (start + (end - start) / 2 + 1).to_string();
        let request = self.kinesis.split_shard().stream_name(STREAM);
        let request = request.shard_to_split(shard.shard_id());
        request.new_starting_hash_key(middle).send().await.expect("split");
    }

    /// Merges two neighbours, the shards with these ids.
    pub async fn merge_these(&mut self, left: &str, right: &str) {
        let request = self.kinesis.merge_shards().stream_name(STREAM);
        let request = request.shard_to_merge(left).adjacent_shard_to_merge(right);
        request.send().await.expect("merged");
        self.shards().await;
    }

    /// Merges two random neighbours. What was done.
    pub async fn merge(&mut self) -> String {
        let open = self.open_shards().await;
        if open.len() < 2 {
            return "nothing to merge".to_owned();
        }
        let index = usize::try_from(self.dice.roll(open.len() as u64 - 1)).expect("small");
        let (left, right) = (open[index].shard_id(), open[index + 1].shard_id());
        self.merge_these(left, right).await;
        format!("merged {left} and {right}")
    }
}

fn range(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range().expect("listed with a range");
    let number = |text: &str| text.parse::<u128>().expect("a number");
    (number(range.starting_hash_key()), number(range.ending_hash_key()))
}
