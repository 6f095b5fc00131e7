//! `kcl drain`: a worker is to have no shards until `kcl undrain`. Leaders of this library do that by a note in the worker's row; where one of
//! the two is in Java, all that the worker has is handed over once, as a leader would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use kcl_lease::{JudgedLease, Lease, LeaseChange, LeaseKey, Standing, TableSnapshot, WorkerId};

use super::changing::{
    Intent, Note, Outcome, carry_out, carry_out_with, refuse_strange_rows, refuse_strangers,
};
use super::moving::{leader_afterwards, said};
use super::waiting::{until_handed_over, until_left};
use crate::arguments::{DrainArguments, UndrainArguments};
use crate::failure::{Failure, Status};
use crate::screen::{Screen, count};
use crate::table::{Kind, Look, Table, options_of, watch};

pub(super) async fn run(
    table: &Table,
    arguments: &DrainArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let mut watched = watch(table, &arguments.watching, screen).await?;
    let look = watched.last.clone();
    refuse_strange_rows(&look)?;
    let leaver = &arguments.worker;
    if !look.holdings().contains_key(leaver) {
        return Err(nobody(leaver));
    }
    let judged: BTreeMap<_, _> = watched
        .forecast
        .leases()
        .into_iter()
        .map(|judged| (judged.key.clone(), judged))
        .collect();
    let (theirs, in_hand_off) = theirs(&look.snapshot, leaver);
    // Who would get them if it were gone, by the leader's own rules.
    watched
        .forecast
        .observe(&as_if_gone(&look.snapshot, leaver), look.epoch_seconds());
    let planned: BTreeMap<_, _> = watched
        .forecast
        .plan()
        .into_iter()
        .filter_map(|planned| Some((planned.lease.key, planned.to?)))
        .collect();
    if let Some(lease) = theirs.iter().find(|lease| !planned.contains_key(&lease.key)) {
        return Err(Failure::Refused(format!(
            "no other worker may be given {}: none gave a sign of life while the table was watched, or all have as many as they may have",
            lease.key
        )));
    }
    let mut remarks = Vec::new();
    if in_hand_off > 0 {
        remarks.push(format!(
            "{} from or to {leaver} under way, and left as they are.",
            count(in_hand_off, "hand-off")
        ));
    }
    let options = options_of(&look, &arguments.watching);
    let limit = options.hand_off_timeout + options.failover_time * 2;
    if !arguments.once && keeps_notes(&look, leaver) {
        remarks.push(format!(
            "The leader hands {} over. {leaver} is given nothing until it is stopped or `kcl undrain {leaver}`, as long as others can.",
            count(theirs.len(), "shard")
        ));
        let outcome = carry_out_with(
            table,
            note(&look, leaver),
            Vec::new(),
            &remarks,
            &arguments.changing,
            screen,
        );
        return match outcome.await? {
            Outcome::Declined => Ok(Status::Declined),
            Outcome::Written(_) if !arguments.no_wait => {
                let rows = theirs.into_iter().cloned().collect();
                until_left(table, leaver, rows, limit, screen).await
            }
            _ => Ok(Status::Fine),
        };
    }
    let mut moves = Vec::new();
    let mut intents = Vec::new();
    for (lease, to) in theirs
        .iter()
        .filter_map(|lease| Some((*lease, planned.get(&lease.key)?)))
    {
        let change = change(judged.get(&lease.key), to);
        intents.push(Intent {
            what: said(lease, &change, to),
            seen: lease.clone(),
            change,
        });
        moves.push((lease.key.clone(), to.clone()));
    }
    let back: BTreeSet<LeaseKey> = leader_afterwards(&mut watched.forecast, &look, &moves)
        .into_iter()
        .filter(|planned| planned.to.as_ref() == Some(leaver))
        .map(|planned| planned.lease.key)
        .collect();
    if !back.is_empty() {
        remarks.push(format!(
            "{leaver} stays a worker of the fleet: the leader will give it {} again soon. Stop it as soon as it is empty.",
            count(back.len(), "shard")
        ));
    }
    match carry_out(table, intents, &remarks, &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        Outcome::Written(rows) if !arguments.no_wait => until_handed_over(table, rows, limit, screen).await,
        _ => Ok(Status::Fine),
    }
}

/// `kcl undrain`: a worker is one among others again.
pub(super) async fn end(
    table: &Table,
    arguments: &UndrainArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let look = table.look().await?;
    refuse_strange_rows(&look)?;
    let worker = &arguments.worker;
    let Some(row) = look.worker(worker) else {
        return Err(nobody(worker));
    };
    let note = row.drained_since.map(|_| Note {
        worker: worker.clone(),
        drained_since: None,
        what: "the leader may give it shards again".to_owned(),
    });
    match carry_out_with(table, note, Vec::new(), &[], &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        _ => Ok(Status::Fine),
    }
}

fn nobody(worker: &WorkerId) -> Failure {
    Failure::Refused(format!(
        "there is no worker {worker} in the table; `kcl list` shows who there is"
    ))
}

/// Whether a worker keeps the note that it is drained, and the leader heeds it.
fn keeps_notes(look: &Look, worker: &WorkerId) -> bool {
    let is_ours = |id: &WorkerId| look.kind(id) == Kind::Rust;
    look.worker(worker).is_some() && is_ours(worker) && look.leader().is_none_or(is_ours)
}

/// The note, if it is not there.
fn note(look: &Look, worker: &WorkerId) -> Option<Note> {
    let row = look.worker(worker)?;
    let now = look.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    row.drained_since.is_none().then(|| Note {
        worker: worker.clone(),
        drained_since: Some(u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
        what: "it is drained".to_owned(),
    })
}

/// What a worker has, and how many hand-offs from it or to it are under way.
fn theirs<'a>(snapshot: &'a TableSnapshot, worker: &WorkerId) -> (Vec<&'a Lease>, usize) {
    let open = snapshot.leases.iter().filter(|lease| !lease.has_ended());
    let concerns = |lease: &&Lease| {
        lease.owner.as_ref() == Some(worker) || lease.checkpoint_owner.as_ref() == Some(worker)
    };
    let (moving, resting): (Vec<_>, Vec<_>) = open.filter(concerns).partition(|lease| lease.is_in_hand_off());
    (resting, moving.len())
}

/// The table without a worker, whose leases nobody has.
fn as_if_gone(snapshot: &TableSnapshot, gone: &WorkerId) -> TableSnapshot {
    let leases = snapshot.leases.iter().map(|lease| {
        let mut after = lease.clone();
        if after.owner.as_ref() == Some(gone) && !after.is_in_hand_off() {
            after.owner = None;
        }
        after
    });
    let workers = snapshot.workers.iter().filter(|row| row.id != *gone);
    TableSnapshot::new(leases.collect(), workers.cloned().collect())
}

/// From a living owner in good order, else at once.
fn change(judged: Option<&JudgedLease>, to: &WorkerId) -> LeaseChange {
    let is_dead = judged.is_some_and(|judged| judged.standing == Standing::Expired);
    let has_begun = judged.and_then(|judged| judged.has_begun);
    match is_dead || has_begun == Some(false) {
        true => LeaseChange::Assign { to: to.clone() },
        false => LeaseChange::BeginHandOff { to: to.clone() },
    }
}
