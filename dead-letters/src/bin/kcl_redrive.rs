//! Puts the dead letters of a file back into a stream: `kcl-redrive dead-letters.jsonl orders`.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, Write as _};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_sdk_kinesis::Client;
use clap::Parser;
use kcl_core::dead_letters::{
    DeadLetter, Destination, Found, JsonLines, Letters as _, LettersInFile, Redrive, ToStream,
};
use kcl_core::{ProcessorError, Stream, async_trait};

/// Puts the dead letters of a file back into a stream, where all its applications get them. Which are back is written to FILE.done;
/// these are not put back again.
#[derive(Debug, Parser)]
#[command(name = "kcl-redrive", version)]
struct Arguments {
    /// The file, with a dead letter on each line
    file: PathBuf,

    /// Name or ARN of the stream
    #[arg(value_parser = Stream::parse)]
    stream: Stream,

    /// Only say what would be put back
    #[arg(long)]
    dry_run: bool,

    /// Put back so many at most
    #[arg(long, value_name = "LETTERS")]
    limit: Option<NonZeroU64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(redrive(arguments)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it should.
async fn redrive(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    let mut letters = JsonLines::new(arguments.file).letters();
    if arguments.dry_run {
        look(&mut letters, arguments.limit).await?;
        return Ok(true);
    }
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let mut stream = Told(ToStream::new(Client::new(&aws), arguments.stream));
    let all = Redrive::new();
    let redrive = match arguments.limit {
        Some(limit) => all.limit(limit),
        None => all,
    };
    let told = redrive.run(&mut letters, &mut stream).await?;
    for problem in &told.problems {
        writeln!(io::stderr(), "{problem}")?;
    }
    if told.gave_up {
        writeln!(io::stderr(), "too many in a row were not taken: the rest is left")?;
    }
    let (done, failed, unreadable) = (told.done, told.failed, told.unreadable);
    writeln!(
        io::stdout(),
        "{done} put back, {failed} not taken, {unreadable} unreadable"
    )?;
    Ok(failed == 0)
}

/// Says what would be put back.
async fn look(letters: &mut LettersInFile, limit: Option<NonZeroU64>) -> Result<(), Box<dyn Error>> {
    let (mut seen, mut unreadable) = (BTreeSet::new(), 0);
    while limit.is_none_or(|limit| (seen.len() as u64) < limit.get()) {
        match letters.next().await? {
            None => break,
            Some(Found::Letter(letter)) => {
                if seen.insert(letter.id().to_owned()) {
                    writeln!(io::stdout(), "would put back {}", described(&letter))?;
                }
            }
            Some(Found::Unreadable { place, reason }) => {
                unreadable += 1;
                writeln!(io::stderr(), "{place} is no dead letter: {reason}")?;
            }
        }
    }
    writeln!(
        io::stdout(),
        "{} would be put back, {unreadable} unreadable",
        seen.len()
    )?;
    Ok(())
}

/// Says of each letter that it is back.
struct Told(ToStream);

#[async_trait]
impl Destination for Told {
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        self.0.put(letter).await?;
        writeln!(io::stdout(), "put back {}", described(letter))?;
        Ok(())
    }
}

fn described(letter: &DeadLetter) -> String {
    let (id, application) = (letter.id(), &letter.application);
    let (bytes, attempts) = (letter.data.len(), letter.attempts);
    let error = letter.error.first().map_or("", String::as_str);
    format!("{id} ({bytes} bytes, given up by {application} after {attempts} attempts: {error:?})")
}
