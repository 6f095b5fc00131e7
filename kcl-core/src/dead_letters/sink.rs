//! Where dead letters go: the trait, and why one may not arrive.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::letter::DeadLetter;

/// Keeps dead letters.
///
/// A worker writes a record's letter before any checkpoint passes the record. While that fails the record is repeated, so
/// nothing is lost, and its shard waits.
///
/// ```
/// use kcl_core::async_trait;
/// use kcl_core::dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
///
/// #[derive(Debug)]
/// struct Mail;
///
/// # async fn send(_: Vec<u8>) -> Result<(), std::io::Error> { Ok(()) }
/// #[async_trait]
/// impl DeadLetters for Mail {
///     async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
///         let failed = |error| DeadLetterError::failed("the mail server", error);
///         for letter in letters {
///             let text = letter.to_json().map_err(|error| failed(error.into()))?;
///             send(text).await.map_err(|error| failed(error))?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait DeadLetters: fmt::Debug + Send + Sync + 'static {
    /// Writes letters. `Ok` says that all of them are durable; anything else, that some may be. They are written again then, and a
    /// letter that is there twice is known by its [`id`](DeadLetter::id).
    ///
    /// The call should end within some ten seconds, whatever happens: the shard waits for it, and the worker's stop too.
    ///
    /// # Errors
    /// See [`DeadLetterError`].
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError>;
}

#[async_trait]
impl<D: DeadLetters + ?Sized> DeadLetters for Arc<D> {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        (**self).write(letters).await
    }
}

/// Why dead letters were not written, or not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The sink never takes this letter: write dead letters to one that takes what the records of the stream may have.
    #[error(
        "the dead letter {id} has {bytes} bytes, and {place} takes {limit}; choose a place that takes more, or raise its limit"
    )]
    TooLarge {
        /// The letter's.
        id: String,
        /// What it has, as the place counts.
        bytes: usize,
        /// What the place takes.
        limit: usize,
        /// Where it was to go.
        place: String,
    },
    /// It failed, and may succeed later.
    #[error("{place} failed: {source}")]
    Failed {
        /// What was written to or read.
        place: String,
        /// What it said.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl DeadLetterError {
    /// `place` failed; the source is any error, or a message.
    ///
    /// ```
    /// let error = kcl_core::dead_letters::DeadLetterError::failed("the mail server", "mailbox full");
    /// assert_eq!(error.to_string(), "the mail server failed: mailbox full");
    /// ```
    pub fn failed(place: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Failed {
            place: place.into(),
            source: source.into(),
        }
    }
}
