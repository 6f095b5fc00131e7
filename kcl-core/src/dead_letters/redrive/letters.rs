//! Where letters come from that are to be put back.

use async_trait::async_trait;

use super::super::letter::DeadLetter;
use super::super::sink::DeadLetterError;

/// Dead letters that are not done, one after the other, and where it is recorded that they are.
///
/// [`JsonLines::letters`](crate::dead_letters::JsonLines::letters) and
/// [`MemoryDeadLetters::not_done`](crate::dead_letters::MemoryDeadLetters::not_done) give them.
#[async_trait]
pub trait Letters: Send {
    /// Called once before the first letter is put anywhere, to keep others from redriving the same letters. By default it does
    /// nothing: two that redrive at once put letters back twice.
    ///
    /// # Errors
    /// Somebody else has them, or [what is read failed](DeadLetterError::Failed).
    async fn claim(&mut self) -> Result<(), DeadLetterError> {
        Ok(())
    }

    /// The next one that is not done; none if all were seen. One that was seen and is not done does not come again.
    ///
    /// # Errors
    /// [What is read failed](DeadLetterError::Failed). What is read but is no letter is no error: the next one may be.
    async fn next(&mut self) -> Result<Option<Found>, DeadLetterError>;

    /// Records that a letter was put back. `Ok` says that this is durable.
    ///
    /// # Errors
    /// It may not be recorded: the letter may be put back once more.
    async fn done(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError>;
}

/// What stands where a letter is expected.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is looked at and dropped, one after the other"
)]
pub enum Found {
    /// A letter.
    Letter(DeadLetter),
    /// Something else. It stays where it is.
    Unreadable {
        /// Where it stands.
        place: String,
        /// Why it is no letter.
        reason: String,
    },
}
