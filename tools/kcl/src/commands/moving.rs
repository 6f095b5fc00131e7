//! `kcl move`: hands a shard over to a worker, as the leader would.

use kcl_lease::{
    Forecast, JudgedLease, JudgedWorker, Lease, LeaseChange, LeaseKey, PlannedMove, Standing, TableSnapshot,
    WorkerId,
};

use super::changing::{Intent, Outcome, carry_out, refuse_strange_rows, refuse_strangers};
use super::plan::Step;
use super::waiting::until_handed_over;
use crate::arguments::MoveArguments;
use crate::failure::{Failure, Status};
use crate::screen::Screen;
use crate::table::{Kind, Look, Table, options_of, watch};

pub(super) async fn run(
    table: &Table,
    arguments: &MoveArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let mut watched = watch(table, &arguments.watching, screen).await?;
    let look = watched.last.clone();
    refuse_strange_rows(&look)?;
    let (key, to) = (&arguments.shard, &arguments.worker);
    let lease = find(&look, key)?;
    let target = watched.judged_worker(to);
    let decision = decide(lease, watched.judged(key).as_ref(), to, target.as_ref())?;
    let Decision::Change(change) = decision else {
        let changing = &arguments.changing;
        carry_out(
            table,
            Vec::new(),
            &[format!("{to} has {key} already")],
            changing,
            screen,
        )
        .await?;
        return Ok(Status::Fine);
    };
    let then = leader_afterwards(&mut watched.forecast, &look, &[(key.clone(), to.clone())]);
    let mut remarks = remarks_on(&then, key, to);
    remarks.extend(remark_on_owner(&look, lease, &change));
    let intent = Intent {
        what: said(lease, &change, to),
        seen: lease.clone(),
        change,
    };
    match carry_out(table, vec![intent], &remarks, &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        Outcome::Written(rows) if !arguments.no_wait => {
            let options = options_of(&look, &arguments.watching);
            let limit = options.hand_off_timeout + options.failover_time * 2;
            until_handed_over(table, rows, limit, screen).await
        }
        _ => Ok(Status::Fine),
    }
}

/// The lease of this key.
pub(super) fn find<'a>(look: &'a Look, key: &LeaseKey) -> Result<&'a Lease, Failure> {
    look.lease(key).ok_or_else(|| {
        Failure::Refused(format!(
            "the table has no lease {key}; `kcl list` shows what there is"
        ))
    })
}

/// What is to be done so that a worker has a lease.
#[derive(Debug, PartialEq)]
enum Decision {
    Change(LeaseChange),
    /// It has it.
    Nothing,
}

/// The change that a leader would make of it.
fn decide(
    lease: &Lease,
    judged: Option<&JudgedLease>,
    to: &WorkerId,
    target: Option<&JudgedWorker>,
) -> Result<Decision, Failure> {
    let refused = |text: String| Err(Failure::Refused(text));
    let key = &lease.key;
    if lease.has_ended() {
        return refused(format!(
            "{key} is processed to its end: there is nothing to hand over"
        ));
    }
    if lease.is_in_hand_off() {
        return refused(format!(
            "a hand-off of {key} is under way, from {} to {}: wait until it is over",
            shown(lease.checkpoint_owner.as_ref()),
            shown(lease.owner.as_ref())
        ));
    }
    match target {
        None => {
            return refused(format!(
                "there is no worker {to} in the table; `kcl list` shows who there is"
            ));
        }
        Some(target) if !target.is_eligible || target.is_overdue => {
            return refused(format!(
                "{to} gave no sign of life while it was watched, or cannot work: the leader would take {key} from it again"
            ));
        }
        Some(_) => {}
    }
    let standing = judged.map(|judged| judged.standing);
    let is_served = !matches!(standing, Some(Standing::Unowned | Standing::Expired));
    if lease.owner.as_ref() == Some(to) && is_served {
        return Ok(Decision::Nothing);
    }
    let has_begun = judged.and_then(|judged| judged.has_begun);
    Ok(Decision::Change(match is_served && has_begun != Some(false) {
        true => LeaseChange::BeginHandOff { to: to.clone() },
        false => LeaseChange::Assign { to: to.clone() },
    }))
}

/// What a change of owner is, in a sentence.
pub(super) fn said(lease: &Lease, change: &LeaseChange, to: &WorkerId) -> String {
    let from = shown(lease.owner.as_ref());
    match change {
        LeaseChange::BeginHandOff { .. } => {
            format!("{from} is asked to finish and to hand it over to {to}")
        }
        _ if lease.owner.is_none() => format!("nobody has it; it is given to {to}"),
        _ => format!("{from} does not process it; it is given to {to} at once"),
    }
}

fn shown(worker: Option<&WorkerId>) -> String {
    worker.map_or_else(|| "nobody".to_owned(), ToString::to_string)
}

/// What a leader would write when these workers have begun with these leases.
pub(super) fn leader_afterwards(
    forecast: &mut Forecast,
    look: &Look,
    moves: &[(LeaseKey, WorkerId)],
) -> Vec<PlannedMove> {
    let mut leases = look.snapshot.leases.clone();
    // Assigned, and then begun with.
    for _ in 0..2 {
        for (key, to) in moves {
            for lease in leases.iter_mut().filter(|lease| lease.key == *key) {
                lease.owner = Some(to.clone());
                lease.checkpoint_owner = None;
                lease.counter = lease.counter.saturating_add(1);
            }
        }
        let after = TableSnapshot::new(leases.clone(), look.snapshot.workers.clone());
        forecast.observe(&after, look.epoch_seconds());
    }
    forecast.plan()
}

/// What the leader makes of it, in sentences.
fn remarks_on(then: &[PlannedMove], key: &LeaseKey, to: &WorkerId) -> Vec<String> {
    let this = then.iter().find(|planned| planned.lease.key == *key);
    if let Some(next) = this.and_then(|planned| planned.to.as_ref()) {
        return vec![format!(
            "The leader will probably move {key} on to {next} soon, for the sake of balance."
        )];
    }
    let others: Vec<_> = then
        .iter()
        .filter(|planned| planned.lease.actual_owner() == Some(to))
        .map(|planned| Step::of(planned).text())
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "The leader will probably even that out: {}.",
        others.join("; ")
    )]
}

fn remark_on_owner(look: &Look, lease: &Lease, change: &LeaseChange) -> Option<String> {
    let owner = lease.owner.as_ref()?;
    let is_java = look.kind(owner) != Kind::Rust;
    (is_java && matches!(change, LeaseChange::BeginHandOff { .. })).then(|| {
        format!(
            "{owner} is a Java worker: if hand-offs in good order are switched off in it, or it is older than KCL 3.0, the leader ends this \
             one after its time-out."
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kcl_core::FleetOptions;
    use kcl_lease::{Checkpoint, WorkerRow};
    use tokio::time::sleep;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn lease(key: &str, owner: Option<&str>, counter: u64) -> Lease {
        let mut lease = Lease::new(key, Checkpoint::TrimHorizon);
        lease.owner = owner.map(Into::into);
        lease.counter = counter;
        lease
    }

    fn worker(id: &str, number: u64) -> WorkerRow {
        let mut row = WorkerRow::new(id, NOW);
        row.report_number = number;
        row.report_period = Some(Duration::from_secs(3));
        row.failover_time = Some(Duration::from_secs(10));
        row
    }

    /// A fleet of `a`, which has all of these, and `b`, as it is after it was watched.
    async fn fleet(keys: &[&str]) -> (Forecast, Look) {
        let mut forecast = Forecast::new(&FleetOptions::default());
        let mut snapshot = TableSnapshot::default();
        for number in 0..4 {
            let leases = keys.iter().map(|key| lease(key, Some("a"), number + 1)).collect();
            snapshot = TableSnapshot::new(leases, vec![worker("a", number), worker("b", number)]);
            forecast.observe(&snapshot, NOW);
            sleep(Duration::from_secs(3)).await;
        }
        let look = Look {
            snapshot,
            lock: Ok(None),
            at: std::time::UNIX_EPOCH + Duration::from_secs(NOW),
        };
        (forecast, look)
    }

    fn decided(forecast: &Forecast, lease: &Lease, to: &str) -> Result<Decision, String> {
        let judged = forecast.leases().into_iter().find(|it| it.key == lease.key);
        let to = WorkerId::from(to);
        let target = forecast.workers().into_iter().find(|it| it.id == to);
        decide(lease, judged.as_ref(), &to, target.as_ref()).map_err(|error| error.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_owner_is_asked_and_what_nobody_has_is_given() {
        let (forecast, look) = fleet(&["s0", "s1"]).await;
        let owned = &look.snapshot.leases[0];
        let hand_off = LeaseChange::BeginHandOff { to: "b".into() };
        assert_eq!(decided(&forecast, owned, "b"), Ok(Decision::Change(hand_off)));
        assert_eq!(decided(&forecast, owned, "a"), Ok(Decision::Nothing));
        let mut unowned = Forecast::new(&FleetOptions::default());
        let free = lease("s9", None, 1);
        let table = TableSnapshot::new(vec![free.clone()], vec![worker("b", 1)]);
        unowned.observe(&table, NOW);
        let assign = LeaseChange::Assign { to: "b".into() };
        assert_eq!(decided(&unowned, &free, "b"), Ok(Decision::Change(assign)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_moved_is_refused_with_the_reason() {
        let (forecast, look) = fleet(&["s0"]).await;
        let owned = &look.snapshot.leases[0];
        let mut ended = owned.clone();
        ended.checkpoint = Checkpoint::ShardEnd;
        let mut handed = owned.clone();
        handed.checkpoint_owner = Some("c".into());
        for (lease, to, reason) in [
            (&ended, "b", "nothing to hand over"),
            (&handed, "b", "wait until it is over"),
            (owned, "nobody-knows", "there is no worker nobody-knows"),
        ] {
            let refusal = decided(&forecast, lease, to).unwrap_err();
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_what_the_leader_makes_of_it() {
        let (mut forecast, look) = fleet(&["s0", "s1"]).await;
        let fair = leader_afterwards(&mut forecast, &look, &[("s0".into(), "b".into())]);
        assert!(
            remarks_on(&fair, &"s0".into(), &"b".into()).is_empty(),
            "{fair:?}"
        );
        let (mut forecast, look) = fleet(&["s0", "s1"]).await;
        let moves = [("s0".into(), "b".into()), ("s1".into(), "b".into())];
        let unfair = leader_afterwards(&mut forecast, &look, &moves);
        let remarks = remarks_on(&unfair, &"s0".into(), &"b".into());
        assert_eq!(remarks.len(), 1, "one has to go back: {unfair:?}");
    }
}
