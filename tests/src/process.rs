//! Processes that a test starts, disturbs and ends.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::world::eventually;

/// Has a program sign its requests to AWS with this access key, in a region where nothing is, whatever the user's own settings are.
/// The endpoints are for the caller to set.
pub fn sign_as<'a>(command: &'a mut Command, access_key: &str) -> &'a mut Command {
    command
        .envs([
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("NO_PROXY", "127.0.0.1"),
        ])
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
}

/// A child process. Dropping it kills it, were it stopped by a signal.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose standard error is written to `log`; the folder is made.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        fs::create_dir_all(log.parent().expect("a folder")).expect("a folder for logs");
        let child = command
            .stderr(File::create(log).expect("a log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// What the test calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the system calls it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its standard error goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its standard output, if that was piped and not taken before.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Sends it a signal. A process that has ended and was not waited for takes it without complaint.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        let id = Pid::from_raw(id).expect("not zero");
        kill_process(id, signal)
            .unwrap_or_else(|error| panic!("{} could not be sent {signal:?}: {error}", self.name));
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.child.kill().expect("ours");
        self.child.wait().expect("it ends");
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ours")
    }

    /// Ends it by a signal which it may answer by tidying up, and waits for that.
    pub fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().expect("it ends");
    }

    /// Waits until it ended by itself.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let (child, name, log) = (&mut self.child, &self.name, &self.log);
        eventually(
            limit,
            || child.try_wait().expect("ours"),
            || format!("{name} still runs, see {}", log.display()),
        )
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
