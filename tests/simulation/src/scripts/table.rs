//! The lease table is deleted.

use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Asked, Cue, Fate};
use crate::processor::Direction;

pub(super) const DELETED_AT_THE_START: Script = Script {
    name: "table-deleted-at-the-start",
    shows: &["A worker that starts while the table is deleted gives up."],
    shards: 2,
    failover: seconds(10),
    play: |it| Box::pin(deleted_at_the_start(it)),
};

/// The worker has prepared the table, and is about to announce itself in it.
async fn deleted_at_the_start(it: &Director) -> Played {
    let held = Fate::Meets(Fault::none().after(seconds(1) / 2));
    let announcement =
        it.await_request(Cue::next_of("a", |asked| asked.is("PutItem") && asked.is_of("a")).that(held));
    it.start("a");
    it.met("a announcing itself", &announcement).await?;
    it.delete_table();
    it.until("a to be announced", || it.is_announced("a")).await
}

pub(super) const DELETED_WITH_A_WAITING_CHILD: Script = Script {
    name: "table-deleted-while-a-child-waits",
    shows: &["A child is begun when its parents' leases are gone together with its own."],
    shards: 2,
    failover: seconds(30),
    play: |it| Box::pin(deleted_with_a_waiting_child(it)),
};

/// A worker waits with the child of two shards for the one that another worker is at work on. The table is deleted, and made
/// anew by a worker that starts, so that nothing is left in it.
async fn deleted_with_a_waiting_child(it: &Director) -> Played {
    two_workers(it).await?;
    let (left, right) = it
        .find("a lease of each", || {
            let each = [it.leases_of("a").pop()?, it.leases_of("z").pop()?];
            let [first, second] = &each;
            Some((first.min(second).clone(), first.max(second).clone()))
        })
        .await?;
    let slow = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    it.direct("a", &slow, Direction::Slow(seconds(30)));
    it.until("the long call", || it.is_at_work("a", &slow)).await?;
    let child = it.merge(&left, &right).await?;
    it.until("z to wait with the child", || it.leases_of("z").contains(&child))
        .await?;
    it.pause(seconds(1)).await;
    let lost = || Fate::Meets(Fault::drop_request(Loss::Reset));
    let creations = ["a", "b", "z"]
        .map(|id| it.await_request(Cue::each_of(id, |asked| asked.creates_lease()).that(lost())));
    it.delete_table();
    it.start("b");
    it.until("a new table", || it.is_announced("b")).await?;
    // For so long at most a lease that waits does not look at its parents.
    it.pause(seconds(3)).await;
    for creation in creations {
        creation.end();
    }
    it.until("the end of the long call", || !it.is_at_work("a", &slow))
        .await
}

pub(super) const DELETED_UNDER_A_LEADER: Script = Script {
    name: "table-deleted-under-a-leader",
    shows: &["A leader names the protocol only when it begins to lead, not when it sees an emptied table."],
    shards: 2,
    failover: seconds(60),
    play: |it| Box::pin(deleted_under_a_leader(it)),
};

/// The table is deleted, and made anew by a worker that dies before it writes to it. The leader, whose heartbeats are lost, makes
/// the leases anew; then another worker starts.
async fn deleted_under_a_leader(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead and to have every lease", || {
        it.leads("z") && it.leases_of("z").len() == 2
    })
    .await?;
    it.pause(seconds(3)).await;
    let lost = || Fate::Meets(Fault::drop_request(Loss::Reset));
    let is_heartbeat = |asked: &Asked| asked.is("PutItem") && asked.is_of("Leader");
    let heartbeats = it.await_request(Cue::each_of("z", is_heartbeat).that(lost()));
    let creation = it.await_request(Cue::next_of("b", |asked| asked.is("CreateTable")));
    it.await_request(Cue::each_of("b", |asked| asked.is("PutItem")).that(lost()));
    it.delete_table();
    it.start("b");
    it.met("b making the table", &creation).await?;
    it.pause(seconds(1)).await;
    it.kill("b");
    it.until("z to make the leases anew", || it.rows().len() == 2)
        .await?;
    it.start("c");
    it.until("c to be announced", || it.is_announced("c")).await?;
    heartbeats.end();
    Ok(())
}
