//! What people do with a fleet: a name given twice, a setting changed in a rolling deploy, everybody stopped at once.

use super::{Director, Played, Script, seconds, two_workers};
use crate::processor::Direction;

const ONE_OF_TWO: &str = "of two processes with one name the first ends within the fail-over time";
const STAYS: &str = "no lease is taken from an owner that trusts it for longer than its leader does";
const FLOWS_AT_ONCE: &str = "what a fleet has left to nobody flows at once when it is started again";

pub(super) const NAMESAKES: Script = Script {
    name: "namesakes",
    shows: &["Two processes with one worker id both hold its leases."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(namesakes(it)),
};

/// A second process is given the name of one that lives and works.
async fn namesakes(it: &Director) -> Played {
    two_workers(it).await?;
    it.pause(seconds(7)).await;
    it.start_twin("a");
    it.expect(ONE_OF_TWO, it.failover(), || it.has_stopped("a")).await;
    let twin_s = it.leases_of("a");
    it.until("the second process to be at work", || {
        twin_s
            .iter()
            .all(|shard| it.has_begun_since(it.now() - seconds(5), "a'", shard))
    })
    .await?;
    Ok(())
}

pub(super) const TWO_FAILOVER_TIMES: Script = Script {
    name: "two-failover-times",
    shows: &["A lease is judged by the observer's fail-over time, not by its owner's."],
    shards: 4,
    failover: seconds(4),
    play: |it| Box::pin(two_failover_times(it)),
};

/// A worker that joins trusts its leases for three times as long as the leader would, and renews them as rarely.
async fn two_failover_times(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead and to have every lease", || {
        it.leads("z") && it.leases_of("z").len() == 4
    })
    .await?;
    it.start_with("a", it.failover() * 3);
    it.until("a to have half of the leases", || it.leases_of("a").len() == 2)
        .await?;
    let its = it.leases_of("a");
    // A checkpoint would be a sign of life.
    for shard in &its {
        it.direct("a", shard, Direction::Slow(seconds(30)));
    }
    it.never(STAYS, seconds(40), || it.leases_of("a") != its).await;
    it.stop("a");
    it.until("a to have left", || it.has_stopped("a")).await
}

pub(super) const STOPPED_AFTER_A_KILL: Script = Script {
    name: "stopped-after-a-kill",
    shows: &["A worker that leaves does not look whether its successors begin."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(stopped_after_a_kill(it)),
};

/// Of two workers one is killed, and the other is told to stop before anybody can know.
async fn stopped_after_a_kill(it: &Director) -> Played {
    two_workers(it).await?;
    let left = it.leases_of("z");
    it.kill("a");
    it.pause(seconds(1)).await;
    it.stop("z");
    it.until("z to have left", || it.has_stopped("z")).await?;
    it.start("b");
    let started_at = it.now();
    it.expect(FLOWS_AT_ONCE, seconds(3), || {
        left.iter()
            .all(|shard| it.has_begun_since(started_at, "b", shard))
    })
    .await;
    Ok(())
}
