//! What was found, as Markdown.

use std::fmt::Write as _;

use crate::histories::Finding;
use crate::list::{self, List, Mutation};

/// The table's path in the workspace.
pub(crate) const FILE: &str = "tests/simulation/MUTATIONS.md";

/// What came of one mutation.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The mistake.
    pub(crate) mutation: &'a Mutation,
    /// How it was found, if it was.
    pub(crate) finding: Option<Finding>,
}

/// The whole document.
pub(crate) fn markdown(list: &List, rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    let found: Vec<_> = rows
        .iter()
        .filter_map(|row| Some((row.mutation, row.finding.as_ref()?)))
        .collect();
    let missed: Vec<_> = rows.iter().filter(|row| row.finding.is_none()).collect();
    // Writing to a string cannot fail.
    let _ = head(&mut text, list, found.len());
    for (mutation, finding) in &found {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {}{} |",
            cell(&mutation.name),
            files(mutation),
            cell(&finding.rule),
            finding.seed,
            size(mutation, list)
        );
    }
    if !missed.is_empty() {
        let _ = write!(
            text,
            "\n## Not caught\n\n| mutation | file | seeds tried | why |\n|---|---|---:|---|\n"
        );
    }
    for row in missed {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            cell(&row.mutation.name),
            files(row.mutation),
            row.mutation.histories(&list.histories).seeds,
            cell(row.mutation.blind_spot.as_deref().unwrap_or("not known yet"))
        );
    }
    text
}

fn head(text: &mut String, list: &List, found: usize) -> std::fmt::Result {
    let (_, file) = list::FILE.rsplit_once('/').unwrap_or_default();
    let usual = &list.histories;
    write!(
        text,
        "# Deliberate mistakes, and what finds them

Each line is a mistake that was made on purpose in a copy of the library, the rule of the simulator that it broke first, and how many
seeds it took: histories of {minutes} min that start with {workers} workers and {shards} shards, one after another from seed 1, at most
{seeds}. The library as it is keeps every rule in all of them. Where a mistake needs other histories, they stand beside the number.
{found} of {all} are found.

The mistakes are listed in [{file}]({file}); a test checks that each still applies. This table is written by

```
cargo run --release -p kcl-simulation --bin mutations -- --write
```

| mutation | file | rule that it broke | seeds |
|---|---|---|---:|
",
        minutes = usual.minutes,
        workers = usual.workers,
        shards = usual.shards,
        seeds = usual.seeds,
        all = list.mutations.len(),
    )
}

fn size(mutation: &Mutation, list: &List) -> String {
    let histories = mutation.histories(&list.histories);
    if histories.size() == list.histories.size() {
        return String::new();
    }
    let (minutes, workers, shards) = histories.size();
    format!(" ({minutes} min, {workers} workers, {shards} shards)")
}

fn files(mutation: &Mutation) -> String {
    let files: Vec<_> = mutation.files().iter().map(|file| format!("`{file}`")).collect();
    files.join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
