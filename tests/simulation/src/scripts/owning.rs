//! Leases that stay where they are.

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::Trouble;
use crate::processor::Direction;

const TOLD: &str = "a lease that is processed tells of its throughput within the fail-over time";

pub(super) const BUSY_LEASE: Script = Script {
    name: "busy-lease",
    shows: &["A lease whose checkpoints take the place of renewals never tells of its throughput."],
    shards: 1,
    failover: seconds(10),
    play: |it| Box::pin(busy_lease(it)),
};

/// There are records all the time, and a checkpoint of each batch.
async fn busy_lease(it: &Director) -> Played {
    it.start("a");
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    it.until("a to be at work", || it.has_begun_since(seconds(0), "a", &shard))
        .await?;
    let is_told = || it.throughput(&shard).is_some_and(|kbps| kbps > 0.0);
    it.expect(TOLD, it.failover(), is_told).await;
    Ok(())
}

pub(super) const EXPIRED_LEASE: Script = Script {
    name: "batches-after-expiry",
    shows: &["Batches are handed over although the lease is not valid."],
    shards: 4,
    failover: seconds(30),
    play: |it| Box::pin(expired_lease(it)),
};

/// A worker goes on to read, but cannot renew its leases. That they have expired is looked at thirty times in a fail-over
/// time, and batches come more often.
async fn expired_lease(it: &Director) -> Played {
    two_workers(it).await?;
    for shard in it.leases_of("a") {
        it.direct("a", &shard, Direction::Forgets);
    }
    it.trouble("a", Trouble::NoDynamoDb);
    it.until("a to lose its leases", || {
        it.status("a").is_some_and(|status| status.leases_held == 0)
    })
    .await?;
    it.heal("a");
    Ok(())
}
