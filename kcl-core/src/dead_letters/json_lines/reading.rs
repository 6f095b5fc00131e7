//! Lines of a file, however long they are. Blocking.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};

/// Longer lines are not kept: the letter of the largest record, 10 MiB, has 14 MiB and what errors take.
pub(super) const LONGEST_LINE: usize = 32 << 20;
/// So many bytes are read at once, and the line with which they are full.
const CHUNK: u64 = 4 << 20;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// It ends with a line break, or is the last one.
    Whole(Vec<u8>),
    /// It is longer than any letter; so many bytes.
    TooLong(u64),
}

/// What was read of a file, and from where to read on.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) lines: Vec<Line>,
    /// Where the next line begins.
    pub(super) end: u64,
}

/// Reads some lines from a place where one begins. There are none at the end.
pub(super) fn read_chunk(mut file: &File, from: u64) -> io::Result<Chunk> {
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let (mut lines, mut end) = (Vec::new(), from);
    while end - from < CHUNK {
        let (line, length) = read_line(&mut reader)?;
        if length == 0 {
            break;
        }
        lines.push(line);
        end += length;
    }
    Ok(Chunk { lines, end })
}

/// A line without its break, and how many bytes it has with it; 0 at the end.
fn read_line(reader: &mut BufReader<&File>) -> io::Result<(Line, u64)> {
    let (mut line, mut length) = (Some(Vec::new()), 0);
    loop {
        let read = reader.fill_buf()?;
        let ending = read.iter().position(|byte| *byte == b'\n');
        let taken = ending.map_or(read.len(), |at| at + 1);
        let content = &read[..ending.unwrap_or(taken)];
        line = line.filter(|kept| kept.len() + content.len() <= LONGEST_LINE);
        if let Some(kept) = &mut line {
            kept.extend_from_slice(content);
        }
        length += taken as u64;
        reader.consume(taken);
        if ending.is_some() || taken == 0 {
            return Ok((line.map_or(Line::TooLong(length), Line::Whole), length));
        }
    }
}
