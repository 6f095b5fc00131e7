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

use crate::java;

/// A scenario that hangs fails after this.
const LIMIT: Duration = Duration::from_secs(420);

/// One scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Whether it runs in the ordinary test command.
    pub(crate) is_short: bool,
    /// Versions of the Java KCL that it starts.
    pub(crate) versions: &'static [&'static str],
    pub(crate) run: fn() -> LocalBoxFuture<'static, ()>,
}

/// What `cargo test` was asked for.
struct Request {
    words: Vec<String>,
    exact: bool,
    list: bool,
    all: bool,
}

impl Request {
    fn read() -> Self {
        let mut request = Self {
            words: Vec::new(),
            exact: false,
            list: false,
            all: std::env::var("KCL_MIXED_FLEET").is_ok_and(|part| part == "all"),
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

/// Runs what was asked for.
pub(crate) fn run(scenarios: &[Scenario]) -> ExitCode {
    let request = Request::read();
    let wanted: Vec<_> = scenarios
        .iter()
        .copied()
        .filter(|scenario| request.wants(scenario))
        .collect();
    let left_out = scenarios.len() - wanted.len();
    if request.list {
        for scenario in wanted {
            say(&format!("{}: test", scenario.name));
        }
        return ExitCode::SUCCESS;
    }
    runtime().block_on(run_all(wanted, left_out))
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// In a runtime of its own, so that nothing of it outlives it.
fn run_one(scenario: Scenario) -> Result<(), String> {
    let ended =
        std::thread::spawn(move || runtime().block_on(async { timeout(LIMIT, (scenario.run)()).await }));
    match ended.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("still running after {LIMIT:?}")),
        Err(_) => Err("see the panic above".to_owned()),
    }
}

async fn run_all(wanted: Vec<Scenario>, left_out: usize) -> ExitCode {
    let started = Instant::now();
    say(&format!("\nrunning {} tests", wanted.len()));
    // Each scenario has two or three processes, most of which wait most of the time.
    let room = Arc::new(Semaphore::new(4));
    let mut running = JoinSet::new();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for scenario in wanted {
        let versions = scenario.versions;
        let missing = tokio::task::spawn_blocking(move || {
            versions.iter().find_map(|version| java::classpath(version).err())
        });
        if let Some(reason) = missing.await.expect("no panic") {
            say(&format!("test {} ... skipped: {reason}", scenario.name));
            skipped += 1;
            continue;
        }
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _place = room.acquire_owned().await.expect("open");
            let started = Instant::now();
            let ended = tokio::task::spawn_blocking(move || run_one(scenario)).await;
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
    if left_out > 0 {
        say(&format!(
            "{left_out} scenarios were left out; KCL_MIXED_FLEET=all runs all"
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
