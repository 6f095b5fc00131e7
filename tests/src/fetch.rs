//! What tests fetch through package managers, once.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Says which of these programs is not on this machine. Each comes with the argument that makes it tell its version.
///
/// # Errors
/// One is missing.
pub fn require(tools: &[(&str, &str)]) -> Result<(), String> {
    for (tool, how) in tools {
        let found = Command::new(tool)
            .arg(how)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return Err(format!("there is no `{tool}` on this machine"));
        }
    }
    Ok(())
}

/// Runs a command that fills the folder `home`, unless it has been filled from the same `ingredients` before.
///
/// # Errors
/// The command failed: what it printed.
pub fn fill(home: &Path, ingredients: &str, command: &mut Command) -> Result<(), String> {
    // Written last, so that a folder whose filling was interrupted is not taken for a full one.
    let stamp = home.join("made-of");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == ingredients) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", home.display());
    fs::create_dir_all(home).map_err(failed)?;
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    if !output.status.success() {
        let (said, complained) = (output.stdout, output.stderr);
        return Err(String::from_utf8_lossy(&[said, complained].concat()).into_owned());
    }
    fs::write(&stamp, ingredients).map_err(failed)
}
