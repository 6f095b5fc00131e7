//! `kcl plan`: what a leader would write now, or if a worker left.

use std::collections::{BTreeMap, BTreeSet};

use kcl_lease::{Lease, LeaseChange, PlannedMove, TableSnapshot, WorkerId};
use serde::Serialize;

use crate::arguments::PlanArguments;
use crate::failure::{Failure, Status};
use crate::screen::{Columns, Ink, Line, Screen, count};
use crate::table::findings::{Finding, findings};
use crate::table::{Look, Table, watch};

pub(super) async fn run(
    table: &Table,
    arguments: &PlanArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let mut watched = watch(table, &arguments.watching, screen).await?;
    let without: BTreeSet<WorkerId> = arguments.without.iter().cloned().collect();
    let known = watched.last.holdings();
    if let Some(stranger) = without.iter().find(|id| !known.contains_key(*id)) {
        return Err(Failure::Refused(format!(
            "there is no worker {stranger} in the table; `kcl list` shows who there is"
        )));
    }
    let mut look = watched.last.clone();
    if !without.is_empty() {
        look.snapshot = as_if_left(&look.snapshot, &without);
        watched.forecast.observe(&look.snapshot, look.epoch_seconds());
    }
    let moves = watched.forecast.plan();
    let planned: BTreeSet<_> = moves.iter().map(|planned| planned.lease.key.clone()).collect();
    let homeless = look
        .snapshot
        .leases
        .iter()
        .filter(|lease| !lease.has_ended() && lease.owner.is_none() && !planned.contains(&lease.key));
    let report = Plan {
        without: without.iter().map(ToString::to_string).collect(),
        moves: moves
            .iter()
            .map(|planned| Step {
                // As it is now, not as if somebody had left.
                from: watched
                    .last
                    .lease(&planned.lease.key)
                    .and_then(Lease::actual_owner)
                    .map(ToString::to_string),
                ..Step::of(planned)
            })
            .collect(),
        workers: shares(&look, &moves, &watched.forecast.workers()),
        without_owner: homeless.map(|lease| lease.key.to_string()).collect(),
        findings: findings(&watched.last),
    };
    if screen.json {
        screen.report(&report, false)?;
    } else {
        screen.lines(report.lines())?;
    }
    Ok(Status::attention_if(!report.without_owner.is_empty()))
}

/// The table as it is when workers have left and given their leases back.
fn as_if_left(snapshot: &TableSnapshot, gone: &BTreeSet<WorkerId>) -> TableSnapshot {
    let is_gone = |id: &Option<WorkerId>| id.as_ref().is_some_and(|id| gone.contains(id));
    let leases = snapshot.leases.iter().map(|lease| {
        let mut after = lease.clone();
        if is_gone(&after.checkpoint_owner) {
            after.checkpoint_owner = None;
            after.counter = after.counter.saturating_add(1);
        }
        if is_gone(&after.owner) {
            after.owner = after.checkpoint_owner.take();
            after.counter = after.counter.saturating_add(1);
        }
        after
    });
    let workers = snapshot.workers.iter().filter(|row| !gone.contains(&row.id));
    TableSnapshot::new(leases.collect(), workers.cloned().collect())
}

/// What a leader would do.
#[derive(Debug, Serialize)]
struct Plan {
    without: Vec<String>,
    moves: Vec<Step>,
    workers: Vec<Share>,
    /// Leases that nobody would be given.
    without_owner: Vec<String>,
    findings: Vec<Finding>,
}

/// A write of a leader.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) lease: String,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    /// `assign`, `hand-off` or `cancel-hand-off`.
    pub(super) how: &'static str,
}

impl Step {
    pub(super) fn of(planned: &PlannedMove) -> Self {
        Self {
            lease: planned.lease.key.to_string(),
            from: planned.lease.actual_owner().map(ToString::to_string),
            to: planned.to.as_ref().map(ToString::to_string),
            how: match planned.change {
                LeaseChange::Assign { .. } => "assign",
                LeaseChange::BeginHandOff { .. } => "hand-off",
                LeaseChange::CancelHandOff => "cancel-hand-off",
                _ => "change",
            },
        }
    }

    pub(super) fn text(&self) -> String {
        let (from, to) = (self.from.as_deref().unwrap_or("nobody"), self.to.as_deref());
        let to = to.unwrap_or("nobody");
        match self.how {
            "assign" => format!("give {} to {to} at once (it was {from}'s)", self.lease),
            "cancel-hand-off" => format!("take the hand-off of {} back: {to} keeps it", self.lease),
            _ => format!("hand {} over from {from} to {to}", self.lease),
        }
    }
}

/// The leases of a worker, now and after the plan.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Share {
    worker: String,
    /// Whether it may be given leases.
    is_eligible: bool,
    leases: usize,
    leases_then: usize,
}

fn shares(look: &Look, moves: &[PlannedMove], judged: &[kcl_lease::JudgedWorker]) -> Vec<Share> {
    let open = || look.snapshot.leases.iter().filter(|lease| !lease.has_ended());
    let after: BTreeMap<_, Option<&WorkerId>> = moves
        .iter()
        .map(|planned| (&planned.lease.key, planned.to.as_ref()))
        .collect();
    let then = |lease: &Lease| match after.get(&lease.key) {
        Some(to) => to.cloned(),
        None => lease.owner.clone(),
    };
    let number = |owner: &WorkerId, of: &dyn Fn(&Lease) -> Option<WorkerId>| {
        open().filter(|lease| of(lease).as_ref() == Some(owner)).count()
    };
    let workers = look.holdings().into_keys().map(|id| Share {
        is_eligible: judged
            .iter()
            .any(|it| it.id == id && it.is_eligible && !it.is_overdue),
        leases: number(&id, &|lease| lease.owner.clone()),
        leases_then: number(&id, &then),
        worker: id.to_string(),
    });
    workers.collect()
}

impl Plan {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let what = match self.without.as_slice() {
            [] => "A leader".to_owned(),
            gone => format!("If {} left, a leader", gone.join(" and ")),
        };
        if self.moves.is_empty() {
            lines.push(Line::of(Ink::Strong, format!("{what} would change nothing.")));
        } else {
            lines.push(Line::of(
                Ink::Strong,
                format!("{what} would make {}:", count(self.moves.len(), "change")),
            ));
            let steps = self.moves.iter().map(|step| format!("  {}", step.text()));
            lines.extend(steps.map(Line::from));
        }
        if !self.workers.is_empty() {
            lines.push(Line::default());
            let mut columns = Columns::titled(&["WORKER", "SHARDS", "THEN", ""]);
            for share in &self.workers {
                let remark = if share.is_eligible {
                    ""
                } else {
                    "is given nothing: it is silent, or cannot work"
                };
                columns.row([
                    (Ink::Plain, share.worker.clone()),
                    (Ink::Plain, share.leases.to_string()),
                    (Ink::Plain, share.leases_then.to_string()),
                    (Ink::Warning, remark.to_owned()),
                ]);
            }
            lines.extend(columns.lines());
        }
        if !self.without_owner.is_empty() {
            let text = format!(
                "{} would stay without owner, since nobody may be given them: {}",
                count(self.without_owner.len(), "shard"),
                self.without_owner.join(", ")
            );
            lines.push(Line::of(Ink::Bad, "! ").and(Ink::Plain, text));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::{Checkpoint, WorkerRow};

    use super::*;

    fn lease(key: &str, owner: &str, processor: Option<&str>) -> Lease {
        let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
        lease.owner = Some(owner.into());
        lease.checkpoint_owner = processor.map(Into::into);
        lease
    }

    #[test]
    fn whoever_left_has_given_back_what_it_had_and_hand_offs_end_where_somebody_is() {
        let snapshot = TableSnapshot::new(
            vec![
                lease("had", "gone", None),
                lease("from it", "b", Some("gone")),
                lease("to it", "gone", Some("b")),
                lease("other", "b", None),
            ],
            vec![WorkerRow::new("b", 1), WorkerRow::new("gone", 1)],
        );
        let after = as_if_left(&snapshot, &["gone".into()].into());
        let owners: Vec<_> = after
            .leases
            .iter()
            .map(|lease| (lease.owner.as_ref().map(WorkerId::as_str), lease.is_in_hand_off()))
            .collect();
        assert_eq!(
            owners,
            [
                (None, false),
                (Some("b"), false),
                (Some("b"), false),
                (Some("b"), false)
            ]
        );
        assert_eq!(after.workers.len(), 1);
        assert_eq!(after.leases[3], snapshot.leases[3]);
    }
}
