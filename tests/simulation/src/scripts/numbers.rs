//! Leases that move, or do not, for how many the workers have.

use super::{Director, Played, Script, seconds};
use crate::faults::Trouble;
use crate::history::Name;
use crate::processor::Direction;

const STAYS: &str = "a lease that has just moved stays while another one can go";
const GIVEN: &str =
    "a worker without leases is given one by whoever has one that it can process, within ten fail-over times";

pub(super) const JUST_MOVED: Script = Script {
    name: "just-moved",
    shows: &["By number it is the last lease that moves, and not the one that has stayed longest."],
    shards: 5,
    failover: seconds(2),
    play: |it| Box::pin(just_moved(it)),
};

/// A worker fails with a lease, and another one rescues it, so that this one has most when a third one joins.
async fn just_moved(it: &Director) -> Played {
    let all = leads_alone(it, "z").await?;
    it.start("a");
    has(it, "a", 2).await?;
    // Of all leases the last by its name.
    let rescued = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    is_rescued(it, "a", &rescued, "z").await?;
    has(it, "a", 2).await?;
    has(it, "z", all.len() - 2).await?;
    it.start("b");
    it.until("b to have a lease", || it.leases_of("b").len() == 1)
        .await?;
    let has_left = || {
        it.row(&rescued)
            .is_none_or(|row| row.owner.as_deref() != Some("z"))
    };
    it.never(STAYS, seconds(10), has_left).await;
    Ok(())
}

pub(super) const FAILED_WITH_ALL: Script = Script {
    name: "failed-with-all-of-one",
    shows: &["By number only the most loaded worker passes leases on, though none of its may go."],
    shards: 4,
    failover: seconds(2),
    play: |it| Box::pin(failed_with_all(it)),
};

/// A worker fails with two leases, which the first of two others has in the end; then it loses what it has to the second one.
async fn failed_with_all(it: &Director) -> Played {
    leads_alone(it, "m").await?;
    it.start("a");
    for _ in 0..2 {
        has(it, "a", 2).await?;
        // What it is given instead has a lower number.
        let failing = it.find("a lease of a", || it.leases_of("a").pop()).await?;
        is_rescued(it, "a", &failing, "m").await?;
    }
    has(it, "a", 2).await?;
    it.start("z");
    has(it, "z", 1).await?;
    it.trouble("a", Trouble::NoDynamoDb);
    has(it, "z", 2).await?;
    it.heal("a");
    it.expect(GIVEN, it.failover() * 10, || !it.leases_of("a").is_empty())
        .await;
    Ok(())
}

/// A worker leads and has every lease; the shards.
async fn leads_alone(it: &Director, id: &str) -> Played<Vec<Name>> {
    it.start(id);
    it.find("a leader at work on every shard", || {
        let (its, rows) = (it.leases_of(id), it.rows().len());
        let is_begun = its.iter().all(|shard| it.has_begun_since(seconds(0), id, shard));
        (it.leads(id) && rows > 0 && its.len() == rows && is_begun).then_some(its)
    })
    .await
}

/// A worker has so many leases, nothing moves, and its leader has seen that it is at work.
async fn has(it: &Director, id: &str, many: usize) -> Played {
    it.until(&format!("{id} to be at work on {many} shards"), || {
        let its = it.leases_of(id);
        let rows = it.rows();
        let is_begun = its.iter().all(|shard| it.has_begun_since(seconds(0), id, shard));
        let is_still = rows.values().all(|row| row.checkpoint_owner.is_none());
        its.len() == many && is_begun && is_still
    })
    .await?;
    it.pause(seconds(3)).await;
    Ok(())
}

/// A worker fails with a lease until another one has it.
async fn is_rescued(it: &Director, from: &str, shard: &Name, to: &str) -> Played {
    let since = it.now();
    it.direct(from, shard, Direction::Fails);
    it.until(&format!("{to} to be at work on {shard}"), || {
        it.has_begun_since(since, to, shard)
    })
    .await
}
