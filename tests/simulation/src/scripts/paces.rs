//! How often shards are read, and the table.

use std::time::Duration;

use kcl_local::faults::Fault;

use super::{Director, Played, Script, seconds};
use crate::faults::{Asked, Cue, Fate, Met};

const CALM: &str = "a shard that brings nothing is read less than twice a second";
const EAGER: &str = "a shard is read at the full pace while its answers get less far behind";
const RARELY: &str = "a table that throttled scans is scanned less often afterwards";

const SHARDS: i32 = 2;

pub(super) const NEVER_AT_THE_TIP: Script = Script {
    name: "never-at-the-tip",
    shows: &["An idle shard whose lag never becomes zero is read at the full pace for ever."],
    shards: SHARDS,
    failover: seconds(10),
    play: |it| Box::pin(never_at_the_tip(it)),
};

/// Kinesis says of idle shards that they are a little behind.
async fn never_at_the_tip(it: &Director) -> Played {
    it.start("z");
    it.pause(seconds(10)).await;
    it.come_to_the_end().await?;
    let reads = empty_answers(it, "z", Duration::from_millis(100));
    it.pause(seconds(5)).await;
    let (before, during) = (reads.count(), seconds(20));
    let most = during.as_secs() * u64::from(SHARDS.unsigned_abs()) * 2;
    it.never(CALM, during, || reads.count() - before > most).await;
    reads.end();
    it.go_on().await;
    Ok(())
}

pub(super) const EMPTY_STRETCH: Script = Script {
    name: "empty-stretch",
    shows: &["Answers without records are taken for idleness while the shard is behind."],
    shards: SHARDS,
    failover: seconds(10),
    play: |it| Box::pin(empty_stretch(it)),
};

/// A worker catches up, and passes a long stretch without records.
async fn empty_stretch(it: &Director) -> Played {
    it.start("z");
    it.pause(seconds(5)).await;
    it.stop("z");
    it.until("z to have stopped", || it.has_stopped("z")).await?;
    let mut reads = empty_answers(it, "a", seconds(3_600));
    it.start("a");
    it.met("a read", &reads).await?;
    it.pause(seconds(2)).await;
    let (mut count, steps, step) = (0, 20, Duration::from_millis(500));
    for passed in 1..=steps {
        reads.end();
        reads = empty_answers(it, "a", seconds(3_600 - 60 * passed));
        it.pause(step).await;
        count += reads.count();
    }
    reads.end();
    // Five a second for each shard, less what the time of a request costs.
    let least = steps * u64::from(SHARDS.unsigned_abs()) * 2;
    it.expect(EAGER, Duration::ZERO, || count >= least).await;
    Ok(())
}

pub(super) const THROTTLED_SCANS: Script = Script {
    name: "throttled-scans",
    shows: &["Scans go on as before while the table throttles."],
    shards: SHARDS,
    failover: seconds(30),
    play: |it| Box::pin(throttled_scans(it)),
};

/// A small table throttles the leader's scans for a while, which is too short for it to step down.
async fn throttled_scans(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead", || it.leads("z")).await?;
    it.pause(seconds(10)).await;
    let is_scan = |asked: &Asked| asked.is("Scan");
    let throttled = it.await_request(Cue::each_of("z", is_scan).that(Fate::Meets(Fault::throttled())));
    it.pause(it.failover() * 2 / 3).await;
    throttled.end();
    let scans = it.await_request(Cue::each_of("z", is_scan));
    // One a second, if there were nothing to learn. Who looks after shards and leases scans, too, four and three times a minute.
    it.never(RARELY, seconds(15), || scans.count() > 8).await;
    scans.end();
    Ok(())
}

/// Every read of a worker is answered without records, and with this lag.
fn empty_answers(it: &Director, id: &str, behind: Duration) -> Met {
    let empty = Fate::Meets(Fault::empty_page(behind));
    it.await_request(Cue::each_of(id, |asked| asked.is("GetRecords")).that(empty))
}
