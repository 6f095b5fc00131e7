//! `kcl pause` and `kcl resume`: a note in leases that their owners heed, whoever they are.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use kcl_lease::{Lease, LeaseChange, LeaseKey};

use super::changing::{Intent, Outcome, carry_out, refuse_strange_rows, refuse_strangers};
use super::moving::find;
use crate::arguments::PauseArguments;
use crate::failure::{Failure, Status};
use crate::screen::Screen;
use crate::table::{Kind, Look, Table};

pub(super) async fn run(
    table: &Table,
    arguments: &PauseArguments,
    pauses: bool,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let look = table.look().await?;
    refuse_strange_rows(&look)?;
    let leases: Vec<&Lease> = match arguments.all {
        true => look.snapshot.leases.iter().collect(),
        false => {
            // Who is named twice is meant once.
            let keys: BTreeSet<&LeaseKey> = arguments.shards.iter().collect();
            keys.into_iter()
                .map(|key| find(&look, key))
                .collect::<Result<_, _>>()?
        }
    };
    let now = look.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = pauses.then(|| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    if pauses {
        refuse_java(&look, &leases)?;
    }
    let open = leases.into_iter().filter(|lease| !lease.has_ended());
    let others = open.filter(|lease| lease.paused_since.is_some() != pauses);
    let intents: Vec<_> = others
        .map(|lease| Intent {
            seen: lease.clone(),
            change: LeaseChange::OperatorPause(since),
            what: said(lease, pauses),
        })
        .collect();
    let mut remarks = Vec::new();
    if pauses && !intents.is_empty() {
        if look
            .snapshot
            .workers
            .iter()
            .any(|row| row.report_period.is_none())
        {
            remarks.push(
                "Workers in Java do not heed it: if one takes a shard over, it goes on there.".to_owned(),
            );
        }
        remarks.push(
            "Owners learn of it with their next renewal, within a third of the fail-over time; a batch that is being processed is finished."
                .to_owned(),
        );
    }
    match carry_out(table, intents, &remarks, &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        _ => Ok(Status::Fine),
    }
}

fn said(lease: &Lease, pauses: bool) -> String {
    let verb = if pauses { "paused" } else { "resumed" };
    match lease.actual_owner() {
        Some(owner) => format!("{verb}, at {owner} and whoever has it next"),
        None => format!("{verb} for whoever has it next"),
    }
}

/// What a Java worker has would not be paused, and the row would say that it is.
fn refuse_java(look: &Look, leases: &[&Lease]) -> Result<(), Failure> {
    let of_java = leases.iter().filter_map(|lease| {
        let owner = lease.actual_owner().filter(|_| !lease.has_ended())?;
        (look.kind(owner) != Kind::Rust).then(|| format!("{} ({owner})", lease.key))
    });
    let of_java: Vec<_> = of_java.take(5).collect();
    if of_java.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "workers in Java do not heed pauses, and have {}: move these to workers in Rust first, or stop the Java workers",
        of_java.join(", ")
    )))
}
