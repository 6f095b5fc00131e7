//! The letters of a file that are not done.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::appending::{append, try_open};
use super::reading::{Chunk, LONGEST_LINE, Line, read_chunk};
use super::{JsonLines, LOOK, patiently};
use crate::dead_letters::letter::DeadLetter;
use crate::dead_letters::redrive::{Found, Letters};
use crate::dead_letters::sink::DeadLetterError;

/// The letters of a file that are not done.
///
/// Which are done is kept in a file beside it, with `.done` behind its name: an id on each line. It is locked by whoever redrives.
/// Letters that come meanwhile may be seen, or the next time.
#[derive(Debug)]
pub struct LettersInFile {
    letters: JsonLines,
    done_path: Arc<PathBuf>,
    file: Option<Arc<File>>,
    /// Where the next line begins.
    position: u64,
    /// Lines before it.
    lines: u64,
    /// What was read and not given out.
    read: VecDeque<(u64, Line)>,
    /// The ids of letters that are done, once they were read.
    done: Option<HashSet<String>>,
    /// Kept while these letters are ours.
    claimed: Option<Arc<File>>,
}

/// A line of the file beside.
#[derive(Debug, Serialize, Deserialize)]
struct Done {
    id: String,
}

impl LettersInFile {
    pub(super) fn new(letters: JsonLines) -> Self {
        let mut done_path = letters.path.as_os_str().to_owned();
        done_path.push(".done");
        Self {
            letters,
            done_path: Arc::new(done_path.into()),
            file: None,
            position: 0,
            lines: 0,
            read: VecDeque::new(),
            done: None,
            claimed: None,
        }
    }

    fn failed_beside(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DeadLetterError {
        DeadLetterError::failed(format!("the file {}", self.done_path.display()), source)
    }

    /// Reads which letters are done, unless that is known.
    async fn learn_what_is_done(&mut self) -> Result<&mut HashSet<String>, DeadLetterError> {
        if self.done.is_none() {
            let path = Arc::clone(&self.done_path);
            let read = tokio::task::spawn_blocking(move || read_done(&path)).await;
            let read = read.map_err(io::Error::from).flatten();
            self.done = Some(read.map_err(|error| self.failed_beside(error))?);
        }
        Ok(self.done.get_or_insert_default())
    }

    /// Reads more lines, if there are more.
    async fn read_on(&mut self) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let path = Arc::clone(&self.letters.path);
                let opened = tokio::task::spawn_blocking(move || File::open(&*path)).await;
                Arc::clone(self.file.insert(Arc::new(opened??)))
            }
        };
        let from = self.position;
        let chunk = loop {
            let file = Arc::clone(&file);
            let chunk = tokio::task::spawn_blocking(move || try_read(&file, from)).await;
            match chunk?? {
                Some(chunk) => break chunk,
                None => sleep(LOOK).await,
            }
        };
        self.read.extend((self.lines + 1..).zip(chunk.lines));
        self.lines += self.read.len() as u64;
        self.position = chunk.end;
        Ok(())
    }
}

#[async_trait]
impl Letters for LettersInFile {
    async fn claim(&mut self) -> Result<(), DeadLetterError> {
        if self.claimed.is_some() {
            return Ok(());
        }
        let path = Arc::clone(&self.done_path);
        let opened = tokio::task::spawn_blocking(move || try_open(&path)).await;
        let opened = opened.map_err(io::Error::from).flatten();
        let claimed = opened.map_err(|error| self.failed_beside(error))?;
        let claimed = claimed.ok_or_else(|| {
            self.failed_beside("another process has locked it, since it puts these letters back; wait for it")
        })?;
        self.claimed = Some(Arc::new(claimed));
        self.done = None;
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Found>, DeadLetterError> {
        self.learn_what_is_done().await?;
        loop {
            let Some((number, line)) = self.read.pop_front() else {
                let letters = self.letters.clone();
                let read = patiently(self.read_on()).await;
                read.map_err(|error| letters.failed(error))?;
                if self.read.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            let found = match line {
                Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole(line) => serde_json::from_slice(&line).map_err(|error| error.to_string()),
                Line::TooLong(bytes) => Err(format!("{bytes} bytes, and {LONGEST_LINE} at most are read")),
            };
            let is_done = |letter: &DeadLetter| self.done.as_ref().is_some_and(|it| it.contains(letter.id()));
            return Ok(Some(match found {
                Ok(letter) if is_done(&letter) => continue,
                Ok(letter) => Found::Letter(letter),
                Err(reason) => Found::Unreadable {
                    place: format!("line {number} of {}", self.letters.path.display()),
                    reason,
                },
            }));
        }
    }

    async fn done(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        self.claim().await?;
        let id = letter.id().to_owned();
        let line = serde_json::to_vec(&Done { id: id.clone() });
        let mut line = line.map_err(|error| self.failed_beside(error))?;
        line.push(b'\n');
        if let Some(file) = self.claimed.clone() {
            let path = Arc::clone(&self.done_path);
            let appended = tokio::task::spawn_blocking(move || append(&file, &path, &line)).await;
            let appended = appended.map_err(io::Error::from).flatten();
            appended.map_err(|error| self.failed_beside(error))?;
        }
        self.learn_what_is_done().await?.insert(id);
        Ok(())
    }
}

/// Reads while nobody writes; none if somebody does.
fn try_read(file: &File, from: u64) -> io::Result<Option<Chunk>> {
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let chunk = read_chunk(file, from);
    file.unlock()?;
    chunk.map(Some)
}

/// The ids in the file beside, if there is one. A line that was cut off by a crash is none: its letter is put back once more.
fn read_done(path: &Path) -> io::Result<HashSet<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let (mut done, mut position) = (HashSet::new(), 0);
    loop {
        let Chunk { lines, end } = read_chunk(&file, position)?;
        if lines.is_empty() {
            return Ok(done);
        }
        position = end;
        for line in lines {
            let Line::Whole(line) = line else { continue };
            match serde_json::from_slice::<Done>(&line) {
                Ok(Done { id }) => _ = done.insert(id),
                Err(error) => {
                    tracing::warn!(file = %path.display(), %error, "a line says of no letter that it is done")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
