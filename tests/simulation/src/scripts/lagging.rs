//! Reads of what was true a moment ago, and writes that arrive late.

use kcl_core::Checkpoint;
use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Cue, Fate, Trouble};

const OUTDATED: &str = "no lease moves for what a worker said of itself before it said otherwise";

pub(super) const OLD_SCAN: Script = Script {
    name: "scan-from-before-the-assignment",
    shows: &["An unowned lease is assigned although its row changed since it was judged."],
    shards: 2,
    failover: seconds(5),
    play: |it| Box::pin(old_scan(it)),
};

/// A scan shows the leases as they were before they were assigned, and none of the workers that joined since.
async fn old_scan(it: &Director) -> Played {
    let first = it.await_request(Cue::next_of("z", |asked| asked.assigns("z")));
    it.start("z");
    it.met("the first assignment", &first).await?;
    let judged_at = it.now();
    it.until("z to be at work", || it.leases_of("z").len() == 2)
        .await?;
    it.start("a");
    it.until("a to be at work", || {
        let its = it.leases_of("a");
        its.len() == 1 && its.iter().all(|shard| it.has_begun_since(seconds(0), "a", shard))
    })
    .await?;
    it.pause(seconds(1)).await;
    let old = Fault::stale(it.now() - judged_at);
    let scan = it.await_request(Cue::next_of("z", |asked| asked.is("Scan")).that(Fate::Meets(old)));
    it.met("a scan", &scan).await?;
    it.pause(seconds(10)).await;
    Ok(())
}

pub(super) const LATE_RELEASE: Script = Script {
    name: "late-release",
    shows: &["A release is written whatever the counter."],
    shards: 4,
    failover: seconds(10),
    play: |it| Box::pin(late_release(it)),
};

/// A worker is to hand a lease over to one that has left, and so releases it. The first sending of that hangs; the second
/// takes effect, the worker is given the lease anew, and then the first one arrives.
async fn late_release(it: &Director) -> Played {
    two_workers(it).await?;
    let held = Fate::Meets(Fault::none().after(seconds(1) + seconds(1) / 2));
    let hand_off = it.await_request(Cue::next_of("z", |asked| asked.begins_hand_off("b")).that(held));
    it.start("b");
    let shard = it.met_for("a hand-off to b", &hand_off).await?;
    it.stop("b");
    let release = it.await_request(Cue::next_of("a", |asked| asked.releases()).that(Fate::ArrivesLate));
    // Else the leader might take the hand-off back before its processor hears of it.
    let lost = Fate::Meets(Fault::drop_request(Loss::Hang));
    let scans = it.await_request(Cue::each_of("z", |asked| asked.is("Scan")).that(lost));
    it.met("a release", &release).await?;
    scans.end();
    // What it sends again is sent after the time-out of an attempt.
    let released_at = it.now() + seconds(1);
    it.until("a to be at work again", || {
        it.has_begun_since(released_at, "a", &shard)
    })
    .await?;
    it.deliver(&release).await;
    it.pause(seconds(5)).await;
    Ok(())
}

pub(super) const LATE_REPORT: Script = Script {
    name: "late-report",
    shows: &["A report that arrives after a later one is written."],
    shards: 4,
    failover: seconds(3),
    play: |it| Box::pin(late_report(it)),
};

/// The first sending of a report hangs, in which a worker says that it cannot do its work. It arrives when the worker has long
/// said that it can.
async fn late_report(it: &Director) -> Played {
    two_workers(it).await?;
    let report = it.await_request(Cue::next_of("a", |asked| asked.says_unfit()).that(Fate::ArrivesLate));
    it.trouble("a", Trouble::NoKinesis);
    it.met("a saying that it is unfit", &report).await?;
    it.until("a to have no lease", || it.leases_of("a").is_empty())
        .await?;
    it.heal("a");
    it.until("a to have half of the leases again", || {
        it.leases_of("a").len() == 2
    })
    .await?;
    it.pause(it.failover() * 5).await;
    let its = it.leases_of("a");
    let later = it.await_request(Cue::next_of("a", |asked| asked.reports() && asked.is_of("a")));
    it.met("a report of a", &later).await?;
    it.pause(seconds(1)).await;
    it.deliver(&report).await;
    it.never(OUTDATED, seconds(10), || it.leases_of("a") != its).await;
    Ok(())
}

pub(super) const LATE_CREATION: Script = Script {
    name: "late-creation",
    shows: &["The lease of an ended shard is deleted as soon as its children were begun."],
    shards: 2,
    failover: seconds(5),
    play: |it| Box::pin(late_creation(it)),
};

/// The first sending of a request to make a lease hangs; the second takes effect. The shard is split and processed to its end within
/// seconds, and then the first one arrives.
async fn late_creation(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead and to have every lease", || {
        it.leads("z") && it.leases_of("z").len() == 2
    })
    .await?;
    it.pause(seconds(3)).await;
    let shard = it.find("a lease of z", || it.leases_of("z").pop()).await?;
    let creation = it.await_request(Cue::next_of("z", |asked| asked.creates_lease()).that(Fate::ArrivesLate));
    it.split(&shard).await;
    let child = it.met_for("a creation", &creation).await?;
    let sent_at = it.now();
    it.until("the child to be begun", || {
        it.has_begun_since(sent_at, "z", &child)
    })
    .await?;
    it.split(&child).await;
    it.until("the child to have ended", || {
        it.row(&child)
            .is_none_or(|row| row.checkpoint == Checkpoint::ShardEnd)
    })
    .await?;
    it.until_time(sent_at + seconds(9)).await;
    it.deliver(&creation).await;
    it.pause(seconds(5)).await;
    Ok(())
}
