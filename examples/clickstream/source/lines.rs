//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// The most bytes of a line: what a Kinesis record of 1 MiB holds beside its key and the counter.
pub(super) const MAX_LINE: usize = (1 << 20) - (2 << 10);

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A line without its line break.
    Line(&'a [u8]),
    /// A line that exceeds the limit; it was skipped.
    TooLong,
    End,
}

/// Reads line by line and never holds more than one line.
pub(super) struct LineReader<R> {
    inner: R,
    line: Vec<u8>,
    consumed: u64,
}

impl<R: AsyncBufRead + Unpin> LineReader<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            line: Vec::new(),
            consumed: 0,
        }
    }

    /// Bytes read so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) async fn next(&mut self) -> io::Result<Read<'_>> {
        self.line.clear();
        let mut length = 0;
        loop {
            let bytes = self.inner.fill_buf().await?;
            if bytes.is_empty() {
                break;
            }
            let line_break = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..line_break.unwrap_or(bytes.len())];
            length += part.len();
            if length <= MAX_LINE {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(line_break.is_some());
            self.inner.consume(used);
            self.consumed += used as u64;
            if line_break.is_some() {
                return Ok(self.line_of(length));
            }
        }
        Ok(if length == 0 {
            Read::End
        } else {
            self.line_of(length)
        })
    }

    fn line_of(&self, length: usize) -> Read<'_> {
        if length > MAX_LINE {
            return Read::TooLong;
        }
        Read::Line(self.line.strip_suffix(b"\r").unwrap_or(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn lines_end_with_a_line_break_or_with_the_file() {
        let mut reader = LineReader::new(BufReader::with_capacity(3, &b"one\r\n\nthree"[..]));
        assert_eq!(reader.next().await.unwrap(), Read::Line(b"one"));
        assert_eq!(reader.next().await.unwrap(), Read::Line(b""));
        assert_eq!(reader.next().await.unwrap(), Read::Line(b"three"));
        assert_eq!(reader.next().await.unwrap(), Read::End);
        assert_eq!(reader.consumed(), 11);
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_skipped_without_being_kept() {
        let mut content = vec![b'x'; 3 * MAX_LINE];
        content.extend(b"\nnext\n");
        content.extend(vec![b'y'; MAX_LINE]);
        let mut reader = LineReader::new(BufReader::new(&content[..]));
        assert_eq!(reader.next().await.unwrap(), Read::TooLong);
        assert!(
            reader.line.capacity() <= 2 * MAX_LINE,
            "{}",
            reader.line.capacity()
        );
        assert_eq!(reader.next().await.unwrap(), Read::Line(b"next"));
        assert_eq!(reader.next().await.unwrap(), Read::Line(&vec![b'y'; MAX_LINE]));
        assert_eq!(reader.next().await.unwrap(), Read::End);
    }
}
