//! When a fleet has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_kinesis::types::Shard;
use kcl_core::Checkpoint;
use tokio::sync::Mutex;

use crate::faults::Wanted;
use crate::fleet::Fleet;
use crate::history::{History, Name};
use crate::load::{Machines, Voice};
use crate::watcher::Watcher;
use crate::workload::Workload;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    All,
    /// Records are put meanwhile.
    AllButRecords,
}

/// What workers say where not all of them have the same fail-over time.
const DIFFER: &str = "failover-times-differ";

/// What workers say where a shard is polled because it could not be subscribed to. It is subscribed to again after eight
/// minutes and a quarter of them at the latest, if that works.
const POLLED: &str = "fan-out-unavailable";
const RESUBSCRIBED: Duration = Duration::from_secs(620);

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// A sentence.
    pub what: String,
    /// How much longer than anything else it may last.
    pub longer: Duration,
}

impl Wrong {
    fn of_status(what: String, code: &str) -> Self {
        let longer = if code == POLLED {
            RESUBSCRIBED
        } else {
            Duration::ZERO
        };
        Self { what, longer }
    }
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self {
            what,
            longer: Duration::ZERO,
        }
    }
}

/// Leases by worker.
type Held = BTreeMap<String, BTreeSet<Name>>;

/// Everything that is not as it should be in an undisturbed world.
pub async fn what_is_wrong(
    fleet: &Fleet,
    watcher: &Watcher,
    workload: &Mutex<Workload>,
    history: &History,
    wanted: &Wanted,
    machines: Option<&Machines>,
    subject: Subject,
) -> Vec<Wrong> {
    let mut wrong: Vec<Wrong> = Vec::new();
    match history.unprocessed() {
        0 => {}
        _ if subject == Subject::AllButRecords => {}
        records => wrong.push(format!("{records} records are not processed").into()),
    }
    if fleet.stopping() > 0 {
        wrong.push(format!("{} workers are still stopping", fleet.stopping()).into());
    }
    if !watcher.is_of_the_stream() {
        wrong.push("the leases are of a stream that is gone".to_owned().into());
    }
    let rows = watcher.rows();
    let shards = workload.lock().await.shards().await;
    for (shard, row) in rows.iter().filter(|(_, row)| row.has_ended()) {
        let is_started = |child: &Shard| {
            let row = rows.get(child.shard_id());
            row.is_some_and(|row| matches!(row.checkpoint, Checkpoint::At(_) | Checkpoint::ShardEnd))
        };
        let mut children = shards
            .iter()
            .filter(|child| parents(child).any(|id| id == &**shard))
            .peekable();
        let me = shards.iter().find(|it| it.shard_id() == &**shard);
        let has_parents = me.is_some_and(|me| parents(me).any(|id| rows.contains_key(id)));
        if children.peek().is_some() && children.all(is_started) && !has_parents {
            wrong.push(format!("the lease of {shard} is kept: {}", row.checkpoint).into());
        }
    }
    let leaders = fleet.each(|member| member.handle.status().is_leader);
    match leaders.into_iter().filter(|leads| *leads).count() {
        1 => {}
        leaders => wrong.push(format!("{leaders} workers lead").into()),
    }
    for shard in workload.lock().await.open_shards().await {
        if !rows.contains_key(shard.shard_id()) {
            wrong.push(format!("{} has no lease", shard.shard_id()).into());
        }
    }
    let mut held: Held = BTreeMap::new();
    for id in fleet.each(|member| member.id.clone()) {
        held.insert(id, BTreeSet::new());
    }
    for (shard, row) in &rows {
        if row.has_ended() {
            continue;
        }
        if let Some(before) = &row.checkpoint_owner {
            wrong.push(format!("{shard} is in hand-off from {before}").into());
        }
        match row.owner.as_ref().and_then(|owner| held.get_mut(owner)) {
            Some(its) => {
                its.insert(shard.clone());
            }
            None => wrong.push(format!("{shard} belongs to {:?}", row.owner).into()),
        }
    }
    // How leases are spread by load is said by a rule of its own.
    let is_by_count = machines.is_none() && !fleet.tells_loads();
    if is_by_count && is_uneven(&held, &watcher.failed()) {
        let held: BTreeMap<_, _> = held.iter().map(|(id, its)| (id, its.len())).collect();
        wrong.push(format!("the leases are not balanced: {held:?}").into());
    }
    if wanted.lacks("status") {
        return wrong;
    }
    let mute = fleet.each(|member| {
        let machine = machines.map(|machines| machines.of(&member.who));
        machine
            .filter(|machine| machine.voice == Voice::Lost)
            .map(|_| member.id.clone())
    });
    let is_mute = |id: &str| mute.iter().flatten().any(|mute| mute == id);
    let times: BTreeSet<_> = fleet.each(|member| member.failover).into_iter().collect();
    let statuses = fleet.each(|member| member.handle.status());
    let says = |code: &str| {
        let mut problems = statuses.iter().flat_map(|status| &status.problems);
        problems.any(|problem| problem.code == code)
    };
    if times.len() > 1 && !says(DIFFER) {
        wrong.push("nobody says that the fail-over times differ".to_owned().into());
    }
    for status in statuses.iter().cloned() {
        for problem in &status.problems {
            if times.len() > 1 && problem.code == DIFFER {
                continue;
            }
            if is_mute(&status.worker_id) && problem.code == "load-unmeasured" {
                continue;
            }
            let what = format!("{}: {problem}", status.worker_id);
            wrong.push(Wrong::of_status(what, problem.code));
        }
        for shard in &status.shards {
            if let Some(problem) = &shard.problem {
                wrong.push(format!("{} on {}: {problem}", status.worker_id, shard.shard_id).into());
            }
        }
    }
    wrong
}

/// Whether a worker has two leases more than another that could process one of them: what failed there does not return.
fn is_uneven(held: &Held, failed: &Held) -> bool {
    let takes = |id: &str, shard: &Name| failed.get(id).is_none_or(|failed| !failed.contains(shard));
    held.values().any(|many| {
        let mut others = held.iter().filter(|(_, few)| many.len() > few.len() + 1);
        others.any(|(id, _)| many.iter().any(|shard| takes(id, shard)))
    })
}

fn parents(shard: &Shard) -> impl Iterator<Item = &str> {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    parents.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_may_be_polled_until_it_is_subscribed_to_again() {
        let longer = |code| Wrong::of_status("w1: a sentence".to_owned(), code).longer;
        assert_eq!(longer("fan-out-unavailable"), RESUBSCRIBED);
        assert_eq!(longer("reading-failing"), Duration::ZERO);
    }

    #[test]
    fn leases_are_uneven_as_long_as_one_could_move() {
        let leases = |held: &[(&str, &str)]| -> Held {
            let its = |text: &str| text.split_whitespace().map(Name::from).collect();
            held.iter()
                .map(|(id, text)| ((*id).to_owned(), its(text)))
                .collect()
        };
        let uneven = |held: &[_], failed: &[_]| is_uneven(&leases(held), &leases(failed));
        assert!(!uneven(&[("a", "1 2 3"), ("b", "4 5")], &[]));
        assert!(uneven(&[("a", "1 2 3"), ("b", "4")], &[]));
        assert!(uneven(&[("a", "1 2 3"), ("b", "4")], &[("b", "1 2")]));
        assert!(!uneven(&[("a", "1 2 3"), ("b", "4")], &[("b", "1 2 3")]));
        let three = [("a", "1 2 3"), ("b", "4"), ("c", "5")];
        assert!(uneven(&three, &[("b", "1 2 3")]), "another could take one");
        assert!(!uneven(&[("a", "1"), ("b", "")], &[]));
        assert!(uneven(&[("a", "1 2"), ("b", "")], &[("a", "1 2")]));
    }
}
