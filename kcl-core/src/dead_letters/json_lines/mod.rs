//! Dead letters in a file of JSON lines.

mod appending;
mod letters;
mod reading;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use self::appending::try_append;
pub use self::letters::LettersInFile;
use super::letter::DeadLetter;
use super::sink::{DeadLetterError, DeadLetters};

/// For so long a write waits for the file and the disk. The shard waits as well.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a file is looked at that another one is using.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps dead letters in a file, one JSON object on each line: for programs whose disk outlives them.
///
/// The file is made when the first letter is written; its folder must be there. Each write locks the file, so that the workers of
/// one machine may share it, and is on the disk before it counts. What a crash left of a line stays a line of its own: readers
/// skip it, and the record, which no checkpoint passed, is processed again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kcl_core::dead_letters::DeadLetterError> {
/// use kcl_core::dead_letters::{DeadLetters, JsonLines};
///
/// let sink = JsonLines::new("dead-letters.jsonl");
/// sink.write(&[]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct JsonLines {
    path: Arc<PathBuf>,
}

impl JsonLines {
    /// In this file. It is not looked at before the first write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: Arc::new(path.into()),
        }
    }

    /// Its letters that are not done, to be put back.
    #[must_use]
    pub fn letters(&self) -> LettersInFile {
        LettersInFile::new(self.clone())
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DeadLetterError {
        DeadLetterError::failed(format!("the file {}", self.path.display()), source)
    }
}

#[async_trait]
impl DeadLetters for JsonLines {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let mut lines = Vec::new();
        for letter in letters {
            lines.extend(letter.to_json().map_err(|error| self.failed(error))?);
            lines.push(b'\n');
        }
        let appended = patiently(append(Arc::clone(&self.path), lines)).await;
        appended.map_err(|error| self.failed(error))
    }
}

/// Waits until a file was used, but not for ever.
async fn patiently(using: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::time::timeout(PATIENCE, using).await.unwrap_or_else(|_| {
        let text =
            format!("it was not free for {PATIENCE:?}; another process has locked it, or the disk hangs");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Appends whole lines once the file is free.
async fn append(path: Arc<PathBuf>, lines: Vec<u8>) -> io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let lines = Arc::new(lines);
    loop {
        let (path, lines) = (Arc::clone(&path), Arc::clone(&lines));
        let appended = tokio::task::spawn_blocking(move || try_append(&path, &lines));
        if appended.await?? {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::super::letter::tests::letter;
    use super::*;

    /// A folder that goes away.
    #[derive(Debug)]
    pub(super) struct Folder(PathBuf);

    impl Folder {
        pub(super) fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("kcl-dead-letters-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).expect("made");
            Self(folder)
        }

        pub(super) fn file(&self) -> PathBuf {
            self.0.join("letters.jsonl")
        }

        fn lines(&self) -> Vec<String> {
            let text = fs::read_to_string(self.file()).expect("readable");
            assert!(text.ends_with('\n'), "{text:?}");
            text.lines().map(str::to_owned).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn json(number: u64) -> String {
        String::from_utf8(letter(number).to_json().expect("written")).expect("text")
    }

    #[tokio::test]
    async fn each_letter_is_a_line_behind_those_that_are_there() {
        let folder = Folder::new("lines");
        let sink = JsonLines::new(folder.file());
        sink.write(&[letter(1), letter(2)]).await.expect("written");
        sink.write(&[]).await.expect("nothing to do");
        sink.write(&[letter(3)]).await.expect("written");
        assert_eq!(folder.lines(), [json(1), json(2), json(3)]);
    }

    #[tokio::test]
    async fn what_a_crash_left_of_a_line_does_not_spoil_the_next_one() {
        let folder = Folder::new("torn");
        let torn = &json(1)[..40];
        fs::write(folder.file(), torn).expect("written");
        JsonLines::new(folder.file())
            .write(&[letter(1)])
            .await
            .expect("written");
        assert_eq!(folder.lines(), [torn.to_owned(), json(1)]);
    }

    #[tokio::test]
    async fn writers_that_share_a_file_take_turns() {
        let folder = Folder::new("shared");
        let writes = (1..=40).map(|number| {
            let sink = JsonLines::new(folder.file());
            tokio::spawn(async move { sink.write(&[letter(number)]).await })
        });
        for write in writes.collect::<Vec<_>>() {
            write.await.expect("no panic").expect("written");
        }
        let (mut lines, mut expected) = (folder.lines(), (1..=40).map(json).collect::<Vec<_>>());
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_in_use_is_waited_for_and_not_for_ever() {
        let folder = Folder::new("locked");
        let sink = JsonLines::new(folder.file());
        sink.write(&[letter(1)]).await.expect("written");
        let other = File::open(folder.file()).expect("there");
        other.lock().expect("locked");
        let error = sink.write(&[letter(2)]).await.expect_err("locked").to_string();
        assert!(
            error.contains("letters.jsonl") && error.contains("another process"),
            "{error}"
        );
        let write = tokio::spawn(async move { sink.write(&[letter(3)]).await });
        sleep(Duration::from_secs(1)).await;
        assert!(!write.is_finished());
        other.unlock().expect("unlocked");
        write.await.expect("no panic").expect("written");
        assert_eq!(folder.lines(), [json(1), json(3)]);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_an_error_that_names_the_file() {
        let folder = Folder::new("missing");
        let sink = JsonLines::new(folder.0.join("nowhere").join("letters.jsonl"));
        let error = sink.write(&[letter(1)]).await.expect_err("no folder").to_string();
        assert!(error.contains("nowhere"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_disk_that_is_full_is_an_error() {
        let error = JsonLines::new("/dev/full").write(&[letter(1)]).await;
        assert!(error.is_err());
    }
}
