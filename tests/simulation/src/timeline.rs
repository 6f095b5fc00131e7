//! A history that people can read.

use std::fmt::Write as _;

use crate::history::{Event, Ownership, Row, What};
use crate::world::Outcome;

/// How many of the last events of each worker are shown of a broken history.
const LAST: usize = 12;

/// One line.
pub fn line(event: &Event) -> String {
    let at = event.at.as_secs_f64();
    format!("{at:>9.3} s  {:<6} {}", event.who, sentence(&event.what))
}

/// Whether it is about a single record, or one of very many of its kind.
fn is_small(event: &Event) -> bool {
    matches!(
        event.what,
        What::Put { .. }
            | What::Delivered { .. }
            | What::Given { .. }
            | What::RecordBegan { .. }
            | What::RecordEnded { .. }
            | What::Spent { .. }
            | What::Shown { .. }
            | What::Checkpointed { .. }
    )
}

/// The whole history, without single records unless they are wanted.
pub fn whole(outcome: &Outcome, records: bool) -> String {
    let mut text = String::new();
    for event in outcome.events.iter().filter(|event| records || !is_small(event)) {
        let _ = writeln!(text, "{}", line(event));
    }
    text
}

/// What was violated, the last events of everyone, and how to see it again.
pub fn report(outcome: &Outcome, replay: &str) -> String {
    let mut text = String::new();
    let times = outcome.times;
    let _ = writeln!(
        text,
        "seed {} (fail-over time {:?})",
        outcome.seed, times.failover
    );
    for violation in &outcome.violations {
        let at = violation.at.as_secs_f64();
        let _ = writeln!(
            text,
            "  broken at {at:.3} s: {}\n    {}",
            violation.rule, violation.seen
        );
    }
    let mut shown = std::collections::BTreeMap::new();
    let mut lines = Vec::new();
    for event in outcome.events.iter().rev() {
        if is_small(event) {
            continue;
        }
        let count: &mut usize = shown.entry(event.who.clone()).or_default();
        *count += 1;
        if *count <= LAST * if &*event.who == "world" { 4 } else { 1 } {
            lines.push(line(event));
        }
    }
    lines.reverse();
    let _ = writeln!(text, "  the last of each:\n    {}", lines.join("\n    "));
    let _ = writeln!(text, "  replay: {replay}");
    text
}

fn owner(of: &Ownership) -> String {
    format!("{} with {}", of.shard, of.token)
}

fn sentence(what: &What) -> String {
    match what {
        What::ShardOpened { shard, parents } if parents.is_empty() => format!("{shard} opens"),
        What::ShardOpened { shard, parents } => format!("{shard} opens, from {}", parents.join(" and ")),
        What::Put {
            key,
            counter,
            shard,
            position,
        } => format!("{key}:{counter} put to {shard} at {position}"),
        What::PutUnreadable { key, counter, .. } => {
            format!("{key}:{counter} is put, which no processor can take")
        }
        What::DeadLettered {
            key,
            counter,
            position,
        } => format!("{key}:{counter} at {position} becomes a dead letter"),
        What::Named { of, position } => format!("is done with what is before {position}, {}", owner(of)),
        What::Initialized { of } => format!("initialized {}", owner(of)),
        What::BatchBegan {
            of,
            call,
            is_valid,
            records,
        } => {
            let lease = if *is_valid { "" } else { ", lease not valid" };
            format!("call {call}: begins {records} records of {}{lease}", owner(of))
        }
        What::Delivered {
            of,
            key,
            counter,
            position,
        } => format!("took {key}:{counter} at {position} of {}", owner(of)),
        What::CheckpointRefused { of } => {
            format!("cannot checkpoint {}: the table does not take it", owner(of))
        }
        What::BatchEnded { of, call, is_ok } => {
            let how = if *is_ok { "done" } else { "failed" };
            format!("call {call}: {how}, {}", owner(of))
        }
        What::Paused { shard } => format!("is paused: {}", shard.as_deref().unwrap_or("all")),
        What::Resumed { shard } => format!("is resumed: {}", shard.as_deref().unwrap_or("all")),
        What::Resorts { policy } => format!("is told what to do with what keeps failing: {policy:?}"),
        What::StoppedByPolicy { shard } => format!("has stopped, since {shard} kept failing"),
        What::PausedForAll { shard } => format!("has written that {shard} is paused for all"),
        What::ResumedForAll { shard } => format!("{shard} is to be resumed, by whoever has it"),
        What::TellsStalls { after } => format!("tells of what gets no further for {after:?}"),
        What::StallTold { shard, stalls: true } => format!("tells that {shard} gets no further"),
        What::StallTold { shard, .. } => format!("tells that {shard} gets further again"),
        What::Shown { shards } => {
            let each = shards.iter().map(|it| {
                let stalls = if it.stalls { ", stalls" } else { "" };
                format!("{} {:?}{stalls}", it.shard, it.state)
            });
            format!("shows {}", each.collect::<Vec<_>>().join("; "))
        }
        What::HandlesSingly { limits } => format!("handles records beside each other: {limits:?}"),
        What::Given { of, records } => {
            let places = records.iter().map(|record| record.position.to_string());
            let places: Vec<_> = places.collect();
            format!("is given {} of {}", places.join(", "), owner(of))
        }
        What::RecordBegan {
            of,
            call,
            position,
            is_valid,
        } => {
            let lease = if *is_valid { "" } else { ", lease not valid" };
            format!(
                "call {call}: begins the record at {position} of {}{lease}",
                owner(of)
            )
        }
        What::RecordEnded { of, call, is_ok } => {
            let how = if *is_ok { "done" } else { "failed" };
            format!("call {call}: the record is {how}, {}", owner(of))
        }
        What::Read { records } => {
            let bytes: u64 = records.iter().map(|(_, bytes)| bytes).sum();
            format!("was given {} records of {bytes} bytes", records.len())
        }
        What::Bounded { bytes } => format!("may hold {bytes} bytes of its stream"),
        What::Checkpointed { of, to } => format!("checkpointed {} at {to}", owner(of)),
        What::Mistaken { shard, owner } => {
            let owner = owner.as_deref().unwrap_or("nobody");
            format!("believes to own {shard}, which belongs to {owner}")
        }
        What::Misled(what) => what.clone(),
        What::GapReported { of, after, before } => {
            let place =
                |place: &Option<_>, end: &str| place.as_ref().map_or(end.to_owned(), ToString::to_string);
            let (after, before) = (place(after, "the beginning"), place(before, "the end"));
            format!("hears of a gap between {after} and {before} of {}", owner(of))
        }
        What::StreamDeleted { shards } => format!("the stream is deleted, with {} shards", shards.len()),
        What::Kept { shard, checkpoint } => format!("the lease of {shard} is kept, at {checkpoint}"),
        What::ShardGone { shard } => format!("{shard} has left the stream"),
        What::Trimmed { shard } => format!("{shard} is trimmed"),
        What::Impaired => "is in trouble".to_owned(),
        What::Denied => "may not read shards".to_owned(),
        What::Allowed => "may read shards again".to_owned(),
        What::IndexDenied => "may not query the index".to_owned(),
        What::IndexAllowed => "may query the index again".to_owned(),
        What::StandsStill => "stands still, but for its leases".to_owned(),
        What::MovesOn => "goes on".to_owned(),
        What::GaveWay { id } => format!("ends, since another process is {id}"),
        What::Recovered => "is out of one trouble".to_owned(),
        What::Spent {
            over,
            requests,
            faults,
        } => {
            format!("sent {requests} requests to DynamoDB in {over:?}, {faults} met faults")
        }
        What::LeaseLost { of } => format!("lost {}", owner(of)),
        What::ShardEnded { of } => format!("ended {}", owner(of)),
        What::ShutdownRequested { of } => format!("shuts down {}", owner(of)),
        What::SeveralValid { shard, holders } => format!("{shard} is held by {}", holders.join(" and ")),
        What::Row { shard, row } => format!("row {shard}: {}", lease(row)),
        What::RowGone { shard } => format!("row {shard}: gone"),
        What::NameTaken { id, shards } => format!(
            "another process is started as {id}, which holds {}",
            shards.join(", ")
        ),
        What::TableDeleted => "the lease table is deleted".to_owned(),
        What::RowDeletedByHand { shard } => format!("row {shard}: deleted by hand"),
        What::RowEditedByHand { shard, edit, row } => format!("row {shard}: {edit} by hand; {}", lease(row)),
        What::RowDamaged { shard, damage } => format!("row {shard} cannot be read any more: {damage}"),
        What::RowMended { shard } => format!("row {shard} can be read again"),
        What::Started { id, failover } => format!("starts as {id}, with {failover:?}"),
        What::Killed { id } => format!("{id} is killed"),
        What::LeavesByItself { id } => format!("{id} leaves by itself"),
        What::Stopping { id } => format!("{id} is told to stop"),
        What::Stopped {
            id,
            owned,
            has_row,
            faults,
            ..
        } => {
            let row = if *has_row { ", its row is still there" } else { "" };
            format!("{id} stopped; still owns {owned:?}{row}; {faults} faults meanwhile")
        }
        What::Ended { reason } => format!("ended by itself: {reason}"),
        What::Disturbed(text) => text.clone(),
        What::Calm { machines, record, .. } => {
            let each = machines.iter().map(|(id, machine)| {
                let (base, size) = (machine.base as f64 / 10.0, machine.size as f64 / 1e3);
                format!("{id}: {size}, {base} % {:?}", machine.voice)
            });
            let each: Vec<_> = each.collect();
            let record = *record as f64 / 1e4;
            format!(
                "the fleet is calm; a record/s takes {record:.1} %; {}",
                each.join("; ")
            )
        }
        What::Unplayable { waited_for } => format!("the script cannot go on: waited for {waited_for}"),
        What::Unmet { seen, .. } => format!("the script expected something else: {seen}"),
        What::Weighed => "the leases are weighed".to_owned(),
        What::Healed => "everything is healed".to_owned(),
        What::Settled => "the fleet rests".to_owned(),
        What::Unsettled { because } => format!("the fleet does not come to rest: {}", because.join("; ")),
    }
}

fn lease(row: &Row) -> String {
    let owner = row.owner.as_deref().unwrap_or("nobody");
    let from = row.checkpoint_owner.as_ref();
    let from = from.map_or(String::new(), |from| format!(" (from {from})"));
    let order = row.rewind_to.as_ref();
    let order = order.map_or(String::new(), |to| format!(", to be processed anew from {to}"));
    format!(
        "{owner}{from}, counter {}, {}{order}",
        row.counter, row.checkpoint
    )
}
