//! Leases that move, or do not, for how busy the workers are.

use super::{Director, Played, Script, seconds};
use crate::faults::Trouble;

const NO_ROOM: &str = "a lease that is quiet for some seconds does not go to a worker without room for it";
const LAST_STAYS: &str = "the only lease of a worker whose machine is idle without it stays";
const RELIEVED: &str =
    "a worker that gave its last lease away is given none while it is as busy as the others";

const RESTS: &str = "a lease that was moved for its load rests also when there is little to do by then";
const RETURNS: &str = "a lease does not return soon to a worker from which it was taken for its load";

const NOT_ALL: &str = "a worker that has just joined is not given most of what those leave that leave";
const EVEN: &str = "equally busy workers have equally many leases soon after others have left";

/// So long after its first change of owner what a lease needs is known: ten report intervals, and some.
const KNOWN: u64 = 36;
/// Then a new load is most of what is reported: four report intervals.
const REPORTED: u64 = 12;

pub(super) const QUIET_LEASE: Script = Script {
    name: "quiet-lease",
    shows: &["What a lease needs is judged by its throughput of the last seconds."],
    shards: 4,
    failover: seconds(2),
    play: |it| Box::pin(quiet_lease(it)),
};

/// One of two workers is above the mean by less than half of a lease, so that nothing is to be done. A lease of it has no
/// records for some seconds.
async fn quiet_lease(it: &Director) -> Played {
    even_fleet(it, &["z", "a"]).await?;
    it.load("z", 60.0);
    it.pause(seconds(REPORTED)).await;
    let its = it.leases_of("z");
    let quiet = it.find("a lease of z", || its.first().cloned()).await?;
    it.hush(&quiet, seconds(5)).await;
    it.never(NO_ROOM, seconds(15), || it.leases_of("z") != its).await;
    Ok(())
}

pub(super) const ONLY_LEASE: Script = Script {
    name: "only-lease",
    shows: &["The only lease of a worker is taken though its machine is idle without it."],
    shards: 9,
    failover: seconds(10),
    play: |it| Box::pin(only_lease(it)),
};

/// Of five workers the one with a single lease is the busiest, by that lease alone. By its records the lease is one of nine:
/// five ninths of what a worker has on average, and there is room for that with a worker that has next to nothing to do.
async fn only_lease(it: &Director) -> Played {
    let workers = ["z", "a", "b", "c", "d"];
    even_fleet(it, &workers).await?;
    let lonely = workers.into_iter().find(|id| it.leases_of(id).len() == 1);
    let lonely = it.find("a worker with one lease", || lonely).await?;
    let shard = it.find("its lease", || it.leases_of(lonely).pop()).await?;
    let others: Vec<_> = workers.into_iter().filter(|id| *id != lonely).collect();
    it.load(lonely, 7.0);
    it.weigh(&shard, 50.0);
    for (index, other) in others.into_iter().rev().enumerate() {
        it.load(other, if index == 0 { 14.0 } else { 43.0 });
    }
    it.never(LAST_STAYS, seconds(60), || !it.leases_of(lonely).contains(&shard))
        .await;
    Ok(())
}

pub(super) const RELIEVED_WORKER: Script = Script {
    name: "relieved-worker",
    shows: &["A worker that gave its last lease away is given others like a new one."],
    shards: 6,
    failover: seconds(10),
    play: |it| Box::pin(relieved_worker(it)),
};

/// Other work keeps a machine so busy that its worker gives all of its leases away. Then that becomes less: as much as the
/// other workers have to do.
async fn relieved_worker(it: &Director) -> Played {
    even_fleet(it, &["z", "a", "b"]).await?;
    it.load("b", 100.0);
    it.load("z", 10.0);
    it.load("a", 10.0);
    it.until("b to have no lease", || {
        it.rows()
            .values()
            .all(|row| row.actual_owner() != Some("b") && row.owner.as_deref() != Some("b"))
    })
    .await?;
    it.load("b", 44.0);
    it.load("z", 40.0);
    it.load("a", 40.0);
    let is_given = || it.rows().values().any(|row| row.owner.as_deref() == Some("b"));
    it.never(RELIEVED, seconds(60), is_given).await;
    Ok(())
}

pub(super) const BY_WAY_OF_A_THIRD: Script = Script {
    name: "returns-by-way-of-a-third",
    shows: &["A lease returns to a worker that it left by way of a third."],
    shards: 6,
    failover: seconds(10),
    play: |it| Box::pin(by_way_of_a_third(it)),
};

/// Leases are taken from one worker after the other, since other work keeps their machines busy, one at a time. When the third of
/// them is busy the first has nothing to do.
async fn by_way_of_a_third(it: &Director) -> Played {
    even_fleet(it, &["z", "a", "b"]).await?;
    let its = it.leases_of("a");
    let has = |id: &str| {
        its.iter()
            .filter(|shard| it.leases_of(id).contains(shard))
            .count()
    };
    it.load("a", 100.0);
    it.load("z", 5.0);
    it.until("z to have the leases of a", || has("z") == its.len())
        .await?;
    it.pause(seconds(KNOWN)).await;
    it.load("z", 100.0);
    it.load("b", 5.0);
    it.until("b to have one of them", || has("b") > 0).await?;
    it.pause(seconds(KNOWN)).await;
    it.load("b", 100.0);
    it.load("a", 5.0);
    it.never(RETURNS, seconds(60), || has("a") > 0).await;
    Ok(())
}

pub(super) const QUIET_FLEET: Script = Script {
    name: "quiet-fleet",
    shows: &["A lease that was moved for its load is moved again at once when the fleet has little to do."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(quiet_fleet(it)),
};

/// One of two workers is so busy that it gives a lease away. A moment later nobody is busy, and by count the lease would return.
async fn quiet_fleet(it: &Director) -> Played {
    even_fleet(it, &["z", "a"]).await?;
    let its = it.leases_of("z");
    it.load("z", 100.0);
    it.load("a", 10.0);
    let given = || {
        its.iter()
            .find(|shard| it.leases_of("a").contains(shard))
            .cloned()
    };
    it.until("z to give a lease away", || given().is_some()).await?;
    let given = it.find("the lease", given).await?;
    it.load("z", 1.0);
    it.load("a", 1.0);
    // It rests for ten report intervals.
    it.never(RESTS, seconds(26), || {
        it.rows()
            .get(&given)
            .is_some_and(|row| row.owner.as_deref() == Some("z"))
    })
    .await;
    Ok(())
}

pub(super) const NEWCOMER: Script = Script {
    name: "newcomer-before-it-is-measured",
    shows: &["The first look at a worker's load counts as a measurement."],
    shards: 6,
    failover: seconds(10),
    play: |it| Box::pin(newcomer(it)),
};

/// A worker joins on a machine that is as busy as the others, and soon the leader and another worker leave.
async fn newcomer(it: &Director) -> Played {
    even_fleet(it, &["z", "a", "b"]).await?;
    it.load("c", 40.0);
    it.blank_at_first("c");
    it.start("c");
    it.until("c to be announced", || it.is_announced("c")).await?;
    it.pause(seconds(2)).await;
    it.stop("z");
    it.stop("a");
    let has_most = || it.leases_of("c").len() > it.leases_of("b").len().max(3);
    it.never(NOT_ALL, seconds(30), has_most).await;
    let is_even = || ["b", "c"].iter().all(|id| it.leases_of(id).len() == 3);
    it.expect(EVEN, seconds(1), is_even).await;
    Ok(())
}

/// Workers, the first of them the leader, that all are equally busy. The leases are made when everybody is there: each has
/// its part at once, and no lease ever moved. What each needs is known, and is the same.
async fn even_fleet(it: &Director, workers: &[&str]) -> Played {
    it.spread_in_turn().await;
    for (index, id) in workers.iter().enumerate() {
        it.load(id, 40.0);
        if index == 0 {
            it.trouble(id, Trouble::NoKinesis);
        }
        it.start(id);
        it.until("a leader and workers that are announced", || {
            it.leads(workers[0]) && it.is_announced(id)
        })
        .await?;
    }
    it.pause(seconds(3)).await;
    it.heal(workers[0]);
    it.until("everybody to be at work", || {
        let rows = it.rows();
        let begun = |id: &&str| {
            let its = it.leases_of(id);
            !its.is_empty() && its.iter().all(|shard| it.has_begun_since(seconds(0), id, shard))
        };
        !rows.is_empty() && workers.iter().all(begun)
    })
    .await?;
    it.pause(seconds(KNOWN)).await;
    Ok(())
}
