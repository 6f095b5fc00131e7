//! Records, and the shards that they go to.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use kcl_core::SequenceNumber;
use tokio::time::{Instant, sleep};

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

    /// Some records are such as no processor can take.
    pub fn spoil(&mut self, dice: Dice) {
        self.unreadable = Some(dice);
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
        let mut entries = Vec::new();
        let mut names = Vec::new();
        let mut last = None;
        for _ in 0..self.dice.between(1, 8) {
            let repeats = |dice: &mut Dice| dice.happens(Sink::IN_ROW);
            let (key, hash) = if let Some(last) = last
                && self.unreadable.as_mut().is_some_and(repeats)
            {
                (last, None)
            } else if self.turns.is_some() {
                let Some((key, hash)) = self.turn() else {
                    continue;
                };
                (key, Some(hash.to_string()))
            } else if self.dice.happens(self.hot) {
                (0, None)
            } else {
                (self.dice.roll(self.keys), None)
            };
            last = Some(key);
            let counter = self.counters.entry(key).or_default();
            let name = match self.streams.count() {
                0 | 1 => format!("user-{key}"),
                // Its records begin anew.
                count => format!("user-{key} of stream {count}"),
            };
            let name: Name = name.into();
            let mut data = counter.to_string();
            if let Some(memory) = &self.memory {
                data = memory.filled(&data);
            }
            let spoils = |dice: &mut Dice| dice.happens(Sink::BAD);
            // Directly behind one that is put in the same breath: the first record of a shard has none in front of it.
            let is_behind = names.last().is_some_and(|(last, _)| *last == name);
            if is_behind && self.spoiled < Sink::MOST_BAD && self.unreadable.as_mut().is_some_and(spoils) {
                self.spoiled += 1;
                data = Sink::unreadable(*counter);
                let (key, counter) = (name.clone(), *counter);
                self.history
                    .record(&self.world, What::PutUnreadable { key, counter });
            }
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(&*name)
                .set_explicit_hash_key(hash)
                .data(Blob::new(data));
            entries.push(entry.build().expect("complete"));
            names.push((name, *counter));
            *counter += 1;
        }
        if entries.is_empty() {
            return;
        }
        let request = self.kinesis.put_records().stream_name(STREAM);
        let answer = request.set_records(Some(entries)).send().await.expect("put");
        for ((key, counter), stored) in names.into_iter().zip(answer.records()) {
            let sequence = stored.sequence_number().expect("nothing is throttled");
            let shard = self.streams.name(stored.shard_id().expect("stored"));
            if let Some(machines) = &self.machines {
                machines.put(&shard);
            }
            self.history.record(
                &self.world,
                What::Put {
                    key,
                    counter,
                    shard,
                    sequence: SequenceNumber::parse(sequence).expect("a number"),
                },
            );
        }
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
