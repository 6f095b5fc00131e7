//! Runs scenarios side by side and tells how they ended, in the words of `cargo test`.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// One scenario.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Whether it runs in the ordinary test command.
    pub is_short: bool,
    /// Fetches what it needs beside this crate; why it cannot run.
    pub prepare: fn() -> Result<(), String>,
    /// The scenario.
    pub run: fn() -> LocalBoxFuture<'static, ()>,
}

/// Scenarios and how they are run.
#[derive(Debug)]
pub struct Suite {
    /// All of them.
    pub scenarios: &'static [Scenario],
    /// The environment variable that, set to `all`, asks for the long ones too; where there are none, nothing.
    pub all: Option<&'static str>,
    /// How many run at a time.
    pub at_once: usize,
    /// A scenario that hangs fails after this.
    pub limit: Duration,
}

/// What `cargo test` was asked for.
struct Request {
    words: Vec<String>,
    exact: bool,
    list: bool,
    all: bool,
}

impl Request {
    fn read(suite: &Suite) -> Self {
        let mut request = Self {
            words: Vec::new(),
            exact: false,
            list: false,
            all: suite
                .all
                .and_then(|name| std::env::var(name).ok())
                .is_some_and(|part| part == "all"),
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => request.list = true,
                "--exact" => request.exact = true,
                "--test-threads" | "--color" | "--format" | "--skip" | "-Z" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                word => request.words.push(word.to_owned()),
            }
        }
        request
    }

    fn wants(&self, scenario: &Scenario) -> bool {
        if self.words.is_empty() {
            return scenario.is_short || self.all;
        }
        let fits = |word: &String| {
            if self.exact {
                scenario.name == word
            } else {
                scenario.name.contains(word.as_str())
            }
        };
        self.words.iter().any(fits)
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

impl Suite {
    /// Runs what the command line asks for.
    pub fn run(&self) -> ExitCode {
        let request = Request::read(self);
        let wanted: Vec<_> = self
            .scenarios
            .iter()
            .copied()
            .filter(|scenario| request.wants(scenario))
            .collect();
        if request.list {
            for scenario in wanted {
                say(&format!("{}: test", scenario.name));
            }
            return ExitCode::SUCCESS;
        }
        runtime().block_on(run_all(self, wanted))
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// In a runtime of its own, so that nothing of it outlives it.
fn run_one(scenario: Scenario, limit: Duration) -> Result<(), String> {
    let ended =
        std::thread::spawn(move || runtime().block_on(async { timeout(limit, (scenario.run)()).await }));
    match ended.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("still running after {limit:?}")),
        Err(_) => Err("see the panic above".to_owned()),
    }
}

async fn run_all(suite: &Suite, wanted: Vec<Scenario>) -> ExitCode {
    let (started, limit) = (Instant::now(), suite.limit);
    let left_out = suite.scenarios.len() - wanted.len();
    say(&format!("\nrunning {} tests", wanted.len()));
    let room = Arc::new(Semaphore::new(suite.at_once));
    let mut running = JoinSet::new();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for scenario in wanted {
        let prepared = tokio::task::spawn_blocking(scenario.prepare);
        if let Err(reason) = prepared.await.expect("no panic") {
            say(&format!("test {} ... skipped: {reason}", scenario.name));
            skipped += 1;
            continue;
        }
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _place = room.acquire_owned().await.expect("open");
            let started = Instant::now();
            let ended = tokio::task::spawn_blocking(move || run_one(scenario, limit)).await;
            (scenario.name, ended.expect("no panic"), started.elapsed())
        });
    }
    while let Some(ended) = running.join_next().await {
        let (name, outcome, took) = ended.expect("no panic");
        let seconds = took.as_secs();
        match outcome {
            Ok(()) => {
                passed += 1;
                say(&format!("test {name} ... ok ({seconds} s)"));
            }
            Err(reason) => {
                failed.push(name);
                say(&format!("test {name} ... FAILED ({seconds} s): {reason}"));
            }
        }
    }
    if let Some(name) = suite.all.filter(|_| left_out > 0) {
        say(&format!(
            "{left_out} scenarios were left out; {name}=all runs all"
        ));
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {verdict}. {passed} passed; {} failed; {skipped} ignored; 0 measured; {left_out} filtered out; \
         finished in {:.2}s\n",
        failed.len(),
        started.elapsed().as_secs_f64()
    ));
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
