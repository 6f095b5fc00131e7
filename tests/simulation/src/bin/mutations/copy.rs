//! The copy of the workspace that mutations are made in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// What is compiled again for every mutation. The time of a history goes into other packages.
const HASTY: [&str; 3] = ["kcl-lease", "kcl-core", env!("CARGO_PKG_NAME")];

/// A copy with build products of its own; the user's checkout is never touched.
#[derive(Debug)]
pub(crate) struct Copy {
    workspace: PathBuf,
    target: PathBuf,
}

impl Copy {
    /// Brings the copy of this number up to date. Files that are the same keep their times, so that little has to be
    /// built again.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn of(root: &Path, number: usize) -> io::Result<Self> {
        let home = root.join("target").join("mutations");
        let name = |name: &str| match number {
            1 => name.to_owned(),
            _ => format!("{name}-{number}"),
        };
        let copy = Self {
            workspace: home.join(name("workspace")),
            target: home.join(name("target")),
        };
        follow(root, &copy.workspace)?;
        Ok(copy)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.workspace.join(file))
    }

    /// Changes a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.workspace.join(file), text)
    }

    /// Builds this program in the copy; where it is.
    ///
    /// # Errors
    /// What the compiler says.
    pub(crate) fn build(&self) -> Result<PathBuf, String> {
        let name = env!("CARGO_BIN_NAME");
        let built = Command::new("cargo")
            .args(["build", "--release", "--locked", "--quiet"])
            .args(["--package", env!("CARGO_PKG_NAME"), "--bin", name])
            .args(HASTY.map(|package| format!("--config=profile.release.package.{package}.opt-level=1")))
            .current_dir(&self.workspace)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_INCREMENTAL", "1")
            .output()
            .map_err(|error| format!("cargo cannot be started: {error}"))?;
        if !built.status.success() {
            return Err(String::from_utf8_lossy(&built.stderr).into_owned());
        }
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        Ok(self.target.join("release").join(file))
    }
}

/// Makes `to` the same as `from`, except for build products and hidden files.
fn follow(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let wanted = names(from)?;
    for stale in names(to)?.difference(&wanted) {
        let stale = to.join(stale);
        if stale.is_dir() {
            fs::remove_dir_all(stale)?;
        } else {
            fs::remove_file(stale)?;
        }
    }
    for name in wanted {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            follow(&from, &to)?;
        } else {
            let content = fs::read(&from)?;
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::write(&to, content)?;
            }
        }
    }
    Ok(())
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != "target" && !name.to_string_lossy().starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}
