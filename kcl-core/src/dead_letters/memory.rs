//! Dead letters in memory, for tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::letter::DeadLetter;
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
    letters: Arc<Mutex<Vec<DeadLetter>>>,
    refuses: Arc<AtomicBool>,
}

impl MemoryDeadLetters {
    /// All letters that were written, in order.
    pub fn letters(&self) -> Vec<DeadLetter> {
        self.lock().clone()
    }

    /// From now on, writes fail; or do not any more.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<DeadLetter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.lock().extend(letters.iter().map(DeadLetter::detach));
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
