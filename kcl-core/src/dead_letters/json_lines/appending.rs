//! Lines at the end of a file that others may be using, on the disk before they count. Blocking.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Appends whole lines; `false` if another one is using the file.
///
/// When this fails the file is as it was, as far as that can be done.
pub(super) fn try_append(path: &Path, lines: &[u8]) -> io::Result<bool> {
    let Some(file) = try_open(path)? else {
        return Ok(false);
    };
    append(&file, path, lines)?;
    Ok(true)
}

/// Opens a file to append to it, and keeps others from it until it is closed; none if another one is using it.
pub(super) fn try_open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Appends whole lines to a file that was opened so.
pub(super) fn append(file: &File, path: &Path, lines: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = write(file, before, lines).and_then(|()| match before {
        0 => sync_folder(path),
        _ => Ok(()),
    });
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}

fn write(mut file: &File, before: u64, lines: &[u8]) -> io::Result<()> {
    if before > 0 && !ends_with_a_line(file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines)?;
    file.sync_all()
}

/// Whether nothing is left of a line that was cut off.
fn ends_with_a_line(mut file: &File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// A file that is new is there after a crash of the machine only if its folder says so.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
