//! When a fleet has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kinesis::types::Shard;
use kcl_core::Checkpoint;
use tokio::sync::Mutex;

use crate::faults::Wanted;
use crate::fleet::Fleet;
use crate::history::{History, Row};
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

/// Everything that is not as it should be in an undisturbed world, as sentences.
pub async fn what_is_wrong(
    fleet: &Fleet,
    watcher: &Watcher,
    workload: &Mutex<Workload>,
    history: &History,
    wanted: &Wanted,
    machines: Option<&Machines>,
    subject: Subject,
) -> Vec<String> {
    let mut wrong = Vec::new();
    match history.unprocessed() {
        0 => {}
        _ if subject == Subject::AllButRecords => {}
        records => wrong.push(format!("{records} records are not processed")),
    }
    if fleet.stopping() > 0 {
        wrong.push(format!("{} workers are still stopping", fleet.stopping()));
    }
    if !watcher.is_of_the_stream() {
        wrong.push("the leases are of a stream that is gone".to_owned());
    }
    let rows = watcher.rows();
    let shards = workload.lock().await.shards().await;
    for (shard, row) in rows.iter().filter(|(_, row)| row.checkpoint.is_shard_end()) {
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
            wrong.push(format!("the lease of {shard} is kept: {}", row.checkpoint));
        }
    }
    let leaders = fleet.each(|member| member.handle.status().is_leader);
    match leaders.into_iter().filter(|leads| *leads).count() {
        1 => {}
        leaders => wrong.push(format!("{leaders} workers lead")),
    }
    for shard in workload.lock().await.open_shards().await {
        if !rows.contains_key(shard.shard_id()) {
            wrong.push(format!("{} has no lease", shard.shard_id()));
        }
    }
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for id in fleet.each(|member| member.id.clone()) {
        held.insert(id, 0);
    }
    for (shard, row) in &rows {
        if row.checkpoint.is_shard_end() {
            continue;
        }
        if let Some(before) = &row.checkpoint_owner {
            wrong.push(format!("{shard} is in hand-off from {before}"));
        }
        match row.owner.as_ref().and_then(|owner| held.get_mut(owner)) {
            Some(count) => *count += 1,
            None => wrong.push(format!("{shard} belongs to {:?}", row.owner)),
        }
    }
    // A lease that failed in a worker is not given back to it for long.
    let may_move = |from: &str, to: &str| {
        let failed = watcher.failed_in(to);
        let is_its = |row: &Row| !row.checkpoint.is_shard_end() && row.owner.as_deref() == Some(from);
        let mut its = rows.iter().filter(|(_, row)| is_its(row));
        its.any(|(shard, _)| !failed.contains(&**shard))
    };
    let mut pairs = held.iter().flat_map(|from| held.iter().map(move |to| (from, to)));
    let is_uneven = pairs.any(|((from, many), (to, few))| *many > few + 1 && may_move(from, to));
    // How leases are spread by load is said by a rule of its own.
    let is_by_count = machines.is_none() && !fleet.tells_loads();
    if is_by_count && is_uneven {
        wrong.push(format!("the leases are not balanced: {held:?}"));
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
        wrong.push("nobody says that the fail-over times differ".to_owned());
    }
    for status in statuses.iter().cloned() {
        for problem in &status.problems {
            if times.len() > 1 && problem.code == DIFFER {
                continue;
            }
            if is_mute(&status.worker_id) && problem.code == "load-unmeasured" {
                continue;
            }
            wrong.push(format!("{}: {problem}", status.worker_id));
        }
        for shard in &status.shards {
            if let Some(problem) = &shard.problem {
                wrong.push(format!("{} on {}: {problem}", status.worker_id, shard.shard_id));
            }
        }
    }
    wrong
}

fn parents(shard: &Shard) -> impl Iterator<Item = &str> {
    let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
    parents.into_iter().flatten()
}
