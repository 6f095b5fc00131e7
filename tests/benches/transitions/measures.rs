//! What happens to the fleets.

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use crate::fleet::{Fleet, Setting, open};

const SHARDS: i32 = 64;
const WORKERS: usize = 4;

/// What a run took, and the records that came twice.
pub(crate) struct Took {
    pub(crate) seconds: f64,
    pub(crate) twice: u64,
}

/// One kind of disturbance.
pub(crate) struct Transition {
    pub(crate) name: &'static str,
    pub(crate) aim: &'static str,
    pub(crate) measure: fn(Setting) -> LocalBoxFuture<'static, Took>,
}

macro_rules! transition {
    ($name:literal, $aim:literal, $measure:expr) => {
        Transition {
            name: $name,
            aim: $aim,
            measure: |setting| {
                let measure = $measure;
                async move { measure(setting).await }.boxed_local()
            },
        }
    };
}

pub(crate) const ALL: &[Transition] = &[
    transition!("fresh application to the first record", "< 1", |setting| start(
        setting, false
    )),
    transition!("fresh application to records of every shard", "", |setting| {
        start(setting, true)
    }),
    transition!("restart of the application to the first record", "< 1", restart),
    transition!("worker killed, first shard", "", |setting| kill(
        setting, false, false
    )),
    transition!("worker killed, last shard", "p99 < 12.5", |setting| kill(
        setting, false, true
    )),
    transition!("leader killed, last shard", "p99 < 13.5", |setting| kill(
        setting, true, true
    )),
    transition!(
        "lone worker killed, a new one starts at once, last shard",
        "p99 < 12.5",
        replace
    ),
    transition!(
        "worker told to stop, last shard",
        "p50 < 1, p99 < 2, no duplicates",
        |setting| stop(setting, false)
    ),
    transition!(
        "leader told to stop, last shard",
        "p99 < 2.5, no duplicates",
        |setting| stop(setting, true)
    ),
    transition!(
        "worker joins, 8 shards balanced within one lease",
        "p99 < 10",
        |setting| join(setting, false)
    ),
    transition!(
        "longest stall of a shard during a graceful hand-off",
        "p99 < 1, no duplicates",
        |setting| join(setting, true)
    ),
    transition!("split to the last child's first record", "p99 < 1.5", split),
    transition!("merge to the child's first record", "p99 < 1.5", merge),
    transition!(
        "split, a child has to go to another worker: longest wait",
        "p99 < 1.5",
        |setting| reshard(setting, 1, 2)
    ),
    transition!("every shard is split: longest wait of a child", "", |setting| {
        reshard(setting, 16, WORKERS)
    }),
];

fn took(fleet: &Fleet, seconds: f64) -> Took {
    Took {
        seconds,
        twice: fleet.flow.twice(),
    }
}

async fn start(setting: Setting, to_the_last: bool) -> Took {
    let mut fleet = Fleet::new(setting, SHARDS).await;
    tokio::time::sleep(setting.moment()).await;
    let shards = fleet.open_shards().await;
    let since = Instant::now();
    (0..WORKERS).for_each(|_| fleet.start());
    let (first, last) = fleet.until_taken(&shards, "", since).await;
    took(&fleet, if to_the_last { last } else { first })
}

async fn restart(setting: Setting) -> Took {
    let mut fleet = Fleet::at_work(setting, SHARDS, WORKERS).await;
    for stopping in fleet
        .members
        .drain(..)
        .map(|member| tokio::spawn(member.stop()))
        .collect::<Vec<_>>()
    {
        stopping.await.expect("no panic");
    }
    tokio::time::sleep(setting.moment()).await;
    let shards = fleet.open_shards().await;
    let since = Instant::now();
    (0..WORKERS).for_each(|_| fleet.start());
    let (first, _) = fleet.until_taken(&shards, "", since).await;
    took(&fleet, first)
}

async fn kill(setting: Setting, leader: bool, to_the_last: bool) -> Took {
    let mut fleet = Fleet::at_work(setting, SHARDS, WORKERS).await;
    let killed = fleet.take(leader);
    let (name, since) = (killed.name.clone(), Instant::now());
    let shards = fleet.shards_of(&name).await;
    killed.kill().await;
    let (first, last) = fleet.until_taken(&shards, &name, since).await;
    took(&fleet, if to_the_last { last } else { first })
}

async fn replace(setting: Setting) -> Took {
    let mut fleet = Fleet::at_work(setting, SHARDS, 1).await;
    let killed = fleet.take(true);
    let (name, since) = (killed.name.clone(), Instant::now());
    let shards = fleet.shards_of(&name).await;
    killed.kill().await;
    fleet.start();
    let (_, last) = fleet.until_taken(&shards, &name, since).await;
    took(&fleet, last)
}

async fn stop(setting: Setting, leader: bool) -> Took {
    let mut fleet = Fleet::at_work(setting, SHARDS, WORKERS).await;
    let stopped = fleet.take(leader);
    let (name, since) = (stopped.name.clone(), Instant::now());
    let shards = fleet.shards_of(&name).await;
    let stopping = tokio::spawn(stopped.stop());
    let (_, last) = fleet.until_taken(&shards, &name, since).await;
    stopping.await.expect("no panic");
    took(&fleet, last)
}

async fn join(setting: Setting, is_stall: bool) -> Took {
    let mut fleet = Fleet::at_work(setting, 8, 1).await;
    let since = Instant::now();
    fleet.start();
    let balanced_at = fleet.until_balanced().await;
    let stalls = fleet.flow.last().into_values().filter_map(|(before, now)| {
        let before = before.filter(|_| now.first >= since)?;
        Some((now.first - before.last).as_secs_f64())
    });
    let longest = stalls.fold(0.0, f64::max);
    let balanced = (balanced_at - since).as_secs_f64();
    took(&fleet, if is_stall { longest } else { balanced })
}

async fn split(setting: Setting) -> Took {
    let mut fleet = Fleet::at_work(setting, SHARDS, WORKERS).await;
    let owner = fleet.take(false);
    let parent = fleet.shards_of(&owner.name).await.remove(0);
    fleet.world.split(&parent).await;
    flows_in_children(fleet, &parent).await
}

/// The longest time that a child of any shard waits for its first records or, between two workers, for its next, until
/// the fleet is balanced again.
async fn reshard(setting: Setting, shards: i32, workers: usize) -> Took {
    let fleet = Fleet::at_work(setting, shards, workers).await;
    let since = Instant::now();
    for parent in fleet.open_shards().await {
        fleet.world.split(&parent).await;
    }
    fleet.until_balanced().await;
    let mut longest = 0.0_f64;
    let shards = fleet.open_shards().await;
    for child in &shards {
        let mut flowed = since;
        for stretch in fleet.flow.stretches(child) {
            longest = longest.max((stretch.first - flowed).as_secs_f64());
            flowed = stretch.last;
        }
    }
    took(&fleet, longest)
}

async fn merge(setting: Setting) -> Took {
    let fleet = Fleet::at_work(setting, SHARDS, WORKERS).await;
    let mut shards = open(fleet.world.shards().await);
    shards.sort_by_key(|shard| {
        let start = shard
            .hash_key_range()
            .map(|range| range.starting_hash_key().parse::<u128>());
        start.and_then(Result::ok)
    });
    let last = fleet.flow.last();
    let owner = |shard: &str| last.get(shard).map(|(_, now)| now.worker.clone());
    let pair = shards
        .windows(2)
        .map(|pair| (pair[0].shard_id().to_owned(), pair[1].shard_id().to_owned()))
        .find(|(one, other)| owner(one) != owner(other))
        .expect("neighbours of two workers");
    fleet.world.merge(&pair.0, &pair.1).await;
    flows_in_children(fleet, &pair.0).await
}

async fn flows_in_children(fleet: Fleet, parent: &str) -> Took {
    let since = Instant::now();
    let shards = fleet.world.shards().await;
    let is_child = |shard: &&aws_sdk_kinesis::types::Shard| {
        [shard.parent_shard_id(), shard.adjacent_parent_shard_id()].contains(&Some(parent))
    };
    let children = shards.iter().filter(is_child);
    let children: Vec<_> = children.map(|shard| shard.shard_id().to_owned()).collect();
    let (_, last) = fleet.until_taken(&children, "", since).await;
    took(&fleet, last)
}
