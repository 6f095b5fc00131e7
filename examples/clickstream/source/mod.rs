//! Where events come from: generated, or the lines of a file.

mod generated;
mod lines;
mod recognise;

use std::collections::BTreeMap;
use std::path::Path;

use tokio::fs::File;
use tokio::io::BufReader;

pub(crate) use self::generated::Generator;
use self::lines::{LineReader, Read};
use self::recognise::{Recogniser, lane};
use crate::AnyError;
use crate::args::Format;
use crate::view::grouped;

/// One click: what it belongs to, and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The partition key: at most 256 characters, never empty.
    pub(crate) key: String,
    pub(crate) payload: Vec<u8>,
}

/// What a file contained besides events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Oddities {
    /// Lines left out, by reason.
    pub(crate) bad: BTreeMap<&'static str, u64>,
    /// Lines that are not what the other lines are; sent as they are.
    pub(crate) unrecognised: u64,
}

/// A stream of events that is never held in memory as a whole.
pub(crate) enum Source {
    Generated(Box<Generator>),
    File(Box<FileSource>),
}

/// The events of a file.
pub(crate) struct FileSource {
    reader: LineReader<BufReader<File>>,
    recogniser: Recogniser,
    oddities: Oddities,
    bytes: u64,
    line: u64,
}

impl Source {
    pub(crate) fn generated(seed: u64, events: u64) -> Self {
        Self::Generated(Box::new(Generator::new(seed, events)))
    }

    /// Opens a file; its first lines say what it holds unless `format` does.
    pub(crate) async fn open(path: &Path, format: Format, key: Option<String>) -> Result<Self, AnyError> {
        let explain = |error| {
            format!(
                "cannot read {}: {error}; give a readable file of lines",
                path.display()
            )
        };
        let file = File::open(path).await.map_err(explain)?;
        let about = file.metadata().await.map_err(explain)?;
        if about.is_dir() {
            return Err(format!("{} is a directory; give a file of lines", path.display()).into());
        }
        let reader = LineReader::new(BufReader::with_capacity(256 << 10, file));
        Ok(Self::File(Box::new(FileSource {
            reader,
            recogniser: Recogniser::new(format, key),
            oddities: Oddities::default(),
            bytes: about.len(),
            line: 0,
        })))
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Event>, AnyError> {
        match self {
            Self::Generated(generator) => Ok(generator.next()),
            Self::File(file) => file.next().await,
        }
    }

    /// The share of the whole that was read so far; `None` if the whole is unknown, as for a pipe.
    pub(crate) fn progress(&self) -> Option<f64> {
        let (done, whole) = match self {
            Self::Generated(generator) => (generator.done(), generator.whole()),
            Self::File(file) => (file.reader.consumed(), file.bytes),
        };
        (whole > 0).then(|| done as f64 / whole as f64)
    }

    /// What it is, in words.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Generated(generator) => format!("{} generated clicks", grouped(generator.whole())),
            Self::File(file) => file.recogniser.name().to_owned(),
        }
    }

    pub(crate) fn oddities(&self) -> Oddities {
        match self {
            Self::Generated(_) => Oddities::default(),
            Self::File(file) => file.oddities.clone(),
        }
    }
}

impl FileSource {
    async fn next(&mut self) -> Result<Option<Event>, AnyError> {
        loop {
            let read = self.reader.next().await;
            let read =
                read.map_err(|error| format!("reading the file failed after line {}: {error}", self.line))?;
            self.line += 1;
            let bad = match read {
                Read::End => return Ok(None),
                Read::TooLong => "longer than 1 MiB",
                Read::Line(line) if line.trim_ascii().is_empty() => "empty",
                Read::Line(line) => match std::str::from_utf8(line) {
                    Err(_) => "not UTF-8",
                    Ok(text) => {
                        let key = self.recogniser.key(text);
                        let is_odd = key.is_none() && self.recogniser.expects_keys();
                        self.oddities.unrecognised += u64::from(is_odd);
                        return Ok(Some(Event {
                            key: key.unwrap_or_else(|| lane(self.line)),
                            payload: line.to_vec(),
                        }));
                    }
                },
            };
            *self.oddities.bad.entry(bad).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(name: &str, content: &[u8], format: Format) -> (Vec<Event>, Oddities) {
        let path = std::env::temp_dir().join(format!("clickstream-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let mut source = Source::open(&path, format, None).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = source.next().await.unwrap() {
            events.push(event);
        }
        assert_eq!(source.progress().unwrap_or(1.0), 1.0, "everything was read");
        std::fs::remove_file(&path).unwrap();
        (events, source.oddities())
    }

    fn keys(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.key.as_str()).collect()
    }

    #[tokio::test]
    async fn bad_lines_are_counted_and_the_rest_is_read() {
        let mut content = b"{\"user\":\"ann\"}\n\n\xff\xfe\n".to_vec();
        content.extend(vec![b'x'; 2 << 20]);
        content.extend(b"\r\nnot json\n{\"user\":7}");
        let (events, oddities) = read_all("bad", &content, Format::Auto).await;
        assert_eq!(keys(&events), ["ann", "lane-005", "7"]);
        assert_eq!(events[1].payload, b"not json");
        assert_eq!(oddities.unrecognised, 1);
        assert_eq!(
            oddities.bad,
            [("empty", 1), ("longer than 1 MiB", 1), ("not UTF-8", 1)].into()
        );
    }

    #[tokio::test]
    async fn an_access_log_is_keyed_by_client() {
        let log = b"203.0.113.9 - - [10/Oct/2025:13:55:36 +0000] \"GET /a HTTP/1.1\" 200 12\n\
                    2001:db8::1 - ann [10/Oct/2025:13:55:37 +0000] \"GET / HTTP/2\" 304 - \"-\" \"agent\"\n";
        let (events, oddities) = read_all("access", log, Format::Auto).await;
        assert_eq!(keys(&events), ["203.0.113.9", "2001:db8::1"]);
        assert_eq!(oddities, Oddities::default());
    }

    #[tokio::test]
    async fn other_lines_go_over_many_keys_and_an_empty_file_is_fine() {
        let (events, oddities) = read_all("lines", b"one\ntwo\n", Format::Auto).await;
        assert_eq!(keys(&events), ["lane-001", "lane-002"]);
        assert_eq!(oddities, Oddities::default());
        assert_eq!(read_all("empty", b"", Format::Auto).await.0, []);
    }

    #[tokio::test]
    async fn a_missing_file_is_named() {
        let error = Source::open(Path::new("/no/such/clicks"), Format::Auto, None)
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("/no/such/clicks"), "{error}");
    }
}
