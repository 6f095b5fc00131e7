//! Who took which shard from whom, why, and how long its records waited. Pure: times are given, since the start.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::ledger::Ownership;

/// Why a shard got a new owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Nobody had it before.
    Start,
    /// It is the child of a shard that was split or merged.
    Reshard,
    /// The leader moved it.
    Balance,
    /// Its owner stopped in good order.
    Stop,
    /// Its owner was killed.
    Kill,
    /// Its owner lost it without a hand-over.
    Loss,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Start => "start",
            Self::Reshard => "reshard child",
            Self::Balance => "balance",
            Self::Stop => "graceful stop",
            Self::Kill => "kill",
            Self::Loss => "lease lost",
        })
    }
}

/// A shard with a new owner that processes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakeOver {
    pub(crate) shard: String,
    /// The owner before; for a child, that of its parent.
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    pub(crate) cause: Cause,
    /// When the first batch came.
    pub(crate) at: Duration,
    /// From the end of the old owner's last batch, from the kill, or from the start of everything.
    pub(crate) stall: Duration,
}

/// How an ownership ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The shard's last record was processed.
    ShardEnded,
    HandedOver,
    Lost,
}

#[derive(Debug, Default)]
pub(crate) struct TakeOvers {
    shards: BTreeMap<String, Tenure>,
    stopping: BTreeSet<String>,
    killed: BTreeMap<String, Duration>,
    done: Vec<TakeOver>,
}

/// The shard's latest owner.
#[derive(Debug)]
struct Tenure {
    ownership: Ownership,
    worker: String,
    /// When the last batch was processed.
    last_batch: Duration,
    end: Option<End>,
    /// What to tell when the first batch comes.
    news: Option<News>,
}

#[derive(Debug, Clone)]
struct News {
    from: Option<String>,
    cause: Cause,
    since: Duration,
}

impl TakeOvers {
    /// From now on the worker hands its shards over.
    pub(crate) fn stopping(&mut self, worker: &str) {
        self.stopping.insert(worker.to_owned());
    }

    pub(crate) fn killed(&mut self, worker: &str, at: Duration) {
        self.killed.insert(worker.to_owned(), at);
    }

    /// A worker acquired a shard.
    pub(crate) fn began(
        &mut self,
        ownership: Ownership,
        worker: &str,
        shard: &str,
        parents: &[&str],
        at: Duration,
    ) -> Cause {
        let news = self.news(shard, parents);
        let cause = news.cause;
        let tenure = Tenure {
            ownership,
            worker: worker.to_owned(),
            last_batch: at,
            end: None,
            news: Some(news),
        };
        self.shards.insert(shard.to_owned(), tenure);
        cause
    }

    fn news(&self, shard: &str, parents: &[&str]) -> News {
        let Some(before) = self.shards.get(shard) else {
            let known = parents.iter().filter_map(|parent| self.shards.get(*parent));
            return match known.max_by_key(|parent| parent.last_batch) {
                Some(parent) => News {
                    from: Some(parent.worker.clone()),
                    cause: Cause::Reshard,
                    since: parent.last_batch,
                },
                None => News {
                    from: None,
                    cause: Cause::Start,
                    since: Duration::ZERO,
                },
            };
        };
        let killed = |worker: &String| self.killed.get(worker).copied();
        let (cause, since) = match before.end {
            None => killed(&before.worker).map_or((Cause::Loss, before.last_batch), |at| (Cause::Kill, at)),
            // Handed to a worker that was killed before it began.
            Some(End::HandedOver) if self.killed.values().any(|at| *at > before.last_batch) => {
                (Cause::Kill, before.last_batch)
            }
            Some(End::HandedOver) if self.stopping.contains(&before.worker) => {
                (Cause::Stop, before.last_batch)
            }
            Some(End::HandedOver) => (Cause::Balance, before.last_batch),
            Some(_) => (Cause::Loss, before.last_batch),
        };
        match &before.news {
            // Its owner never got as far as a batch: the stall began before.
            Some(news) => News {
                cause: cause.max(news.cause),
                ..news.clone()
            },
            None => News {
                from: Some(before.worker.clone()),
                cause,
                since,
            },
        }
    }

    /// A batch was processed; tells of the take-over if it was the owner's first.
    pub(crate) fn batch(
        &mut self,
        ownership: Ownership,
        shard: &str,
        began: Duration,
        ended: Duration,
    ) -> Option<TakeOver> {
        let tenure = self
            .shards
            .get_mut(shard)
            .filter(|tenure| tenure.ownership == ownership)?;
        tenure.last_batch = ended;
        let news = tenure.news.take()?;
        let take_over = TakeOver {
            shard: shard.to_owned(),
            from: news.from,
            to: tenure.worker.clone(),
            cause: news.cause,
            at: began,
            stall: began.saturating_sub(news.since),
        };
        self.done.push(take_over.clone());
        Some(take_over)
    }

    pub(crate) fn ended(&mut self, ownership: Ownership, shard: &str, end: End) {
        if let Some(tenure) = self
            .shards
            .get_mut(shard)
            .filter(|tenure| tenure.ownership == ownership)
        {
            tenure.end = Some(end);
        }
    }

    /// Shards that a killed worker held and that nobody has taken over yet.
    pub(crate) fn orphans(&self) -> usize {
        let is_orphan = |tenure: &&Tenure| tenure.end.is_none() && self.killed.contains_key(&tenure.worker);
        self.shards.values().filter(is_orphan).count()
    }

    pub(crate) fn done(&self) -> &[TakeOver] {
        &self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    /// Shard `0` belongs to `w1`, which processed its first batch at 1 s and its last at 5 s.
    fn world() -> TakeOvers {
        let mut world = TakeOvers::default();
        assert_eq!(
            world.began(Ownership(1), "w1", "0", &[], seconds(1)),
            Cause::Start
        );
        world.batch(Ownership(1), "0", seconds(1), seconds(1));
        assert_eq!(
            world.batch(Ownership(1), "0", seconds(5), seconds(5)),
            None,
            "told once"
        );
        world
    }

    fn taken(world: &mut TakeOvers, first_batch: u64) -> (Cause, Option<String>, Duration) {
        world.began(Ownership(2), "w2", "0", &[], seconds(6));
        let news = world
            .batch(Ownership(2), "0", seconds(first_batch), seconds(first_batch))
            .unwrap();
        assert_eq!(
            (news.shard.as_str(), news.to.as_str(), news.at),
            ("0", "w2", seconds(first_batch))
        );
        (news.cause, news.from, news.stall)
    }

    #[test]
    fn the_start_is_measured_from_zero() {
        let world = world();
        let start = &world.done()[0];
        assert_eq!(
            (start.cause, &start.from, start.stall),
            (Cause::Start, &None, seconds(1))
        );
    }

    #[test]
    fn a_move_is_measured_from_the_last_batch_of_the_old_owner() {
        let mut world = world();
        world.ended(Ownership(1), "0", End::HandedOver);
        assert_eq!(
            taken(&mut world, 7),
            (Cause::Balance, Some("w1".into()), seconds(2))
        );
    }

    #[test]
    fn a_stop_is_told_from_balancing() {
        let mut world = world();
        world.stopping("w1");
        world.ended(Ownership(1), "0", End::HandedOver);
        assert_eq!(taken(&mut world, 6).0, Cause::Stop);
    }

    #[test]
    fn a_kill_is_measured_from_the_kill() {
        let mut world = world();
        assert_eq!(world.orphans(), 0);
        world.killed("w1", seconds(9));
        assert_eq!(world.orphans(), 1);
        assert_eq!(
            taken(&mut world, 20),
            (Cause::Kill, Some("w1".into()), seconds(11))
        );
        assert_eq!(world.orphans(), 0);
    }

    #[test]
    fn what_was_handed_over_before_the_kill_was_not_orphaned() {
        let mut world = world();
        world.ended(Ownership(1), "0", End::HandedOver);
        assert_eq!(taken(&mut world, 7).0, Cause::Balance);
        world.killed("w1", seconds(9));
        assert_eq!(world.orphans(), 0);
    }

    #[test]
    fn a_shard_on_its_way_to_a_worker_that_is_killed_waits_because_of_the_kill() {
        let mut world = world();
        world.ended(Ownership(1), "0", End::HandedOver);
        world.killed("w9", seconds(6));
        assert_eq!(
            taken(&mut world, 17),
            (Cause::Kill, Some("w1".into()), seconds(12))
        );
    }

    #[test]
    fn a_lost_lease_is_told_as_such() {
        let mut world = world();
        world.ended(Ownership(1), "0", End::Lost);
        assert_eq!(taken(&mut world, 6).0, Cause::Loss);
    }

    #[test]
    fn a_child_follows_its_last_parent() {
        let mut world = world();
        world.began(Ownership(2), "w2", "1", &[], seconds(1));
        world.batch(Ownership(2), "1", seconds(8), seconds(8));
        for (ownership, shard) in [(1, "0"), (2, "1")] {
            world.ended(Ownership(ownership), shard, End::ShardEnded);
        }
        assert_eq!(
            world.began(Ownership(3), "w3", "2", &["0", "1"], seconds(9)),
            Cause::Reshard
        );
        let news = world.batch(Ownership(3), "2", seconds(10), seconds(10)).unwrap();
        assert_eq!((news.from.as_deref(), news.stall), (Some("w2"), seconds(2)));
    }

    #[test]
    fn an_owner_that_never_had_a_batch_is_passed_over() {
        let mut world = world();
        world.killed("w1", seconds(6));
        world.began(Ownership(2), "w2", "0", &[], seconds(16));
        world.ended(Ownership(2), "0", End::HandedOver);
        assert_eq!(
            world.began(Ownership(3), "w3", "0", &[], seconds(17)),
            Cause::Kill
        );
        let news = world.batch(Ownership(3), "0", seconds(18), seconds(18)).unwrap();
        assert_eq!((news.from.as_deref(), news.stall), (Some("w1"), seconds(12)));
    }

    #[test]
    fn a_batch_of_a_former_owner_changes_nothing() {
        let mut world = world();
        world.ended(Ownership(1), "0", End::HandedOver);
        world.began(Ownership(2), "w2", "0", &[], seconds(6));
        assert_eq!(world.batch(Ownership(1), "0", seconds(7), seconds(7)), None);
        assert_eq!(
            world
                .batch(Ownership(2), "0", seconds(8), seconds(8))
                .unwrap()
                .stall,
            seconds(3)
        );
    }
}
