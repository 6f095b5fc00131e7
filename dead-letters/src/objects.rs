//! Dead letters as objects.

mod letters;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use kcl_core::dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::time::timeout;

pub use self::letters::LettersInObjects;

/// For so long a call is waited for. What is behind `ObjectStore` may repeat requests for longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many objects are written at once.
const AT_ONCE: usize = 16;

/// Keeps dead letters as objects, one for each, in whatever the crate `object_store` speaks to: S3 (feature `aws`), a folder,
/// memory.
///
/// The key is *prefix/application/stream/shard/sequence.sub-sequence.json*, so a letter that is written twice is there once. An
/// object counts when the store says that it is there; of a folder on this machine that does not say that it survives a loss of
/// power.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kcl_core::dead_letters::DeadLetterError> {
/// use std::sync::Arc;
/// use kcl_core::dead_letters::DeadLetters;
/// use kcl_dead_letters::ObjectDeadLetters;
///
/// let store = Arc::new(object_store::memory::InMemory::new());
/// let sink = ObjectDeadLetters::new(store, "dead-letters");
/// sink.write(&[]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ObjectDeadLetters {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl ObjectDeadLetters {
    /// Under a prefix, which may be empty.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            store,
            prefix: Path::from(prefix),
        }
    }

    /// The letters that are there, to be put back. One that is done is deleted.
    #[must_use]
    pub fn letters(&self) -> LettersInObjects {
        LettersInObjects::new(self.clone(), None)
    }

    /// The same, but one that is done is moved under another prefix, and kept there under its key.
    #[must_use]
    pub fn letters_moved_to(&self, prefix: &str) -> LettersInObjects {
        LettersInObjects::new(self.clone(), Some(Path::from(prefix)))
    }

    fn key(&self, letter: &DeadLetter) -> Path {
        let stream = letter.stream.rsplit('/').next().unwrap_or_default();
        let name = format!("{}.{}.json", letter.sequence_number, letter.sub_sequence_number);
        let parts = [&letter.application, stream, &letter.shard_id, &name];
        parts
            .into_iter()
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DeadLetterError {
        DeadLetterError::failed(format!("{}/{}", self.store, self.prefix), source)
    }

    async fn ended<T>(
        &self,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, DeadLetterError> {
        match timeout(PATIENCE, call).await {
            Ok(result) => result.map_err(|error| self.failed(error)),
            Err(_) => Err(self.failed(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn write_one(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let json = letter.to_json().map_err(|error| self.failed(error))?;
        let key = self.key(letter);
        self.ended(self.store.put(&key, json.into())).await?;
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for ObjectDeadLetters {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        for some in letters.chunks(AT_ONCE) {
            try_join_all(some.iter().map(|letter| self.write_one(letter))).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
