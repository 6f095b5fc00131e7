//! The package moto of PyPI, fetched once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

const PACKAGE: &str = "moto[server]==5.1.22";

/// Two tests are not to fetch it at once.
static FETCHING: Mutex<()> = Mutex::new(());

/// The Python of an environment that has it, or why there is none.
pub(crate) fn fetched() -> Result<PathBuf, String> {
    let _one = FETCHING.lock().expect("whole");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let python = home.join("bin/python3");
    let stamp = home.join("made-of");
    if std::fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == PACKAGE) {
        return Ok(python);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().last().unwrap_or_default();
        Err(format!("{} {}: {last}", program.display(), arguments.join(" ")))
    };
    run(Path::new("python3"), &["-m", "venv", &home.to_string_lossy()])?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ];
    run(&python, &install)?;
    std::fs::write(&stamp, PACKAGE).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}
