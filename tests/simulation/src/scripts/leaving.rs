//! Workers that leave.

use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Asked, Cue, Fate, Trouble};
use crate::processor::Direction;

const FLOWS_ON: &str =
    "a lease that a leaving worker gives up is processed elsewhere long before it would expire";
const STILL_ITS: &str = "no lease is taken from a worker that leaves while it is at work and trusts it";

pub(super) const LOST_AT_WORK: Script = Script {
    name: "leaves-after-a-loss",
    shows: &["A worker that leaves frees leases that it lost while their processors are still at work."],
    shards: 2,
    failover: seconds(10),
    play: |it| Box::pin(lost_at_work(it)),
};

/// What the table says of the lease is fresher than what its owner knows: its last renewal arrived after the owner had given
/// it up. So nobody but the owner knows that the lease is lost, and that a processor is at work still.
async fn lost_at_work(it: &Director) -> Played {
    two_workers(it).await?;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    let key = shard.clone();
    let renewal = Cue::next_of("a", move |asked| asked.renews() && asked.is_of(&key));
    it.direct("a", &shard, Direction::Slow(seconds(18)));
    it.until("the long call", || it.is_at_work("a", &shard)).await?;
    it.pause(seconds(1)).await;
    let late = it.await_request(renewal.that(Fate::ArrivesLate));
    it.met("a renewal of a", &late).await?;
    it.trouble("a", Trouble::NoDynamoDb);
    // A third of the fail-over time has gone by since the last one that was answered.
    it.pause(it.failover().mul_f64(0.6)).await;
    it.deliver(&late).await;
    it.until("a to lose the lease", || {
        it.status("a").is_some_and(|status| status.leases_held == 0)
    })
    .await?;
    it.heal("a");
    it.stop("a");
    it.until("a to have left", || it.has_stopped("a")).await?;
    let left_at = it.now();
    it.expect(FLOWS_ON, seconds(5), || it.flows_since(left_at, &shard))
        .await;
    Ok(())
}

pub(super) const LOST_WHILE_LEAVING: Script = Script {
    name: "loses-while-it-leaves",
    shows: &[
        "A worker that leaves finishes only hand-offs of leases that it lost before it began to leave.",
        "A worker that leaves does not finish hand-offs of leases that it lost.",
    ],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(lost_while_leaving(it)),
};

/// A worker is told to stop in the middle of a hand-off, and while its processor is at work it loses that lease: its renewals
/// get nowhere, but one arrives late, so that to the others the lease looks alive.
async fn lost_while_leaving(it: &Director) -> Played {
    two_workers(it).await?;
    for shard in it.leases_of("a") {
        it.direct("a", &shard, Direction::Slow(seconds(14)));
    }
    it.until("a to be at work", || {
        it.leases_of("a").iter().all(|shard| it.is_at_work("a", shard))
    })
    .await?;
    it.start("b");
    let shard = it
        .find("a hand-off from a to b", || it.handed_over("a", "b"))
        .await?;
    let of_it = || {
        let key = shard.clone();
        move |asked: &Asked| asked.is_of(&key)
    };
    let (its, own) = (of_it(), of_it());
    let renewals = Cue::each_of("a", move |asked| {
        its(asked) && asked.renews() && asked.knows_of_hand_off()
    });
    let renewals = it.await_request(renewals.that(Fate::ArrivesLate));
    let lost = Fate::Meets(Fault::drop_request(Loss::Reset));
    let reads =
        it.await_request(Cue::each_of("a", move |asked| own(asked) && asked.is("GetItem")).that(lost));
    it.met("a renewal of the lease in hand-off", &renewals).await?;
    let expires_at = it.renewed_at(&shard) + it.failover();
    it.until_time(expires_at - seconds(2)).await;
    let held = it.status("a").map_or(0, |status| status.leases_held);
    it.stop("a");
    it.until_time(expires_at - seconds(1) / 2).await;
    it.deliver(&renewals).await;
    it.until("a to lose the lease", || {
        it.status("a").is_some_and(|status| status.leases_held < held)
    })
    .await?;
    let lost_at = it.now();
    reads.end();
    renewals.end();
    it.until("a to have left", || it.has_stopped("a")).await?;
    it.expect(FLOWS_ON, seconds(4), || it.has_begun_since(lost_at, "b", &shard))
        .await;
    Ok(())
}

pub(super) const LATE_HAND_OFF: Script = Script {
    name: "late-hand-off-to-who-left",
    shows: &[
        "A hand-off that is found out about only while the lease is given up is completed, though its next owner has left.",
    ],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(late_hand_off(it)),
};

/// The hand-off arrives when its next owner is gone and forgotten, in the moment in which the owner gives the lease up.
async fn late_hand_off(it: &Director) -> Played {
    two_workers(it).await?;
    let hand_off =
        it.await_request(Cue::each_of("z", |asked| asked.begins_hand_off("b")).that(Fate::ArrivesLate));
    it.start("b");
    let shard = it.met_for("a hand-off to b", &hand_off).await?;
    it.stop("b");
    it.until("b to have left", || it.has_stopped("b") && !it.is_announced("b"))
        .await?;
    // The leader gives its write up, and looks at the table without b.
    it.pause(it.failover()).await;
    hand_off.end();
    let held = Fate::Meets(Fault::none().after(seconds(1)));
    let giving_up = it.await_request(Cue::each_of("a", |asked| asked.assigns("z")).that(held));
    it.stop("a");
    it.met("a giving a lease up", &giving_up).await?;
    // The leader does not look before the lease is given up.
    let slow = Fate::Meets(Fault::none().after(seconds(3) / 2));
    let scans = it.await_request(Cue::each_of("z", |asked| asked.is("Scan")).that(slow));
    it.pause(seconds(1) / 2).await;
    it.deliver(&hand_off).await;
    it.until("the hand-off to b", || {
        it.row(&shard)
            .is_some_and(|row| row.owner.as_deref() == Some("b"))
    })
    .await?;
    giving_up.end();
    it.until("a to have left", || it.has_stopped("a")).await?;
    scans.end();
    let left_at = it.now();
    it.expect(FLOWS_ON, seconds(5), || it.flows_since(left_at, &shard))
        .await;
    Ok(())
}

pub(super) const SUCCESSOR_LEAVES: Script = Script {
    name: "successor-leaves-too",
    shows: &["A lease that was given to a worker after it left waits until it expires."],
    shards: 2,
    failover: seconds(20),
    play: |it| Box::pin(successor_leaves(it)),
};

/// Between the look whether its successor is there and the write that gives it the lease the successor leaves.
async fn successor_leaves(it: &Director) -> Played {
    two_workers(it).await?;
    it.start("b");
    it.until("b to be announced", || it.is_announced("b")).await?;
    it.pause(seconds(3)).await;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    let held = Fate::Meets(Fault::none().after(seconds(3)));
    let given = it.await_request(Cue::next_of("a", |asked| asked.assigns("b")).that(held));
    it.stop("a");
    it.met("a giving its lease to b", &given).await?;
    // The leader has seen the last checkpoint of a, so that it can tell that b never began.
    let scan = it.await_request(Cue::next_of("z", |asked| asked.is("Scan")));
    it.met("a scan", &scan).await?;
    let scan = Cue::next_of("z", |asked| asked.is("Scan"));
    it.await_request(scan.that(Fate::Meets(Fault::none().after(seconds(3)))));
    it.stop("b");
    it.until("a and b to have left", || {
        it.has_stopped("a") && it.has_stopped("b")
    })
    .await?;
    let left_at = it.now();
    it.expect(FLOWS_ON, seconds(5), || it.flows_since(left_at, &shard))
        .await;
    Ok(())
}

pub(super) const UNKNOWN_TO_THE_LEADER: Script = Script {
    name: "unknown-to-the-leader",
    shows: &["A lease whose owner has no row counts for the leader's own fail-over time."],
    shards: 6,
    failover: seconds(9),
    play: |it| Box::pin(unknown_to_the_leader(it)),
};

/// A worker that leaves trusts its leases for longer than whoever begins to lead, which has never seen its row; but it sees that
/// of another worker with the same fail-over time.
async fn unknown_to_the_leader(it: &Director) -> Played {
    let short = it.failover() / 3;
    it.start_with("z", short);
    it.until("z to lead", || it.leads("z")).await?;
    it.start("a");
    it.start("c");
    it.until("all to be at work on two shards", || {
        ["a", "c", "z"].iter().all(|id| {
            let its = it.leases_of(id);
            its.len() == 2 && its.iter().all(|shard| it.has_begun_since(seconds(0), id, shard))
        })
    })
    .await?;
    it.pause(seconds(3)).await;
    let lost = || Fate::Meets(Fault::drop_request(Loss::Reset));
    let is_lock = |asked: &Asked| asked.is("PutItem") && asked.is_of("Leader");
    let locks = ["a", "c"].map(|id| it.await_request(Cue::each_of(id, is_lock).that(lost())));
    let its = it.leases_of("a");
    for shard in &its {
        it.direct("a", shard, Direction::Slow(seconds(12)));
    }
    it.until("a to be at work", || {
        its.iter().all(|shard| it.is_at_work("a", shard))
    })
    .await?;
    it.stop("a");
    it.until("a to have no row", || !it.is_announced("a")).await?;
    it.start_with("b", short);
    it.until("b to be announced", || it.is_announced("b")).await?;
    it.kill("z");
    let renewals = it.await_request(Cue::each_of("a", |asked| asked.renews()).that(lost()));
    let renewed_at = its
        .iter()
        .map(|shard| it.renewed_at(shard))
        .min()
        .unwrap_or_default();
    it.until("b to lead", || it.leads("b")).await?;
    let is_taken = || {
        its.iter().any(|shard| {
            let is_a_s = it.row(shard).is_some_and(|row| row.actual_owner() == Some("a"));
            it.is_at_work("a", shard) && !is_a_s
        })
    };
    let trusts = (renewed_at + it.failover() - seconds(1) / 2).saturating_sub(it.now());
    it.never(STILL_ITS, trusts, is_taken).await;
    renewals.end();
    for lock in locks {
        lock.end();
    }
    it.until("a to have left", || it.has_stopped("a")).await
}
