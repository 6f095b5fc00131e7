//! Histories from a script instead of dice: named deeds in an order that reacts to what happens. A change of the library
//! makes another history of every seed; a script goes on to show what it was written for, or says that it cannot.
//!
//! The seed still makes the ids, the jitter and the records. What happens is judged by the same rules, and ends in the same way.

mod deploying;
mod director;
mod handing_over;
mod lagging;
mod leading;
mod leaving;
mod loads;
mod numbers;
mod owning;
mod paces;
mod positions;
mod streams;
mod table;
mod troubled;

use std::pin::Pin;
use std::time::Duration;

pub use self::director::{Director, Played, Unplayable};

type Playing<'a> = Pin<Box<dyn Future<Output = Played> + Send + 'a>>;

/// A history that is told what to do.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// What it is called on a command line.
    pub name: &'static str,
    /// The mistakes that it shows, each as a sentence.
    pub shows: &'static [&'static str],
    /// Shards at first.
    pub shards: i32,
    /// How long a silent worker keeps its leases.
    pub failover: Duration,
    /// What is done.
    pub play: for<'a> fn(&'a Director) -> Playing<'a>,
}

/// All scripts.
pub const ALL: &[Script] = &[
    leaving::LOST_AT_WORK,
    leaving::LOST_WHILE_LEAVING,
    leaving::LATE_HAND_OFF,
    leaving::SUCCESSOR_LEAVES,
    leaving::UNKNOWN_TO_THE_LEADER,
    deploying::NAMESAKES,
    deploying::TWO_FAILOVER_TIMES,
    deploying::STOPPED_AFTER_A_KILL,
    handing_over::TO_WHO_LEFT,
    handing_over::NOT_BEGUN,
    handing_over::PERHAPS_NOT_BEGUN,
    handing_over::TAKEN_BACK,
    lagging::OLD_SCAN,
    lagging::LATE_RELEASE,
    lagging::LATE_REPORT,
    lagging::LATE_CREATION,
    leading::PROBLEM_OF_A_LEADER,
    leading::LATE_HEARTBEAT,
    leading::HEIRS_DIE,
    leading::ONE_OF_MANY_DIES,
    loads::QUIET_LEASE,
    loads::ONLY_LEASE,
    loads::QUIET_FLEET,
    loads::RELIEVED_WORKER,
    loads::BY_WAY_OF_A_THIRD,
    loads::NEWCOMER,
    numbers::JUST_MOVED,
    numbers::FAILED_WITH_ALL,
    owning::BUSY_LEASE,
    owning::EXPIRED_LEASE,
    paces::NEVER_AT_THE_TIP,
    paces::EMPTY_STRETCH,
    paces::THROTTLED_SCANS,
    positions::INSIDE_A_RECORD,
    positions::FIRST_NUMBER,
    positions::AGED_OUT,
    positions::UNREADABLE,
    streams::ENDS_A_SHARD_THAT_IS_GONE,
    streams::NAMES_CHILDREN_LATE,
    table::DELETED_AT_THE_START,
    table::DELETED_WITH_A_WAITING_CHILD,
    table::DELETED_UNDER_A_LEADER,
    troubled::CUT_OFF,
    troubled::ALL_CUT_OFF,
    troubled::ONE_LOST_READ,
    troubled::POISON,
    troubled::RELEASED,
    troubled::WITHOUT_INDEX,
    troubled::UNWRITTEN,
    troubled::NO_HEIR_LEFT,
];

/// The script of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Script> {
    let scripts = ALL.iter();
    #[cfg(test)]
    let scripts = scripts.chain([&tests::IN_VAIN]);
    scripts.into_iter().find(|script| script.name == name)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A leader `z` and a worker `a`, each at work on half of the shards. Of workers with equally many leases the first of the
/// alphabet gives one away: when another worker joins four shards, `a` does.
async fn two_workers(it: &Director) -> Played {
    it.start("z");
    it.until("z to lead and to have every lease", || {
        let rows = it.rows();
        it.leads("z") && !rows.is_empty() && it.leases_of("z").len() == rows.len()
    })
    .await?;
    it.start("a");
    it.until("a to be at work on half of the shards", || {
        let its = it.leases_of("a");
        let is_half = its.len() == it.leases_of("z").len();
        is_half
            && its
                .iter()
                .all(|shard| it.has_begun_since(Duration::ZERO, "a", shard))
    })
    .await?;
    // The leader sees that it has begun.
    it.pause(seconds(3)).await;
    Ok(())
}

#[cfg(test)]
mod tests;
