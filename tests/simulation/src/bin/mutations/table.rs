//! What was found, as Markdown.

use std::fmt::Write as _;

use crate::histories::{Finding, Histories};
use crate::list::{self, List, Mutation};

/// The table's path in the workspace.
pub(crate) const FILE: &str = "tests/simulation/MUTATIONS.md";

const MISSED: &str = "## Not caught";

/// What came of one mutation.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The mistake.
    pub(crate) mutation: &'a Mutation,
    /// How it was found, if it was.
    pub(crate) finding: Option<Finding>,
}

/// Lines of an earlier document, by its parts.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    made: Vec<String>,
    real: Vec<String>,
    missed: Vec<String>,
}

impl Kept {
    fn len(&self) -> usize {
        self.made.len() + self.real.len() + self.missed.len()
    }
}

/// The lines of mutations that were not tried now.
pub(crate) fn kept(before: &str, others: &[Mutation]) -> Kept {
    let mut kept = Kept::default();
    let (found, missed) = before.split_once(MISSED).unwrap_or((before, ""));
    let line = |part: &str, start: &str| {
        let start = format!("| {} ", cell(start));
        part.lines()
            .find(|line| line.starts_with(&start))
            .map(ToOwned::to_owned)
    };
    for mutation in others {
        kept.missed.extend(line(missed, &mutation.name));
        match &mutation.was_real {
            Some(was_real) => kept.real.extend(line(found, was_real)),
            None => kept.made.extend(line(found, &mutation.name)),
        }
    }
    kept
}

/// The whole document.
pub(crate) fn markdown(list: &List, rows: &[Row<'_>], kept: &Kept) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, list, rows, kept);
    text
}

fn write(text: &mut String, list: &List, rows: &[Row<'_>], kept: &Kept) -> std::fmt::Result {
    let found = rows
        .iter()
        .filter_map(|row| Some((row.mutation, row.finding.as_ref()?)));
    let (real, made): (Vec<_>, Vec<_>) = found.partition(|(mutation, _)| mutation.was_real.is_some());
    let count = real.len() + made.len() + kept.real.len() + kept.made.len();
    head(text, list, count, rows.len() + kept.len())?;
    for line in &kept.made {
        writeln!(text, "{line}")?;
    }
    for (mutation, finding) in made {
        writeln!(
            text,
            "| {} | {} | {} | {}{} |",
            cell(&mutation.name),
            files(mutation),
            cell(&finding.rule),
            finding.seed,
            size(mutation, list)
        )?;
    }
    write!(
        text,
        "
## Bugs that the simulator found

The library made these mistakes. Each is made again in a copy; the history of the seed that finds it, or some of the script, are run with
the library as it is among the tests.

| what was wrong | file | rule that it breaks | seed |
|---|---|---|---:|
"
    )?;
    for line in &kept.real {
        writeln!(text, "{line}")?;
    }
    for (mutation, finding) in real {
        writeln!(
            text,
            "| {} | {} | {} | {}{} |",
            cell(mutation.was_real.as_deref().unwrap_or_default()),
            files(mutation),
            cell(&finding.rule),
            finding.seed,
            size(mutation, list)
        )?;
    }
    let missed: Vec<_> = rows.iter().filter(|row| row.finding.is_none()).collect();
    if !missed.is_empty() || !kept.missed.is_empty() {
        write!(
            text,
            "\n{MISSED}\n\n| mutation | file | seeds tried | why |\n|---|---|---:|---|\n"
        )?;
    }
    for line in &kept.missed {
        writeln!(text, "{line}")?;
    }
    for row in missed {
        let was_real = match &row.mutation.was_real {
            Some(was_real) => format!(" (The library once did so: {was_real})"),
            None => String::new(),
        };
        writeln!(
            text,
            "| {}{} | {} | {}{} | {} |",
            cell(&row.mutation.name),
            cell(&was_real),
            files(row.mutation),
            row.mutation.histories(&list.histories).seeds,
            size(row.mutation, list),
            cell(row.mutation.blind_spot.as_deref().unwrap_or("not known yet"))
        )?;
    }
    Ok(())
}

fn head(text: &mut String, list: &List, found: usize, all: usize) -> std::fmt::Result {
    let (_, file) = list::FILE.rsplit_once('/').unwrap_or_default();
    let usual = &list.histories;
    write!(
        text,
        "# Deliberate mistakes, and what finds them

Each line is a mistake that was made on purpose in a copy of the library, the rule of the simulator that it broke first, and how many
seeds it took: histories of {seconds} s that start with {workers} workers and {shards} shards, one after another from seed 1, at most
{seeds}. The library as it is keeps every rule in the histories that are named. Where a mistake needs other ones, they stand beside the
number.
{found} of {all} are found.

The mistakes are listed in [{file}]({file}); a test checks that each still applies. This table is written by

```
cargo run --release -p kcl-simulation --bin mutations -- --write --jobs 2
```

| mutation | file | rule that it broke | seeds |
|---|---|---|---:|
",
        seconds = usual.seconds,
        workers = usual.workers,
        shards = usual.shards,
        seeds = usual.seeds,
    )
}

fn size(mutation: &Mutation, list: &List) -> String {
    let histories = mutation.histories(&list.histories);
    if let Some(script) = &mutation.script {
        return format!(" (`--script {script}`)");
    }
    let twice = if histories.twice { ", each twice" } else { "" };
    if histories.size() == list.histories.size() {
        return twice.to_owned();
    }
    let Histories {
        seconds,
        workers,
        shards,
        ..
    } = histories;
    let wanted = histories.wanted.to_string();
    let wanted = match wanted.trim() {
        "" => String::new(),
        wanted => format!(", `{wanted}`"),
    };
    format!(" ({seconds} s, {workers} workers, {shards} shards{twice}{wanted})")
}

fn files(mutation: &Mutation) -> String {
    let files: Vec<_> = mutation.files().iter().map(|file| format!("`{file}`")).collect();
    files.join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
