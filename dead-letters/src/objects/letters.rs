//! The objects on their way back.

use std::fmt;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use kcl_core::dead_letters::{DeadLetter, DeadLetterError, Found, Letters};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStoreExt as _};

use super::ObjectDeadLetters;

/// Larger objects are not read: the letter of the largest record, 10 MiB, has 14 MiB and what errors take.
const LARGEST: u64 = 32 << 20;

/// Dead letters that are objects. One that is done is deleted, or moved.
///
/// Nothing keeps two that redrive the same objects at once from putting letters back twice.
pub struct LettersInObjects {
    letters: ObjectDeadLetters,
    moved_to: Option<Path>,
    listed: Option<BoxStream<'static, object_store::Result<ObjectMeta>>>,
    /// The last letter that was given out, and its object.
    last: Option<(String, Path)>,
}

impl LettersInObjects {
    pub(super) fn new(letters: ObjectDeadLetters, moved_to: Option<Path>) -> Self {
        Self {
            letters,
            moved_to,
            listed: None,
            last: None,
        }
    }

    /// The next object that may be a letter.
    async fn next_listed(&mut self) -> Result<Option<ObjectMeta>, DeadLetterError> {
        loop {
            let list = || self.letters.store.list(Some(&self.letters.prefix));
            let next = self.listed.get_or_insert_with(list).next();
            let next = self.letters.ended(async { next.await.transpose() }).await?;
            match (next, &self.moved_to) {
                (Some(object), Some(done)) if object.location.prefix_matches(done) => {}
                (next, _) => return Ok(next),
            }
        }
    }
}

impl ObjectDeadLetters {
    /// A letter, or why the object is none; nothing if the object is gone.
    async fn read(&self, object: &ObjectMeta) -> Result<Option<Result<DeadLetter, String>>, DeadLetterError> {
        if object.size > LARGEST {
            let reason = format!("{} bytes, and {LARGEST} at most are read", object.size);
            return Ok(Some(Err(reason)));
        }
        let read = async { self.store.get(&object.location).await?.bytes().await };
        let read = async {
            match read.await {
                // Whoever lists them beside us was faster.
                Err(Error::NotFound { .. }) => Ok(None),
                read => read.map(Some),
            }
        };
        let bytes = self.ended(read).await?;
        Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())))
    }
}

#[async_trait]
impl Letters for LettersInObjects {
    async fn next(&mut self) -> Result<Option<Found>, DeadLetterError> {
        while let Some(object) = self.next_listed().await? {
            match self.letters.read(&object).await? {
                None => {}
                Some(Ok(letter)) => {
                    self.last = Some((letter.id().to_owned(), object.location));
                    return Ok(Some(Found::Letter(letter)));
                }
                Some(Err(reason)) => {
                    let place = format!("the object {}", object.location);
                    return Ok(Some(Found::Unreadable { place, reason }));
                }
            }
        }
        Ok(None)
    }

    async fn done(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let last = self.last.as_ref().filter(|(id, _)| id == letter.id());
        let object = last.map_or_else(|| self.letters.key(letter), |(_, object)| object.clone());
        let store = &self.letters.store;
        let Some(done) = &self.moved_to else {
            return self.letters.ended(store.delete(&object)).await;
        };
        let parts = object.prefix_match(&self.letters.prefix).into_iter().flatten();
        let kept = parts.fold(done.clone(), |path, part| path.join(part));
        self.letters.ended(store.rename(&object, &kept)).await
    }
}

impl fmt::Debug for LettersInObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LettersInObjects")
            .field("letters", &self.letters)
            .field("moved_to", &self.moved_to)
            .finish_non_exhaustive()
    }
}
