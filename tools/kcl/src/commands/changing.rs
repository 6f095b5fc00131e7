//! What all commands have in common that change leases: they refuse what they do not understand, say what they would write, ask, and write
//! each row under the condition that it is as it was seen.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use kcl_lease::{
    Checkpoint, Effect, Lease, LeaseChange, LeaseStore as _, Requirement, WorkerId, WriteOutcome,
};
use serde::Serialize;

use crate::arguments::Changing;
use crate::failure::Failure;
use crate::screen::{Ink, Line, Screen};
use crate::table::tree::name;
use crate::table::{Look, Table};

/// Writes under way at once.
const AT_ONCE: usize = 16;

/// A write to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Intent {
    /// The row as it was seen.
    pub(super) seen: Lease,
    pub(super) change: LeaseChange,
    /// What it is for, in a sentence.
    pub(super) what: String,
}

/// A note in the row of a worker: since when it is drained, in milliseconds since the Unix epoch, or that it is no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) worker: WorkerId,
    pub(super) drained_since: Option<u64>,
    /// What it is for, in a sentence.
    pub(super) what: String,
}

/// What came of all of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// Nothing was to be written.
    Nothing,
    /// It was only said.
    Dry,
    /// The answer was no.
    Declined,
    /// All were written; the rows as they are now.
    Written(Vec<Lease>),
}

/// Refuses a table that is not understood in all its rows.
pub(super) async fn refuse_strangers(table: &Table) -> Result<(), Failure> {
    table.store.check().await.map_err(Failure::from)
}

/// Refuses a look that shows rows which are not understood.
pub(super) fn refuse_strange_rows(look: &Look) -> Result<(), Failure> {
    let strange = look.snapshot.unreadable.iter().chain(&look.snapshot.unknown);
    let rows: Vec<_> = strange
        .map(|row| format!("{} ({})", row.key, row.problem))
        .collect();
    let lock = look.lock.as_ref().err();
    if rows.is_empty() && lock.is_none() {
        return Ok(());
    }
    let first: Vec<_> = rows.iter().take(3).cloned().chain(lock.cloned()).collect();
    Err(Failure::Refused(format!(
        "nothing is written to this table, because it has rows that this version does not understand: {}. Correct or delete them, or use \
         a version that knows them",
        first.join("; ")
    )))
}

/// Says what is to be written, asks, and writes it.
pub(super) async fn carry_out(
    table: &Table,
    intents: Vec<Intent>,
    remarks: &[String],
    changing: &Changing,
    screen: &mut Screen<'_>,
) -> Result<Outcome, Failure> {
    carry_out_with(table, None, intents, remarks, changing, screen).await
}

/// The same, with a note in the row of a worker, which is written first.
pub(super) async fn carry_out_with(
    table: &Table,
    note: Option<Note>,
    intents: Vec<Intent>,
    remarks: &[String],
    changing: &Changing,
    screen: &mut Screen<'_>,
) -> Result<Outcome, Failure> {
    let noted = note.iter().map(Written::of_note);
    let mut report = Report {
        table: table.options.name().to_owned(),
        dry_run: changing.dry_run,
        remarks: remarks.to_vec(),
        changes: noted.chain(intents.iter().map(Written::of)).collect(),
    };
    let count = report.changes.len();
    if !screen.json {
        screen.lines(report.lines(changing.dry_run))?;
    }
    if count == 0 || changing.dry_run {
        if screen.json {
            screen.report(&report, false)?;
        }
        return Ok(match count == 0 {
            true => Outcome::Nothing,
            false => Outcome::Dry,
        });
    }
    if !changing.yes {
        let question = format!("Write {} to {}?", rows(count), table.options.name());
        match screen.ask(&question)? {
            Some(true) => {}
            Some(false) => {
                screen.remark("Nothing was changed.")?;
                return Ok(Outcome::Declined);
            }
            None => {
                return Err(Failure::Usage(
                    "there is nobody to ask: give --yes to write this, or --dry-run to see it".to_owned(),
                ));
            }
        }
    }
    if let Some(note) = &note {
        write_note(table, note).await?;
        if let Some(written) = report.changes.first_mut() {
            written.outcome = Some("written".to_owned());
        }
    }
    let mut outcomes = Vec::new();
    for wave in waves(&intents) {
        let written = stream::iter(wave).map(|intent| write(table, intent));
        outcomes.extend(written.buffered(AT_ONCE).collect::<Vec<_>>().await);
    }
    let of_leases = report.changes.iter_mut().skip(usize::from(note.is_some()));
    for (written, outcome) in of_leases.zip(&outcomes) {
        written.outcome = Some(match outcome {
            Ok(_) => "written".to_owned(),
            Err(problem) => problem.clone(),
        });
    }
    if screen.json {
        screen.report(&report, false)?;
    }
    let failed: Vec<_> = intents.iter().zip(&outcomes).filter(|it| it.1.is_err()).collect();
    if let [(intent, Err(problem)), ..] = failed.as_slice() {
        let count = failed.len();
        return Err(Failure::Refused(format!(
            "{count} of {} were not written; {}: {problem}",
            intents.len(),
            intent.seen.key
        )));
    }
    if !screen.json {
        screen.line(Line::of(Ink::Good, format!("{} written.", rows(count))))?;
    }
    Ok(Outcome::Written(
        outcomes.into_iter().filter_map(Result::ok).collect(),
    ))
}

/// The same in their order, split so that no lease is written to before those of its parents are.
fn waves(intents: &[Intent]) -> Vec<&[Intent]> {
    let (mut waves, mut start) = (Vec::new(), 0);
    let mut in_wave = BTreeSet::new();
    for (at, intent) in intents.iter().enumerate() {
        let (stream, shard) = name(&intent.seen);
        let mut parents = intent.seen.parents.iter();
        if parents.any(|parent| in_wave.contains(&(stream, parent.as_str()))) {
            waves.extend(intents.get(start..at));
            (start, in_wave) = (at, BTreeSet::new());
        }
        in_wave.insert((stream, shard));
    }
    waves.extend(intents.get(start..));
    waves
}

fn rows(count: usize) -> String {
    match count {
        1 => "1 row".to_owned(),
        count => format!("{count} rows"),
    }
}

/// Notes it; a note that is there already is as good.
async fn write_note(table: &Table, note: &Note) -> Result<(), Failure> {
    match table.store.drain(&note.worker, note.drained_since).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::Refused(format!(
            "nothing was written: {} has no row any more, it has left",
            note.worker
        ))),
        Err(error) => Err(Failure::Table(error)),
    }
}

/// One write; why it was not made, if it was not.
async fn write(table: &Table, intent: &Intent) -> Result<Lease, String> {
    let store = &table.store;
    match store.write(&intent.seen, &intent.change).await {
        Ok(WriteOutcome::Applied(row)) => Ok(row),
        // The SDK repeats what was not answered: a first sending may have been applied.
        Ok(WriteOutcome::Refused(Some(row))) if is_done(intent, &row) => Ok(row),
        Ok(WriteOutcome::Refused(Some(row))) => Err(format!(
            "refused, because the row was changed since it was read: its owner is {} and its counter {} now; look again",
            named(row.owner.as_ref()),
            row.counter
        )),
        Ok(WriteOutcome::Refused(None)) => Err("refused, because the row was deleted since".to_owned()),
        Err(error) if error.may_have_been_applied() => match store.get(&intent.seen.key).await {
            Ok(Some(row)) if is_done(intent, &row) => Ok(row),
            _ => Err(format!(
                "it is not known whether it was written: {error}; look again"
            )),
        },
        Err(error) => Err(Failure::Table(error).to_string()),
    }
}

/// Whether a row is as it was wanted, or has gone on from there.
fn is_done(intent: &Intent, row: &Lease) -> bool {
    match &intent.change {
        LeaseChange::Assign { to } | LeaseChange::BeginHandOff { to } => row.owner.as_ref() == Some(to),
        LeaseChange::OperatorPause(since) => row.paused_since == *since,
        LeaseChange::OperatorRewind(to) => row.rewind_to == *to,
        change => *row == change.applied_to(&intent.seen, &intent.seen),
    }
}

fn named(worker: Option<&WorkerId>) -> String {
    worker.map_or_else(|| "nobody".to_owned(), |worker| format!("{worker:?}"))
}

/// What is written, or would be.
#[derive(Debug, Serialize)]
struct Report {
    table: String,
    dry_run: bool,
    remarks: Vec<String>,
    changes: Vec<Written>,
}

/// One row.
#[derive(Debug, Serialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    what: String,
    /// Attributes, and what becomes of them.
    changes: Vec<String>,
    /// What must hold.
    conditions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl Written {
    fn of(intent: &Intent) -> Self {
        let Intent { seen, change, what } = intent;
        Self {
            lease: Some(seen.key.to_string()),
            worker: None,
            what: what.clone(),
            changes: change.effects(seen).iter().map(effect).collect(),
            conditions: change.requirements(seen).iter().map(requirement).collect(),
            outcome: None,
        }
    }
}

impl Written {
    fn of_note(note: &Note) -> Self {
        let since = note.drained_since.map(|millis| millis.to_string());
        Self {
            lease: None,
            worker: Some(note.worker.to_string()),
            what: note.what.clone(),
            changes: vec![set_or_removed("drainedSince", since)],
            conditions: vec!["the row exists".to_owned()],
            outcome: None,
        }
    }

    fn row(&self) -> &str {
        let named = self.lease.as_deref().or(self.worker.as_deref());
        named.unwrap_or_default()
    }
}

impl Report {
    fn lines(&self, in_full: bool) -> Vec<Line> {
        /// So many rows are shown before a question.
        const SHOWN: usize = 20;
        let mut lines = Vec::new();
        let shown = if in_full { usize::MAX } else { SHOWN };
        for written in self.changes.iter().take(shown) {
            lines.push(Line::of(Ink::Strong, written.row()).and(Ink::Plain, format!(": {}", written.what)));
            let (changes, conditions) = (written.changes.join(", "), written.conditions.join(", "));
            lines.push(Line::of(Ink::Faint, format!("  writes: {changes}")));
            lines.push(Line::of(Ink::Faint, format!("  if: {conditions}")));
        }
        if let Some(more) = self.changes.len().checked_sub(shown).filter(|more| *more > 0) {
            lines.push(Line::from(format!("... and {more} more: --dry-run shows all")));
        }
        let remarks = self.remarks.iter();
        lines.extend(remarks.map(|remark| Line::of(Ink::Warning, "! ").and(Ink::Plain, remark.as_str())));
        if self.changes.is_empty() {
            lines.push(Line::from("Nothing is to be written."));
        } else if self.dry_run {
            let text = format!("{} would be written. (--dry-run)", rows(self.changes.len()));
            lines.push(Line::from(text));
        }
        lines
    }
}

fn set_or_removed(name: &str, value: Option<String>) -> String {
    match value {
        Some(value) => format!("{name} = {value}"),
        None => format!("{name} removed"),
    }
}

/// What becomes of an attribute.
fn effect(effect: &Effect) -> String {
    let text = |worker: &Option<WorkerId>| worker.as_ref().map(|worker| format!("{worker:?}"));
    match effect {
        Effect::SetCounter(counter) => format!("leaseCounter = {counter}"),
        Effect::AddToCounter => "leaseCounter + 1".to_owned(),
        Effect::Owner(owner) => set_or_removed("leaseOwner", text(owner)),
        Effect::CheckpointOwner(owner) => set_or_removed("checkpointOwner", text(owner)),
        Effect::AddOwnerSwitch => "ownerSwitchesSinceCheckpoint + 1".to_owned(),
        Effect::ResetOwnerSwitches => "ownerSwitchesSinceCheckpoint = 0".to_owned(),
        Effect::Checkpoint(checkpoint) => position("checkpoint", checkpoint),
        Effect::RewindTo(Some(checkpoint)) => position("rewindTo", checkpoint),
        Effect::RewindTo(None) => "rewindTo removed".to_owned(),
        Effect::Pending(None) => "pendingCheckpoint removed".to_owned(),
        Effect::ReadingSince(millis) => {
            set_or_removed("readingSince", millis.map(|millis| millis.to_string()))
        }
        Effect::PausedSince(millis) => set_or_removed("pausedSince", millis.map(|millis| millis.to_string())),
        other => format!("{other:?}"),
    }
}

fn position(name: &str, checkpoint: &Checkpoint) -> String {
    format!(
        "{name} = {}, {name}SubSequenceNumber = {}",
        checkpoint.as_str(),
        checkpoint.sub_sequence()
    )
}

/// A condition on an attribute.
fn requirement(requirement: &Requirement) -> String {
    let is = |name: &str, worker: &Option<WorkerId>| match worker {
        Some(worker) => format!("{name} is {worker:?}"),
        None => format!("{name} is absent"),
    };
    match requirement {
        Requirement::Exists => "the row exists".to_owned(),
        Requirement::Counter(counter) => format!("leaseCounter is {counter}"),
        Requirement::Owner(owner) => is("leaseOwner", owner),
        Requirement::CheckpointOwner(owner) => is("checkpointOwner", owner),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_written_to_after_their_parents() {
        let intent = |key: &str, parents: &[&str]| Intent {
            seen: Lease::new(key, Checkpoint::TrimHorizon).with_parents(parents.iter().copied()),
            change: LeaseChange::Release,
            what: String::new(),
        };
        let intents = [
            intent("s0", &[]),
            intent("s1", &["gone"]),
            intent("s2", &["s0", "s1"]),
            intent("s3", &["s0"]),
            intent("s4", &["s3"]),
        ];
        let sizes: Vec<_> = waves(&intents).iter().map(|wave| wave.len()).collect();
        assert_eq!(sizes, [2, 2, 1]);
    }

    #[test]
    fn what_is_written_is_told_in_the_words_of_the_table() {
        let mut seen = Lease::new("s0", Checkpoint::TrimHorizon);
        seen.owner = Some("a".into());
        seen.counter = 7;
        let hand_off = Intent {
            seen: seen.clone(),
            change: LeaseChange::BeginHandOff { to: "b".into() },
            what: "hand it over".to_owned(),
        };
        let written = Written::of(&hand_off);
        assert_eq!(
            written.changes,
            [r#"leaseOwner = "b""#, r#"checkpointOwner = "a""#]
        );
        assert_eq!(
            written.conditions,
            [
                "the row exists",
                r#"leaseOwner is "a""#,
                "checkpointOwner is absent"
            ]
        );
        let reset = Intent {
            change: LeaseChange::Reset {
                checkpoint: Checkpoint::Latest,
            },
            ..hand_off
        };
        assert_eq!(
            Written::of(&reset).changes,
            [
                "leaseOwner removed",
                "checkpointOwner removed",
                "rewindTo removed",
                "leaseCounter + 1",
                "checkpoint = LATEST, checkpointSubSequenceNumber = 0",
                "pendingCheckpoint removed",
                "readingSince removed",
                "ownerSwitchesSinceCheckpoint = 0"
            ]
        );
    }
}
