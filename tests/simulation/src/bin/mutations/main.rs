//! Proves that the simulator finds mistakes: makes them on purpose, one at a time, in a copy of the library.

/// As in the simulator itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod copy;
mod histories;
mod list;
mod table;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::copy::Copy;
use crate::histories::{Finding, Histories};
use crate::list::{List, Mutation};
use crate::table::Row;

/// Makes deliberate mistakes in a copy of the library, and looks whether the simulator finds them.
#[derive(Debug, Parser)]
struct Args {
    /// Only the mutations whose name or file contains this.
    #[arg(long)]
    only: Option<String>,
    /// Lists the mutations and does nothing.
    #[arg(long)]
    list: bool,
    /// Tries at most this many seeds, instead of what the list says.
    #[arg(long)]
    seeds: Option<u64>,
    /// A history that takes longer than this, in seconds of real time, does not come to an end.
    #[arg(long, default_value_t = 100)]
    patience: u64,
    /// Writes the table to MUTATIONS.md.
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
    if let Some(only) = &args.only {
        list.mutations.retain(|mutation| {
            mutation.name.contains(only) || mutation.files().iter().any(|file| file.contains(only))
        });
    }
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
    try_all(&args, &root, &list)
}

fn try_all(args: &Args, root: &Path, list: &List) -> Result<ExitCode, Box<dyn Error>> {
    let patience = Duration::from_secs(args.patience);
    let copy = Copy::of(root)?;
    let mut bounds: BTreeMap<_, u64> = BTreeMap::new();
    for mutation in &list.mutations {
        let wanted = mutation.histories(&list.histories);
        let most = bounds.entry(wanted.size()).or_default();
        *most = wanted.seeds.max(*most);
    }
    let sound = copy.build()?;
    let mut unsound = Vec::new();
    for (size, seeds) in bounds {
        let histories = Histories::of(size, seeds);
        println!("the library as it is: {histories}");
        if let Some(finding) = histories.first_broken(&sound, patience)? {
            println!("  {finding}");
            unsound.push(finding);
        }
    }
    if !unsound.is_empty() {
        println!("the library as it is breaks rules: nothing can be said of its mutations");
        return Ok(ExitCode::FAILURE);
    }

    let mut rows = Vec::new();
    for (number, mutation) in list.mutations.iter().enumerate() {
        let finding = try_one(&copy, mutation, list, patience)?;
        let told = finding
            .as_ref()
            .map_or_else(|| "SURVIVES".to_owned(), Finding::to_string);
        println!(
            "{:>2} of {}: {}\n  {told}",
            number + 1,
            list.mutations.len(),
            mutation.name
        );
        if finding.is_some() && mutation.blind_spot.is_some() {
            println!("  no longer a blind spot: remove the mark");
        }
        rows.push(Row { mutation, finding });
    }
    let markdown = table::markdown(list, &rows);
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

fn try_one(
    copy: &Copy,
    mutation: &Mutation,
    list: &List,
    patience: Duration,
) -> Result<Option<Finding>, Box<dyn Error>> {
    let mut originals = Vec::new();
    for edit in &mutation.edits {
        let original = copy.read(&edit.file)?;
        copy.write(&edit.file, &edit.applied_to(&original)?)?;
        originals.push((&edit.file, original));
    }
    let built = copy.build();
    while let Some((file, original)) = originals.pop() {
        copy.write(file, &original)?;
    }
    let program = built.map_err(|error| format!("{:?} cannot be built: {error}", mutation.name))?;
    let finding = mutation
        .histories(&list.histories)
        .first_broken(&program, patience)?;
    Ok(finding)
}
