//! Leaders that change.

use kcl_local::faults::Fault;

use super::{Director, Played, Script, seconds};
use crate::faults::{Cue, Fate, Trouble};

pub(super) const PROBLEM_OF_A_LEADER: Script = Script {
    name: "leader-with-a-problem",
    shows: "A leader's problem stays in its status when another worker leads.",
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
