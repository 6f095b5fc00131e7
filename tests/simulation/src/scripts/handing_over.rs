//! Leases that a leader moves.

use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Cue, Fate, Trouble};
use crate::processor::Direction;

const LEFT_ALONE: &str = "no lease is handed over to a worker that has left";
const BEGUN: &str =
    "a lease that is moved before its owner began with it is begun long before it would expire";

pub(super) const TO_WHO_LEFT: Script = Script {
    name: "hands-over-to-who-left",
    shows: &["A leader hands a lease over to a worker that has left, on the word of an old scan."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(to_who_left(it)),
};

/// While the answer to the first scan that shows a worker is under way, the worker leaves.
async fn to_who_left(it: &Director) -> Played {
    two_workers(it).await?;
    let announcement = it.await_request(Cue::next_of("b", |asked| asked.is("PutItem") && asked.is_of("b")));
    it.start("b");
    it.met("b announcing itself", &announcement).await?;
    let slow = Fault::none().answered_after(seconds(1) + seconds(1) / 2);
    let scan = it.await_request(Cue::next_of("z", |asked| asked.is("Scan")).that(Fate::Meets(slow)));
    it.met("a scan that shows b", &scan).await?;
    it.stop("b");
    it.until("b to have left", || !it.is_announced("b")).await?;
    let names_b = || {
        let rows = it.rows();
        rows.values().any(|row| row.owner.as_deref() == Some("b"))
    };
    it.never(LEFT_ALONE, seconds(5), names_b).await;
    Ok(())
}

pub(super) const NOT_BEGUN: Script = Script {
    name: "moves-what-nobody-began",
    shows: &["A lease that its owner has not begun with is moved by a hand-off."],
    shards: 4,
    failover: seconds(20),
    play: |it| Box::pin(not_begun(it)),
};

/// The leases are made when two workers are there: each is given two at once, but one of the workers does not hear of them.
async fn not_begun(it: &Director) -> Played {
    it.trouble("z", Trouble::NoKinesis);
    it.start("z");
    it.until("z to lead", || it.leads("z")).await?;
    let deaf = it.await_request(deaf("a"));
    it.start("a");
    it.until("a to be announced", || it.is_announced("a")).await?;
    it.pause(seconds(2)).await;
    it.heal("z");
    it.until("a to be given two leases", || it.leases_of("a").len() == 2)
        .await?;
    it.pause(seconds(3)).await;
    it.start("b");
    let moved = it.find("a lease to be moved from a to b", || {
        it.handed_over("a", "b").or_else(|| it.leases_of("b").pop())
    });
    let shard = moved.await?;
    let moved_at = it.now();
    deaf.end();
    it.expect(BEGUN, seconds(5), || it.flows_since(moved_at, &shard))
        .await;
    Ok(())
}

pub(super) const PERHAPS_NOT_BEGUN: Script = Script {
    name: "moves-what-perhaps-nobody-began",
    shows: &["A lease that its owner may not have begun with is moved by a hand-off."],
    shards: 4,
    failover: seconds(20),
    play: |it| Box::pin(perhaps_not_begun(it)),
};

/// A worker checkpoints in the moment in which it hands leases over: from the counter nobody can tell whether their next
/// owner has begun. It has not, for it does not hear of them; and when a third worker joins, one of them would be the one to
/// move.
async fn perhaps_not_begun(it: &Director) -> Played {
    it.start("z");
    it.until("z to be at work on four shards", || {
        let its = it.leases_of("z");
        its.len() == 4 && its.iter().all(|shard| it.has_begun_since(seconds(0), "z", shard))
    })
    .await?;
    let shards = it.leases_of("z");
    for shard in &shards {
        it.direct("z", shard, Direction::Forgets);
    }
    it.pause(seconds(2)).await;
    let deaf = it.await_request(deaf("a"));
    it.start("a");
    it.until("a to be given two leases", || it.leases_of("a").len() == 2)
        .await?;
    let given = it.leases_of("a");
    it.pause(seconds(3)).await;
    it.start("b");
    it.until("b to be announced", || it.is_announced("b")).await?;
    it.pause(seconds(3)).await;
    deaf.end();
    let told_at = it.now();
    it.expect(BEGUN, seconds(5), || {
        given.iter().all(|shard| it.flows_since(told_at, shard))
    })
    .await;
    Ok(())
}

pub(super) const TAKEN_BACK: Script = Script {
    name: "moves-after-a-cancelled-hand-off",
    shows: &["A lease counts as not begun with when a hand-off of it is begun or taken back."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(taken_back(it)),
};

/// Between two looks of the leader a hand-off is cancelled, and the processor renews its lease, as an assignment would move the
/// counter. At the second look there is a worker that needs a lease.
async fn taken_back(it: &Director) -> Played {
    two_workers(it).await?;
    for shard in it.leases_of("a") {
        it.direct("a", &shard, Direction::Slow(seconds(60)));
    }
    it.until("a to be at work", || {
        it.leases_of("a").iter().all(|shard| it.is_at_work("a", shard))
    })
    .await?;
    // The leader looks nearly as seldom as leases are renewed.
    let delay = seconds(3) / 2;
    let rarely = Fate::Meets(Fault::none().after(delay));
    let scans = it.await_request(Cue::each_of("z", |asked| asked.is("Scan")).that(rarely));
    it.start("b");
    let shard = it
        .find("a hand-off from a to b", || it.handed_over("a", "b"))
        .await?;
    let renewals = it.failover() / 3;
    let due = renewals.mul_f64(0.4)..renewals.mul_f64(0.9);
    loop {
        let before = scans.count();
        it.until("a look of the leader", || scans.count() > before)
            .await?;
        it.pause(delay + seconds(1) / 10).await;
        if due.contains(&(it.now() - it.renewed_at(&shard))) {
            break;
        }
    }
    it.stop("b");
    it.until("the hand-off to be taken back", || {
        let row = it.row(&shard);
        row.is_some_and(|row| row.owner.as_deref() == Some("a") && row.checkpoint_owner.is_none())
    })
    .await?;
    it.start("c");
    it.find("a lease to be moved from a to c", || {
        it.handed_over("a", "c").or_else(|| it.leases_of("c").pop())
    })
    .await?;
    it.pause(seconds(2)).await;
    scans.end();
    Ok(())
}

/// The worker does not find the leases that are assigned to it.
fn deaf(id: &str) -> Cue {
    Cue::each_of(id, |asked| asked.is("Query")).that(Fate::Meets(Fault::drop_request(Loss::Reset)))
}
