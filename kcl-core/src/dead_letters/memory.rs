//! Dead letters in memory, for tests.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::letter::DeadLetter;
use super::redrive::{Found, Letters};
use super::sink::{DeadLetterError, DeadLetters};

/// Keeps dead letters in memory: for tests, since nothing is durable. Clones share the letters.
///
/// ```
/// use kcl_core::dead_letters::{DeadLetters, MemoryDeadLetters};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sink = MemoryDeadLetters::default();
/// sink.refuse(true); // as a sink that is away
/// assert!(sink.write(&[]).await.is_err());
/// assert!(sink.letters().is_empty());
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDeadLetters {
    kept: Arc<Mutex<Kept>>,
    refuses: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Kept {
    letters: Vec<DeadLetter>,
    done: BTreeSet<String>,
}

impl MemoryDeadLetters {
    /// All letters that were written, in order.
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.lock().letters.clone()
    }

    /// From now on, writes fail; or do not any more.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// The letters that are not done, to be put back.
    #[must_use]
    pub fn not_done(&self) -> LettersInMemory {
        LettersInMemory {
            letters: self.clone(),
            seen: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl DeadLetters for MemoryDeadLetters {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(DeadLetterError::failed(
                "the memory",
                "it refuses, as it was told",
            ));
        }
        self.lock().letters.extend(letters.iter().map(DeadLetter::detach));
        Ok(())
    }
}

/// The letters in memory that are not done.
#[derive(Debug)]
pub struct LettersInMemory {
    letters: MemoryDeadLetters,
    seen: usize,
}

#[async_trait]
impl Letters for LettersInMemory {
    async fn next(&mut self) -> Result<Option<Found>, DeadLetterError> {
        let kept = self.letters.lock();
        while let Some(letter) = kept.letters.get(self.seen) {
            self.seen += 1;
            if !kept.done.contains(letter.id()) {
                return Ok(Some(Found::Letter(letter.clone())));
            }
        }
        Ok(None)
    }

    async fn done(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        self.letters.lock().done.insert(letter.id().to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_there_and_what_is_refused_is_not() {
        let sink = MemoryDeadLetters::default();
        let shared: Arc<dyn DeadLetters> = Arc::new(sink.clone());
        shared.write(&[letter(1), letter(2)]).await.expect("written");
        sink.refuse(true);
        assert!(shared.write(&[letter(3)]).await.is_err());
        sink.refuse(false);
        shared.write(&[letter(4)]).await.expect("written");
        assert_eq!(sink.letters(), [letter(1), letter(2), letter(4)]);
    }
}
