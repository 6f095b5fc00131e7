//! Workers that come, go and crash while the stream is resharded and processors fail: every record is processed, first
//! deliveries are in the order of each shard, and children come after their parents.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcl_core::{Worker, WorkerHandle};
use kcl_local::Backend;
use kcl_local::faults::{Call, Fault, FaultInjector, Loss};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::world::{Reaction, STREAM, World};

/// A small generator of pseudo-random numbers (Knuth's constants).
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let next = |state: u64| {
            state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let state = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(next(state)));
        (next(state.unwrap_or_else(|state| state)) >> 33) % sides
    }
}

/// One of ten requests of the workers meets a fault.
#[derive(Debug)]
struct Weather(Dice);

impl FaultInjector for Weather {
    fn decide(&self, call: &Call<'_>) -> Fault {
        if call.client.is_empty() || self.0.roll(10) > 0 {
            return Fault::none();
        }
        let loss = [Loss::Reset, Loss::TimedOut, Loss::Hang][self.0.roll(3) as usize];
        match self.0.roll(5) {
            0 => Fault::throttled(),
            1 => Fault::internal_error(),
            2 => Fault::drop_request(loss),
            3 => Fault::drop_answer(loss),
            _ => Fault {
                delay_before: Duration::from_millis(self.0.roll(3_000)),
                ..Fault::none()
            },
        }
    }
}

struct Running {
    handle: WorkerHandle,
    task: JoinHandle<Result<(), kcl_core::Error>>,
}

fn start(worker: Worker) -> Running {
    Running {
        handle: worker.handle(),
        task: tokio::spawn(worker.run()),
    }
}

/// Splits or merges a random open shard.
async fn reshard(world: &World, dice: &Dice) {
    let shards = world
        .kinesis
        .list_shards()
        .stream_name(STREAM)
        .send()
        .await
        .expect("listed")
        .shards
        .expect("some");
    let is_open = |shard: &&aws_sdk_kinesis::types::Shard| {
        shard
            .sequence_number_range
            .as_ref()
            .is_some_and(|range| range.ending_sequence_number.is_none())
    };
    let range = |shard: &aws_sdk_kinesis::types::Shard| {
        let range = shard.hash_key_range().expect("listed");
        let number = |text: &str| text.parse::<u128>().expect("number");
        (number(range.starting_hash_key()), number(range.ending_hash_key()))
    };
    let mut open: Vec<_> = shards.iter().filter(is_open).collect();
    open.sort_by_key(|shard| range(shard));
    let index = dice.roll(open.len() as u64) as usize;
    let (first, last) = range(open[index]);
    if dice.roll(2) == 0 || open.len() < 2 {
        let request = world
            .kinesis
            .split_shard()
            .stream_name(STREAM)
            .shard_to_split(open[index].shard_id());
        request
            .new_starting_hash_key((first + (last - first) / 2 + 1).to_string())
            .send()
            .await
            .expect("split");
    } else {
        let index = index.min(open.len() - 2);
        let request = world
            .kinesis
            .merge_shards()
            .stream_name(STREAM)
            .shard_to_merge(open[index].shard_id());
        request
            .adjacent_shard_to_merge(open[index + 1].shard_id())
            .send()
            .await
            .expect("merged");
    }
    world.until_active().await;
}

/// All calls of all processors, in order: worker, shard and method.
async fn run(seed: u64, backend: Backend) -> Vec<(String, String, String)> {
    // The SDK's own jitter comes from here.
    fastrand::seed(seed);
    let dice = Dice(AtomicU64::new(seed));
    let world = World::new(2, backend).await;
    let failures = Dice(AtomicU64::new(seed ^ 0x5eed));
    world.react(move |_, _| match failures.roll(12) {
        0 => Reaction::Fail,
        1 => Reaction::Panic,
        2 => Reaction::ProcessWithoutCheckpoint,
        3 => Reaction::Work(Duration::from_millis(700)),
        _ => Reaction::Process,
    });
    let mut number = 0;
    let mut fleet: Vec<Running> = Vec::new();
    for _ in 0..40 {
        match dice.roll(12) {
            0 | 1 if fleet.len() < 4 => {
                number += 1;
                fleet.push(start(
                    world.worker(&format!("worker-{number}")).build().expect("valid"),
                ));
            }
            2 if !fleet.is_empty() => fleet
                .swap_remove(dice.roll(fleet.len() as u64) as usize)
                .task
                .abort(),
            3 if !fleet.is_empty() => {
                let leaving = fleet.swap_remove(dice.roll(fleet.len() as u64) as usize);
                tokio::spawn(async move { leaving.handle.shutdown().await });
            }
            4 | 5 => reshard(&world, &dice).await,
            _ => world.put(dice.roll(8) as usize).await,
        }
        sleep(Duration::from_millis(dice.roll(6_000))).await;
    }
    fleet.push(start(world.worker("last").build().expect("valid")));
    world
        .eventually(&format!("every record is processed (seed {seed})"), 300, || {
            world.is_complete()
        })
        .await;

    let mut first: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    for (index, (shard, text)) in world.seen.lock().expect("unpoisoned").first.iter().enumerate() {
        first
            .entry(shard.clone())
            .or_default()
            .push((index, text.clone()));
    }
    for (shard, put) in world.put_per_shard() {
        let order: Vec<_> = first[&shard].iter().map(|(_, text)| text.clone()).collect();
        assert_eq!(order, put, "{shard} (seed {seed})");
    }
    let listed = world
        .kinesis
        .list_shards()
        .stream_name(STREAM)
        .send()
        .await
        .expect("listed");
    for shard in listed.shards() {
        let Some(begin) = first.get(shard.shard_id()).map(|seen| seen[0].0) else {
            continue;
        };
        for parent in [shard.parent_shard_id(), shard.adjacent_parent_shard_id()]
            .into_iter()
            .flatten()
        {
            let end = first
                .get(parent)
                .and_then(|seen| seen.last())
                .map_or(0, |(index, _)| *index);
            assert!(
                end <= begin,
                "{} overtook {parent} (seed {seed})",
                shard.shard_id()
            );
        }
    }
    for running in fleet {
        running.task.abort();
    }
    let seen = world.seen.lock().expect("unpoisoned");
    seen.calls.clone()
}

/// `CHAOS_SEEDS=17` replays one history, `CHAOS_SEEDS=1-200` tries a range; by default, three.
fn seeds() -> std::ops::RangeInclusive<u64> {
    let Ok(text) = std::env::var("CHAOS_SEEDS") else {
        return 1..=3;
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    first.parse().expect("CHAOS_SEEDS is a number or a range")
        ..=last.parse().expect("the range ends with a number")
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_reordered_whatever_the_fleet_does() {
    for seed in seeds() {
        println!("seed {seed}");
        run(seed, Backend::start()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_reordered_on_a_bad_network() {
    for seed in seeds() {
        println!("seed {seed}");
        run(
            seed,
            Backend::builder()
                .faults(Weather(Dice(AtomicU64::new(seed))))
                .build(),
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    let backend = || {
        Backend::builder()
            .faults(Weather(Dice(AtomicU64::new(7))))
            .build()
    };
    let (first, second) = (run(7, backend()).await, run(7, backend()).await);
    assert!(first.len() > 50, "{}", first.len());
    assert_eq!(first, second);
}
