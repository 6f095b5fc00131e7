//! Waits until what was written has had its effect on each lease, and says so of each.

use std::time::Duration;

use kcl_lease::{Lease, LeaseStore as _, WorkerId};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Status};
use crate::screen::{Screen, span};
use crate::table::Table;

const LOOK: Duration = Duration::from_millis(500);

/// How far a lease is.
pub(super) enum Progress {
    Waiting,
    /// What to say, and whether it is as it was wanted.
    Done(String, bool),
}

/// Looks at these leases, relative to the rows as they were, until all are done. What is not after `limit` is complained of, in the words
/// that are made of the keys and the limit.
pub(super) async fn until_done(
    table: &Table,
    mut rows: Vec<Lease>,
    limit: Duration,
    screen: &mut Screen<'_>,
    progress: impl Fn(&Lease, &Lease) -> Progress,
    is_late: impl Fn(&str, &str) -> String,
) -> Result<Status, Failure> {
    let started = Instant::now();
    let mut is_well = true;
    loop {
        let mut waiting = Vec::new();
        for seen in rows {
            let Some(row) = table.store.get(&seen.key).await? else {
                screen.remark(format!("the lease {} was deleted", seen.key))?;
                continue;
            };
            match progress(&seen, &row) {
                Progress::Waiting => waiting.push(seen),
                Progress::Done(said, is_as_wanted) => {
                    is_well &= is_as_wanted;
                    screen.remark(format!("{said} after {}", span(started.elapsed())))?;
                }
            }
        }
        rows = waiting;
        if rows.is_empty() {
            return Ok(Status::attention_if(!is_well));
        }
        if started.elapsed() >= limit {
            let keys: Vec<_> = rows.iter().map(|row| row.key.to_string()).collect();
            screen.complain(is_late(&keys.join(", "), &span(limit)))?;
            return Ok(Status::NeedsAttention);
        }
        sleep(LOOK).await;
    }
}

/// Waits until hand-offs are over, and says where the leases are.
pub(super) async fn until_handed_over(
    table: &Table,
    rows: Vec<Lease>,
    limit: Duration,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let progress = |seen: &Lease, row: &Lease| {
        let is_as_written = row.owner == seen.owner && row.counter == seen.counter;
        match row.is_in_hand_off() || is_as_written {
            true => Progress::Waiting,
            false => Progress::Done(has(row), row.owner == seen.owner),
        }
    };
    until_done(table, rows, limit, screen, progress, not_over).await
}

/// Waits until a worker has none of these leases, and says who has them.
pub(super) async fn until_left(
    table: &Table,
    worker: &WorkerId,
    rows: Vec<Lease>,
    limit: Duration,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let progress = |_: &Lease, row: &Lease| match row.actual_owner() {
        Some(owner) if owner == worker => Progress::Waiting,
        _ => Progress::Done(has(row), true),
    };
    until_done(table, rows, limit, screen, progress, not_over).await
}

fn has(row: &Lease) -> String {
    let owner = row.actual_owner().map_or("nobody", AsRef::as_ref);
    format!("{owner} has {}", row.key)
}

fn not_over(keys: &str, limit: &str) -> String {
    format!("{keys} not over after {limit}; `kcl explain` says what is waited for")
}
