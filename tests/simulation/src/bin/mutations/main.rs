//! Proves that the simulator finds mistakes: makes them on purpose, one at a time, in a copy of the library.

/// As in the simulator itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod copy;
mod histories;
mod jobs;
mod list;
#[cfg(test)]
mod regressions;
mod table;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use kcl_simulation::oracle::UNPLAYABLE;

use crate::copy::Copy;
use crate::histories::{Finding, Histories};
use crate::list::{List, Mutation};
use crate::table::Row;

/// Makes deliberate mistakes in a copy of the library, and looks whether the simulator finds them.
#[derive(Debug, Parser)]
struct Args {
    /// Only the mutations whose name or file contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Lists the mutations and does nothing.
    #[arg(long)]
    list: bool,
    /// Tries at most this many seeds, instead of what the list says.
    #[arg(long)]
    seeds: Option<u64>,
    /// A history that takes longer than this, in seconds of real time, does not come to an end.
    #[arg(long, default_value_t = 100)]
    patience: u64,
    /// Tries so many mutations at a time, each in a copy of the library with build products of its own (2 GB).
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Does not try the library as it is first.
    #[arg(long)]
    trust: bool,
    /// Goes on although the library as it is breaks rules, without the seeds that show it.
    #[arg(long)]
    despite: bool,
    /// Writes the table to MUTATIONS.md. What is not tried keeps its line there.
    #[arg(long)]
    write: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs histories until one breaks a rule; what the copy's program is started for.
    #[command(hide = true)]
    Judge(Histories),
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    if let Some(Command::Judge(histories)) = &args.command {
        histories.judge();
        return Ok(ExitCode::SUCCESS);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    let mut list = List::load(&root)?;
    let is_wanted = |mutation: &Mutation| {
        let files = mutation.files();
        let mut texts = files.into_iter().chain([mutation.name.as_str()]);
        args.only.is_empty() || texts.any(|text| args.only.iter().any(|only| text.contains(only)))
    };
    let others;
    (list.mutations, others) = list.mutations.into_iter().partition(is_wanted);
    if let Some(seeds) = args.seeds {
        for mutation in &mut list.mutations {
            mutation.histories.seeds = Some(seeds);
        }
    }
    if args.list {
        for mutation in &list.mutations {
            println!("{}", mutation.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    try_all(&args, &root, &list, &others)
}

fn try_all(args: &Args, root: &Path, list: &List, others: &[Mutation]) -> Result<ExitCode, Box<dyn Error>> {
    let patience = Duration::from_secs(args.patience);
    let copies = (1..=args.jobs.max(1))
        .map(|number| Copy::of(root, number))
        .collect::<Result<Vec<_>, _>>()?;
    let sound = copies.first().ok_or("no copy to work in")?.build()?;
    let tried = if args.trust { Vec::new() } else { list.tried() };
    let unsound = jobs::run(&copies, &tried, |_, _, histories| {
        let unsound = unsound(&sound, histories, patience).map_err(|error| error.to_string());
        println!("the library as it is: {histories}");
        for finding in unsound.iter().flatten() {
            println!("  {finding}");
        }
        unsound
    });
    let unsound = unsound.into_iter().collect::<Result<Vec<_>, _>>()?;
    if !args.despite && unsound.iter().any(|findings| !findings.is_empty()) {
        println!("the library as it is breaks rules: nothing can be said of its mutations");
        return Ok(ExitCode::FAILURE);
    }
    let wanted = |mutation: &Mutation| {
        let mut histories = mutation.histories(&list.histories);
        for (tried, findings) in tried.iter().zip(&unsound) {
            if tried.of(1, 0) == mutation.histories(&list.histories).of(1, 0) {
                let seeds = findings.iter().map(|finding| finding.seed);
                histories.except.extend(seeds);
            }
        }
        histories
    };

    let findings = jobs::run(&copies, &list.mutations, |copy, number, mutation| {
        let finding = try_one(copy, mutation, &wanted(mutation), patience);
        let told = tell(mutation, &finding);
        println!(
            "{:>2} of {}: {}\n{told}",
            number + 1,
            list.mutations.len(),
            mutation.name
        );
        finding
    });
    let findings = findings.into_iter().collect::<Result<Vec<_>, _>>()?;
    let rows = list.mutations.iter().zip(findings);
    let rows: Vec<_> = rows
        .map(|(mutation, finding)| Row { mutation, finding })
        .collect();
    let before = std::fs::read_to_string(root.join(table::FILE))?;
    let markdown = table::markdown(list, &rows, &table::kept(&before, others));
    println!("\n{markdown}");
    if args.write {
        std::fs::write(root.join(table::FILE), markdown)?;
    }
    let is_complete = rows
        .iter()
        .all(|row| row.finding.is_some() || row.mutation.blind_spot.is_some());
    Ok(if is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What came of a mutation, and what is to be done in the list.
fn tell(mutation: &Mutation, finding: &Result<Option<Finding>, String>) -> String {
    let finding = match finding {
        Ok(Some(finding)) => finding,
        Ok(None) => return "  SURVIVES".to_owned(),
        Err(problem) => return format!("  {problem}"),
    };
    let mut told = format!("  {finding}");
    if mutation.blind_spot.is_some() {
        told.push_str("\n  no longer a blind spot: remove the mark");
    }
    if mutation.was_real.is_some() && mutation.script.is_none() && mutation.seed != Some(finding.seed) {
        told.push_str(&format!("\n  now found by seed {}: note it", finding.seed));
    }
    told
}

/// All findings in the library as it is.
fn unsound(program: &Path, histories: &Histories, patience: Duration) -> std::io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut rest = histories.clone();
    while let Some(finding) = rest.first_broken(program, patience)? {
        rest.seeds -= finding.seed + 1 - rest.from;
        rest.from = finding.seed + 1;
        findings.push(finding);
    }
    Ok(findings)
}

fn try_one(
    copy: &Copy,
    mutation: &Mutation,
    histories: &Histories,
    patience: Duration,
) -> Result<Option<Finding>, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut originals = Vec::new();
    for edit in &mutation.edits {
        let original = copy.read(&edit.file).map_err(text)?;
        copy.write(&edit.file, &edit.applied_to(&original)?)
            .map_err(text)?;
        originals.push((&edit.file, original));
    }
    let built = copy.build();
    while let Some((file, original)) = originals.pop() {
        copy.write(file, &original).map_err(text)?;
    }
    let program = built.map_err(|error| format!("{:?} cannot be built: {error}", mutation.name))?;
    if let Some(seed) = mutation.seed {
        let finding = histories
            .of(seed, 1)
            .first_broken(&program, patience)
            .map_err(text)?;
        if finding.is_some() {
            return Ok(finding);
        }
    }
    let finding = histories.first_broken(&program, patience).map_err(text)?;
    // A script that the mistake keeps from being played says nothing of it.
    Ok(finding.filter(|finding| finding.rule != UNPLAYABLE))
}
