//! Workers that cannot do their work.

use std::collections::BTreeMap;
use std::time::Duration;

use kcl_core::LastResort;
use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Asked, Cue, Fate, Trouble};
use crate::history::Name;
use crate::policies::Policy;
use crate::processor::Direction;

const ELSEWHERE: &str =
    "the shards of a worker that cannot read flow elsewhere within three fail-over times and 10 s";
const ELSEWHERE_SOON: &str =
    "a shard that is released when its records keep failing flows at another worker within 15 s";
const BACK: &str = "a worker that can read again has its share within ten fail-over times";
const TOGETHER: &str = "where nobody can read no lease moves, then and when all can again";
const STAYS: &str = "a shard that can be read stays where it is when one read of it is lost";
const ONCE: &str = "a shard that fails everywhere moves once";
const BY_SCANS: &str =
    "a worker that cannot query the owner index begins with its leases within two fail-over times";
const TOLD: &str = "assignments that cannot be written are told within 3 s";
const IN_TIME: &str = "a cut off worker's leases, and those of a leader that died meanwhile, flow again within a fail-over time and 4 s";

pub(super) const CUT_OFF: Script = Script {
    name: "cut-off-from-kinesis",
    shows: &["A worker that cannot read its shards keeps them."],
    shards: 4,
    failover: seconds(3),
    play: |it| Box::pin(cut_off(it)),
};

/// It leads, too.
async fn cut_off(it: &Director) -> Played {
    two_workers(it).await?;
    let (shards, began) = (it.leases_of("z"), it.now());
    it.trouble("z", Trouble::NoKinesis);
    // A batch that was read before may be processed still.
    let since = began + seconds(2);
    let flows = || shards.iter().all(|shard| it.flows_since(since, shard));
    it.expect(ELSEWHERE, it.failover() * 3 + seconds(10), flows).await;
    it.pause(it.failover() * 20).await;
    it.heal("z");
    let is_even = || it.leases_of("z").len() == 2;
    it.expect(BACK, it.failover() * 10, is_even).await;
    Ok(())
}

pub(super) const ALL_CUT_OFF: Script = Script {
    name: "all-cut-off-from-kinesis",
    shows: &[
        "A worker that has begun to fail is given the leases of one that has failed for long.",
        "A worker that can work again is given leases before the others have noticed that they can.",
    ],
    shards: 4,
    failover: seconds(3),
    play: |it| Box::pin(all_cut_off(it)),
};

async fn all_cut_off(it: &Director) -> Played {
    two_workers(it).await?;
    let owners = || -> BTreeMap<Name, Option<String>> {
        let rows = it.rows().into_iter();
        rows.map(|(shard, row)| (shard, row.owner)).collect()
    };
    let before = owners();
    it.trouble("z", Trouble::NoKinesis);
    it.pause(Duration::from_millis(400)).await;
    it.trouble("a", Trouble::NoKinesis);
    it.never(TOGETHER, it.failover() * 12, || owners() != before)
        .await;
    it.heal("z");
    it.heal("a");
    it.never(TOGETHER, seconds(30), || owners() != before).await;
    Ok(())
}

pub(super) const ONE_LOST_READ: Script = Script {
    name: "one-lost-read",
    shows: &["One read that nobody answers is taken for a shard that fails here."],
    shards: 4,
    failover: seconds(2),
    play: |it| Box::pin(one_lost_read(it)),
};

/// A read gets no answer for so long as proves that a shard cannot be read, and the next one is answered slowly.
async fn one_lost_read(it: &Director) -> Played {
    two_workers(it).await?;
    let its = it.leases_of("a");
    let is_read = |asked: &Asked| asked.is("GetRecords");
    let lost = Fault::drop_request(Loss::Hang);
    let lost = it.await_request(Cue::next_of("a", is_read).that(Fate::Meets(lost)));
    it.met("a read of a", &lost).await?;
    it.pause(seconds(9)).await;
    let slow = Fate::Meets(Fault::none().after(seconds(3)));
    let reads = it.await_request(Cue::each_of("a", is_read).that(slow));
    it.never(STAYS, seconds(5), || it.leases_of("a") != its).await;
    reads.end();
    it.never(STAYS, seconds(10), || it.leases_of("a") != its).await;
    Ok(())
}

pub(super) const POISON: Script = Script {
    name: "poisoned-record",
    shows: &["What failed at two workers goes to a third one."],
    shards: 6,
    failover: seconds(2),
    play: |it| Box::pin(poison(it)),
};

/// Whoever has the shard fails with it.
async fn poison(it: &Director) -> Played {
    two_workers(it).await?;
    it.start("b");
    let is_even = || ["a", "b", "z"].iter().all(|id| it.leases_of(id).len() == 2);
    it.until("all to have two leases", is_even).await?;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    for id in ["a", "b", "z"] {
        it.direct(id, &shard, Direction::Fails);
    }
    let owner = || it.row(&shard).and_then(|row| row.owner);
    let first = owner();
    it.until("the shard to move", || owner() != first).await?;
    let second = owner();
    it.never(ONCE, seconds(60), || owner() != second).await;
    for id in ["a", "b", "z"] {
        it.undirect(id, &shard);
    }
    Ok(())
}

pub(super) const RELEASED: Script = Script {
    name: "released",
    shows: &[
        "A shard is not released to another worker when its records failed as often and long as the policy says.",
    ],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(released(it)),
};

/// By itself a worker would be taken for unable to process the shard after a minute.
async fn released(it: &Director) -> Played {
    let policy = Policy {
        then: LastResort::Release,
        bisects: false,
        is_by_handler: false,
    };
    it.start_told("z", policy);
    it.until("z to have every lease", || it.leases_of("z").len() == 4)
        .await?;
    it.start_told("a", policy);
    it.until("a to have two leases", || it.leases_of("a").len() == 2)
        .await?;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    it.until("a to be at work", || {
        it.has_begun_since(Duration::ZERO, "a", &shard)
    })
    .await?;
    let since = it.now();
    it.direct("a", &shard, Direction::Fails);
    let flows_elsewhere = || it.has_begun_since(since, "z", &shard);
    it.expect(ELSEWHERE_SOON, seconds(15), flows_elsewhere).await;
    it.undirect("a", &shard);
    Ok(())
}

pub(super) const WITHOUT_INDEX: Script = Script {
    name: "without-owner-index",
    shows: &["A worker whose owner index is missing finds no leases."],
    shards: 4,
    failover: seconds(5),
    play: |it| Box::pin(without_index(it)),
};

async fn without_index(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead", || it.leads("z")).await?;
    let missing = || Fate::Meets(Fault::respond(400, "ResourceNotFoundException"));
    let queries =
        ["z", "a"].map(|id| it.await_request(Cue::each_of(id, |asked| asked.is("Query")).that(missing())));
    it.start("a");
    let has_begun = || {
        let leases = it.leases_of("a");
        let begun = |shard: &Name| it.has_begun_since(Duration::ZERO, "a", shard);
        leases.len() == 2 && leases.iter().all(begun)
    };
    it.expect(BY_SCANS, it.failover() * 2, has_begun).await;
    for queries in queries {
        queries.end();
    }
    Ok(())
}

pub(super) const UNWRITTEN: Script = Script {
    name: "throttled-assignments",
    shows: &["Assignments that cannot be written are told nobody."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(unwritten(it)),
};

async fn unwritten(it: &Director) -> Played {
    let is_assignment = |asked: &Asked| asked.assigns("z");
    let throttled = Fate::Meets(Fault::throttled());
    let writes = it.await_request(Cue::each_of("z", is_assignment).that(throttled));
    it.start("z");
    it.met("an assignment", &writes).await?;
    let is_told = || {
        let problems = it.status("z").map(|status| status.problems);
        let mut problems = problems.iter().flatten();
        problems.any(|problem| problem.code == "moves-failing")
    };
    it.expect(TOLD, seconds(3), is_told).await;
    it.pause(seconds(20)).await;
    writes.end();
    Ok(())
}

pub(super) const NO_HEIR_LEFT: Script = Script {
    name: "no-heir-left",
    shows: &["In a fleet of two nobody but the one heir watches a silent leader."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(no_heir_left(it)),
};

/// The only heir is cut off, a worker joins, and the leader dies.
async fn no_heir_left(it: &Director) -> Played {
    two_workers(it).await?;
    let shards: Vec<_> = it.rows().into_keys().collect();
    it.trouble("a", Trouble::Neither);
    it.start("c");
    it.pause(Duration::from_millis(200)).await;
    it.kill("z");
    let killed_at = it.now();
    it.until("c to be announced", || it.is_announced("c")).await?;
    let flows = || {
        shards
            .iter()
            .all(|shard| it.has_begun_since(killed_at, "c", shard))
    };
    it.expect(IN_TIME, it.failover() + seconds(4), flows).await;
    it.heal("a");
    Ok(())
}
