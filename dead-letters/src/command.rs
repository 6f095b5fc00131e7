//! What the program `kcl-redrive` does, for other programs that do it too.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::path::PathBuf;

use aws_sdk_kinesis::Client;
use clap::Args;
use kcl_core::dead_letters::{
    DeadLetter, DeadLetterError, Destination, Found, JsonLines, Letters as _, LettersInFile, Redrive,
    ToStream,
};
use kcl_core::{ProcessorError, Stream, async_trait};

/// Which letters are to be put back, and where.
#[derive(Debug, Clone, Args)]
pub struct RedriveArguments {
    /// The file, with a dead letter on each line
    pub file: PathBuf,

    /// Name or ARN of the stream
    #[arg(value_parser = Stream::parse)]
    pub stream: Stream,

    /// Only say what would be put back
    #[arg(long)]
    pub dry_run: bool,

    /// Put back so many at most
    #[arg(long, value_name = "LETTERS")]
    pub limit: Option<NonZeroU64>,
}

/// What happens, as it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum Told<'a> {
    /// A letter that would be put back.
    WouldPutBack(&'a DeadLetter),
    /// A letter that is in the stream again.
    PutBack(&'a DeadLetter),
    /// Something went wrong; the sentence says what.
    Problem(String),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Letters that are back, or that would be put back.
    pub done: u64,
    /// Letters that were not taken.
    pub failed: u64,
    /// Places of the file that hold no letter.
    pub unreadable: u64,
}

/// Puts the letters back, or says which would be put back. `client` is made only if something is to be put back. Which letters are back is
/// written to `FILE.done`.
///
/// # Errors
/// The file cannot be read, or its list of letters that are back cannot be written.
pub async fn redrive(
    arguments: RedriveArguments,
    client: impl AsyncFnOnce() -> Client,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<Summary, DeadLetterError> {
    let mut letters = JsonLines::new(arguments.file).letters();
    if arguments.dry_run {
        return look(&mut letters, arguments.limit, tell).await;
    }
    let to = ToStream::new(client().await, arguments.stream);
    let all = Redrive::new();
    let redrive = match arguments.limit {
        Some(limit) => all.limit(limit),
        None => all,
    };
    let told = redrive.run(&mut letters, &mut Telling { to, tell }).await?;
    for problem in told.problems {
        tell(Told::Problem(problem.to_string()));
    }
    if told.gave_up {
        tell(Told::Problem(
            "too many in a row were not taken: the rest is left".to_owned(),
        ));
    }
    Ok(Summary {
        done: told.done,
        failed: told.failed,
        unreadable: told.unreadable,
    })
}

/// Says what would be put back.
async fn look(
    letters: &mut LettersInFile,
    limit: Option<NonZeroU64>,
    tell: &mut (dyn FnMut(Told<'_>) + Send),
) -> Result<Summary, DeadLetterError> {
    let (mut seen, mut unreadable) = (BTreeSet::new(), 0);
    while limit.is_none_or(|limit| (seen.len() as u64) < limit.get()) {
        match letters.next().await? {
            None => break,
            Some(Found::Letter(letter)) => {
                if seen.insert(letter.id().to_owned()) {
                    tell(Told::WouldPutBack(&letter));
                }
            }
            Some(Found::Unreadable { place, reason }) => {
                unreadable += 1;
                tell(Told::Problem(format!("{place} is no dead letter: {reason}")));
            }
        }
    }
    Ok(Summary {
        done: seen.len() as u64,
        failed: 0,
        unreadable,
    })
}

/// Says of each letter that it is back.
struct Telling<'a> {
    to: ToStream,
    tell: &'a mut (dyn FnMut(Told<'_>) + Send),
}

#[async_trait]
impl Destination for Telling<'_> {
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        self.to.put(letter).await?;
        (self.tell)(Told::PutBack(letter));
        Ok(())
    }
}

/// A letter in a line.
pub fn described(letter: &DeadLetter) -> String {
    let (id, application) = (letter.id(), &letter.application);
    let (bytes, attempts) = (letter.data.len(), letter.attempts);
    let error = letter.error.first().map_or("", String::as_str);
    format!("{id} ({bytes} bytes, given up by {application} after {attempts} attempts: {error:?})")
}
