//! What is done in the histories of some seeds only.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Chaos, MOST_WORKERS};
use crate::faults::{Schedule, Trouble};
use crate::history::{Name, What};

/// So many streams have the same name, one after the other.
const MOST_STREAMS: usize = 3;

const INDEX_TOLD: &str = "whoever cannot query the owner index says so";
const ROW_TOLD: &str = "a row that cannot be read is told in the status of some worker";

impl Chaos {
    pub(super) fn start_twin(&self, schedule: &mut Schedule) {
        let ids = self.fleet.each(|member| member.id.clone());
        if ids.len() < MOST_WORKERS
            && let Some(id) = schedule.dice().pick(&ids)
        {
            self.fleet.start_twin(id);
        }
    }

    pub(super) fn deny_reads(&self, schedule: &mut Schedule) {
        let Some(who) = self.fleet.any(schedule.dice()) else {
            return;
        };
        let time = schedule.denial(self.times.failover);
        if self.stage.network.may_not_read(&who) {
            return;
        }
        self.note(&who, format!("may not read for {time:?}"));
        let until = Instant::now() + time;
        self.stage.network.trouble(&who, Trouble::ReadsDenied(until));
        let allowed = who.clone();
        self.impair(&who, time, move |chaos| {
            chaos.stage.history.record(&allowed, What::Allowed);
        });
        self.stage.history.record(&who, What::Denied);
    }

    pub(super) fn deny_index(&self, schedule: &mut Schedule) {
        let Some(who) = self.fleet.any(schedule.dice()) else {
            return;
        };
        let time = schedule.denial(self.times.failover);
        self.note(&who, format!("may not query the index for {time:?}"));
        let until = Instant::now() + time;
        self.stage.network.trouble(&who, Trouble::IndexDenied(until));
        let allowed = who.clone();
        self.impair(&who, time, move |chaos| {
            chaos.stage.history.record(&allowed, What::IndexAllowed);
        });
        self.stage.history.record(&who, What::IndexDenied);
        self.expect_told(INDEX_TOLD, "owner-index-failing", time, move |chaos| {
            chaos
                .fleet
                .each(|member| member.who.clone())
                .contains(&who)
                .then(|| vec![who.clone()])
        });
    }

    pub(super) fn lose_index(&self, schedule: &mut Schedule) {
        let time = schedule.denial(self.times.failover);
        let is_being_built = schedule.dice().happens(500);
        let how = if is_being_built { "being built" } else { "missing" };
        self.note(&self.world, format!("the index is {how} for {time:?}"));
        self.stage
            .network
            .lose_index(Instant::now() + time, is_being_built);
        self.impair(&self.world, time, |_| {});
        self.expect_told(INDEX_TOLD, "owner-index-failing", time, |chaos| {
            Some(chaos.fleet.each(|member| member.who.clone()))
        });
    }

    pub(super) fn block(&self, schedule: &mut Schedule) {
        let Some(who) = self.fleet.any(schedule.dice()) else {
            return;
        };
        let time = schedule.duration(self.times.failover);
        self.note(&who, format!("its runtime is blocked for {time:?}"));
        self.stage
            .network
            .trouble(&who, Trouble::Blocked(Instant::now() + time));
        let moving = who.clone();
        self.impair(&who, time, move |chaos| {
            chaos.stage.history.record(&moving, What::MovesOn);
        });
        self.stage.history.record(&who, What::StandsStill);
    }

    pub(super) fn damage(&self, schedule: &mut Schedule) {
        let time = schedule.denial(self.times.failover);
        let Some(shard) = self.watcher.damage_some_row(schedule.dice(), time) else {
            return;
        };
        // Whoever leads may have to be found first, and its owner mends the row as soon as it checkpoints.
        self.expect_told(ROW_TOLD, "rows-unreadable", time, move |chaos| {
            let is_there = chaos.watcher.is_unreadable(&shard);
            is_there.then(|| chaos.fleet.each(|member| member.who.clone()))
        });
    }

    /// At the service, too, a stream takes some seconds to go and to come. Nothing else is done meanwhile.
    pub(super) async fn make_anew(&self, schedule: &mut Schedule) {
        let (away, shards) = (
            schedule.dice().between(2_000, 20_000),
            schedule.dice().between(1, 8),
        );
        if self.stage.streams.count() >= MOST_STREAMS {
            return;
        }
        while self.watcher.is_about_to_touch() {
            sleep(Duration::from_millis(100)).await;
        }
        let shards = i32::try_from(shards).unwrap_or(1);
        let mut workload = self.workload.lock().await;
        workload.make_anew(Duration::from_millis(away), shards).await;
    }

    /// Expects that one of those workers says it that are to, if it takes long enough. Nothing is expected any more once there
    /// are none.
    fn expect_told(
        &self,
        expectation: &'static str,
        code: &'static str,
        lasting: Duration,
        tellers: impl Fn(&Self) -> Option<Vec<Name>> + Send + 'static,
    ) {
        let patience = self.times.failover * 4 + Duration::from_secs(10);
        if lasting < patience {
            return;
        }
        let chaos = self.clone();
        tokio::spawn(async move {
            let until = Instant::now() + patience;
            loop {
                sleep(Duration::from_millis(500)).await;
                // Once everything is healed there is nothing to say, and whoever starts later has time of its own.
                let is_expected = |tellers: &Vec<_>| !tellers.is_empty() && !chaos.stage.is_calm();
                let Some(tellers) = tellers(&chaos).filter(is_expected) else {
                    return;
                };
                let says = chaos.fleet.each(|member| {
                    let problems = member.handle.status().problems;
                    tellers.contains(&member.who) && problems.iter().any(|problem| problem.code == code)
                });
                if says.contains(&true) {
                    return;
                }
                if Instant::now() >= until {
                    let seen = format!("not within {patience:?} by any of {}", tellers.join(", "));
                    let what = What::Unmet { expectation, seen };
                    chaos.stage.history.record(&chaos.world, what);
                    return;
                }
            }
        });
    }
}
