//! Leaders that change.

use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::faults::{Asked, Cue, Fate, Trouble};

const ONE_LEADS: &str = "a leader whose lock another worker has taken leads no more";

pub(super) const PROBLEM_OF_A_LEADER: Script = Script {
    name: "leader-with-a-problem",
    shows: &["A leader's problem stays in its status when another worker leads."],
    shards: 2,
    failover: seconds(10),
    play: |it| Box::pin(problem_of_a_leader(it)),
};

/// A leader that cannot list the shards is cut off from the table, too.
async fn problem_of_a_leader(it: &Director) -> Played {
    let refused = Fate::Meets(Fault::internal_error());
    let listings = it.await_request(Cue::each_of("a", |asked| asked.is("ListShards")).that(refused));
    it.start("a");
    it.until("a to lead", || it.leads("a")).await?;
    it.start("b");
    it.until("b to be announced", || it.is_announced("b")).await?;
    // Its first clean-up, which has nothing to do, is over.
    it.pause(seconds(6)).await;
    it.until("a to complain", || {
        it.status("a").is_some_and(|status| !status.problems.is_empty())
    })
    .await?;
    it.trouble("a", Trouble::NoDynamoDb);
    it.until("b to lead, and a to follow", || it.leads("b") && !it.leads("a"))
        .await?;
    listings.end();
    it.heal("a");
    Ok(())
}

pub(super) const LATE_HEARTBEAT: Script = Script {
    name: "late-heartbeat",
    shows: &["A leader refreshes the lock although another worker has taken it."],
    shards: 2,
    failover: seconds(10),
    play: |it| Box::pin(late_heartbeat(it)),
};

/// A leader's heartbeats are lost, and one that it sends just in time arrives when another worker has the lock; or a moment
/// before, and then all begins anew.
async fn late_heartbeat(it: &Director) -> Played {
    two_workers(it).await?;
    let is_heartbeat = |asked: &Asked| asked.is("PutItem") && asked.is_of("Leader");
    let each = |fault| it.await_request(Cue::each_of("z", is_heartbeat).that(Fate::Meets(fault)));
    for _ in 0..24 {
        let lost = each(Fault::drop_request(Loss::Reset));
        it.met("a heartbeat", &lost).await?;
        it.pause(it.failover() / 4).await;
        lost.end();
        let late = each(Fault::none().after(seconds(3) / 2));
        it.pause(it.failover() / 2).await;
        late.end();
        if !it.leads("z") || it.leads("a") {
            break;
        }
        it.pause(seconds(3)).await;
    }
    it.until("a to lead", || it.leads("a")).await?;
    it.never(ONE_LEADS, seconds(10), || it.leads("z")).await;
    Ok(())
}

/// A leader `z`, its heirs `a`, `b` and `c`, and two others.
async fn six_workers(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead", || it.leads("z")).await?;
    for id in ["a", "b", "c", "d", "e"] {
        it.start(id);
    }
    it.until("all to have leases", || {
        let mut ids = ["a", "b", "c", "d", "e", "z"].iter();
        ids.all(|id| !it.leases_of(id).is_empty())
    })
    .await?;
    // The leader names the first three that it knows, with its next heartbeat.
    it.pause(seconds(3)).await;
    Ok(())
}

pub(super) const HEIRS_DIE: Script = Script {
    name: "heirs-die-with-the-leader",
    shows: &["Whoever is no heir waits for one for ever."],
    shards: 6,
    failover: seconds(10),
    play: |it| Box::pin(heirs_die(it)),
};

async fn heirs_die(it: &Director) -> Played {
    six_workers(it).await?;
    for id in ["z", "a", "b", "c"] {
        it.kill(id);
    }
    let is_led = || it.leads("d") || it.leads("e");
    it.expect(
        "somebody leads within the fail-over time after the leader died with its heirs",
        it.failover(),
        is_led,
    )
    .await;
    Ok(())
}

pub(super) const ONE_OF_MANY_DIES: Script = Script {
    name: "leader-of-many-dies",
    shows: &["The whole fleet gets ready to lead."],
    shards: 6,
    failover: seconds(10),
    play: |it| Box::pin(one_of_many_dies(it)),
};

async fn one_of_many_dies(it: &Director) -> Played {
    six_workers(it).await?;
    let scans = ["d", "e"].map(|id| it.await_request(Cue::each_of(id, |asked| asked.is("Scan"))));
    it.kill("z");
    let is_scanned = || scans.iter().any(|scan| scan.count() > 0);
    it.never(
        "a worker that is no heir of the leader does not scan the table",
        it.failover(),
        is_scanned,
    )
    .await;
    it.until("an heir to lead", || {
        ["a", "b", "c"].iter().any(|id| it.leads(id))
    })
    .await
}
