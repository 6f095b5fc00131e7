//! Dead letters on their way back.

mod destination;
mod letters;
mod to_processor;
mod to_stream;

use std::num::NonZeroU64;

pub use self::destination::{Destination, ToHandler};
pub use self::letters::{Found, Letters};
pub use self::to_processor::ToProcessor;
pub use self::to_stream::ToStream;
use super::sink::DeadLetterError;

/// After so many failures in a row it is the destination that fails, and not the letters.
const FAILURES_IN_A_ROW: u32 = 10;
/// So many problems are told.
const MOST_TOLD: usize = 100;

/// Puts dead letters back, one after the other, and records each as done once it is.
///
/// A letter that was put back and is not recorded yet, when the process ends, is put back once more by the next one: at least once,
/// like everything else. A letter that fails stays, and the next one is tried; after ten failures in a row the rest is left.
///
/// See [`ToStream`], [`ToProcessor`] and [`ToHandler`] for examples.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is put back until run is called"]
pub struct Redrive {
    limit: Option<NonZeroU64>,
}

/// What came of a [`Redrive`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redriven {
    /// Letters that were put back, and recorded as done.
    pub done: u64,
    /// Letters that were not taken, and stay.
    pub failed: u64,
    /// What was found instead of letters, and stays.
    pub unreadable: u64,
    /// Whether it ended early, since ten letters in a row were not taken.
    pub gave_up: bool,
    /// What failed and what was unreadable, and why: the first hundred.
    pub problems: Vec<String>,
}

impl Redrive {
    /// All letters that are not done.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries so many letters at most. Default: all.
    pub fn limit(mut self, letters: NonZeroU64) -> Self {
        self.limit = Some(letters);
        self
    }

    /// Puts the letters back.
    ///
    /// # Errors
    /// The letters cannot be read, or not be recorded as done: in the latter case one was put back that is not recorded. What the
    /// destination does not take is no error here, but counted.
    pub async fn run<L, D>(self, letters: &mut L, destination: &mut D) -> Result<Redriven, DeadLetterError>
    where
        L: Letters + ?Sized,
        D: Destination + ?Sized,
    {
        let mut told = Redriven::default();
        let mut failures_in_a_row = 0;
        letters.claim().await?;
        while self
            .limit
            .is_none_or(|limit| told.done + told.failed < limit.get())
        {
            let letter = match letters.next().await? {
                None => break,
                Some(Found::Letter(letter)) => letter,
                Some(Found::Unreadable { place, reason }) => {
                    told.unreadable += 1;
                    told.tell(format!("{place} is no dead letter: {reason}"));
                    continue;
                }
            };
            if let Err(error) = destination.put(&letter).await {
                told.failed += 1;
                told.tell(format!("{} was not taken: {}", letter.id(), error.chain()));
                failures_in_a_row += 1;
                told.gave_up = failures_in_a_row == FAILURES_IN_A_ROW;
                if told.gave_up {
                    break;
                }
                continue;
            }
            failures_in_a_row = 0;
            letters.done(&letter).await?;
            told.done += 1;
        }
        Ok(told)
    }
}

impl Redriven {
    fn tell(&mut self, problem: String) {
        tracing::warn!("{problem}");
        if self.problems.len() < MOST_TOLD {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests;
