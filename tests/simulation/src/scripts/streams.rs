//! The stream is deleted, and made anew under its name.

use kcl_local::faults::{Fault, Loss};

use super::{Director, Played, Script, seconds, two_workers};
use crate::edits::Edit;
use crate::faults::{Cue, Fate, Met};
use crate::processor::Direction;

const FOREIGN: &str = "no lease is made of a shard that the stream of the leases does not have";

pub(super) const ENDS_A_SHARD_THAT_IS_GONE: Script = Script {
    name: "ends-a-shard-that-is-gone",
    shows: &["Children's leases are made although the stream was made anew."],
    shards: 4,
    failover: seconds(60),
    play: |it| Box::pin(ends_a_shard_that_is_gone(it)),
};

/// A worker's processor takes its time with the end of a shard. Meanwhile the stream is made anew, and whoever joins begins with
/// it; but the worker hears neither of this, nor, since it renews rarely, that its lease is gone.
async fn ends_a_shard_that_is_gone(it: &Director) -> Played {
    two_workers(it).await?;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    it.direct("a", &shard, Direction::EndsSlowly(seconds(15)));
    let children = it.split(&shard).await;
    it.until("a to come to the end", || it.is_ending("a", &shard))
        .await?;
    let asks = make_anew_unheard(it).await?;
    it.until("a processor that still ends its shard", || {
        it.is_ending("a", &shard)
    })
    .await?;
    let are_made = || {
        let rows = it.rows();
        children.iter().any(|child| rows.contains_key(child))
    };
    it.never(FOREIGN, seconds(15), are_made).await;
    asks.end();
    Ok(())
}

pub(super) const NAMES_CHILDREN_LATE: Script = Script {
    name: "names-children-late",
    shows: &["The children of a shard are named in whatever row has its key."],
    shards: 4,
    failover: seconds(60),
    play: |it| Box::pin(names_children_late(it)),
};

/// The write fails in which a worker names the children of a shard that has ended. Meanwhile the stream is made anew, and the worker
/// is given the lease of its shard of the same number, by hand; then the write goes through.
async fn names_children_late(it: &Director) -> Played {
    two_workers(it).await?;
    let shard = it.find("a lease of a", || it.leases_of("a").pop()).await?;
    let reset = Fate::Meets(Fault::drop_request(Loss::Reset));
    let names = it.await_request(Cue::each_of("a", |asked| asked.names_children()).that(reset));
    it.split(&shard).await;
    it.met("a naming the children", &names).await?;
    let asks = make_anew_unheard(it).await?;
    it.until("the new lease to be made", || it.row(&shard).is_some())
        .await?;
    // As its leader would give it, or not.
    it.edit(&shard, Edit::Given("a".to_owned()));
    it.until("a to be given the new lease", || {
        it.leases_of("a").contains(&shard)
    })
    .await?;
    names.end();
    it.pause(seconds(15)).await;
    asks.end();
    Ok(())
}

/// The stream is made anew, and `b` begins with it; whatever `a` asks about the stream stays unanswered, until that is ended.
async fn make_anew_unheard(it: &Director) -> Played<Met> {
    let lost = Fate::Meets(Fault::drop_request(Loss::Hang));
    let asks = it.await_request(Cue::each_of("a", |asked| asked.is("DescribeStreamSummary")).that(lost));
    it.make_anew(seconds(2), 4).await;
    it.start("b");
    it.until("the leases to be of the new stream", || it.is_recognised())
        .await?;
    Ok(asks)
}
