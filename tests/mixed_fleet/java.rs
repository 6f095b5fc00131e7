//! The Java worker: built once per version of the KCL, run as a child process, understood line by line.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kcl_tests::fetch;
use kcl_tests::process::{Process, Signal};
use kcl_tests::{Delivery, Ledger, eventually};
use tokio::time::Instant;

const CLASS: &str = "MixedFleetWorker";
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mixed_fleet/java");

/// Where everything goes that this suite makes.
fn out() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("mixed-fleet")
}

/// The class path of the worker with this version of the KCL, built if need be; why there is none.
pub(crate) fn classpath(version: &str) -> Result<String, String> {
    static BUILT: Mutex<BTreeMap<String, Result<String, String>>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built
        .entry(version.to_owned())
        .or_insert_with(|| build(version))
        .clone()
}

fn build(version: &str) -> Result<String, String> {
    fetch::require(&[("java", "-version"), ("mvn", "--version")])?;
    let home = out().join(version);
    let sources = [
        format!("{SOURCES}/pom.xml"),
        format!("{SOURCES}/src/main/java/{CLASS}.java"),
    ];
    let made_of: String = sources
        .iter()
        .map(|file| fs::read_to_string(file).expect("the sources are here"))
        .collect();
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "-f", &sources[0]])
        .arg(format!("-Dkcl.version={version}"))
        .arg(format!("-Dout={}", home.display()))
        .args(["compiler:compile", "dependency:copy-dependencies"]);
    fetch::fill(&home, &made_of, &mut maven).map_err(|said| {
        assert!(!said.contains("COMPILATION ERROR"), "{said}");
        let first = said
            .lines()
            .find(|line| line.contains("ERROR"))
            .unwrap_or_default();
        format!("Maven could not fetch or build with KCL {version}: {first}")
    })?;
    let home = home.display();
    Ok(format!("{home}/classes:{home}/lib/*"))
}

/// What a Java worker said so far.
#[derive(Debug, Default)]
struct Said {
    /// What is not about one shard.
    lines: Vec<String>,
    ownerships: u64,
    current: BTreeMap<String, u64>,
}

/// A worker of the Java KCL in a process of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct JavaWorker {
    pub(crate) name: String,
    process: Process,
    said: Arc<Mutex<Said>>,
}

/// How a Java worker is started.
#[derive(Debug, Clone)]
pub(crate) struct JavaOptions {
    pub(crate) version: &'static str,
    pub(crate) endpoint: String,
    pub(crate) application: String,
    pub(crate) stream: String,
    /// Settings of the KCL by name.
    pub(crate) settings: BTreeMap<&'static str, String>,
}

impl JavaWorker {
    /// Starts a worker whose events go into the ledger. `scenario` names its log.
    pub(crate) fn start(name: &str, scenario: &str, options: &JavaOptions, ledger: &Ledger) -> Self {
        let log = out().join("logs").join(format!("{scenario}-{name}.log"));
        let classpath = classpath(options.version).expect("the runner made sure");
        let mut command = Command::new("java");
        command
            // Starts quickly and stays small; the tests measure nothing.
            .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"])
            .args([
                "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
                "-Dorg.slf4j.simpleLogger.showThreadName=true",
            ])
            .args(["-cp", &classpath, CLASS])
            .args([&options.endpoint, &options.application, &options.stream, name])
            .args(
                options
                    .settings
                    .iter()
                    .map(|(setting, value)| format!("{setting}={value}")),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Process::start(name, &mut command, &log);
        let said = Arc::new(Mutex::new(Said::default()));
        let lines = BufReader::new(process.take_stdout().expect("piped")).lines();
        let (worker, ledger, hears) = (name.to_owned(), ledger.clone(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut said = hears.lock().unwrap_or_else(PoisonError::into_inner);
                said.hear(&line, &worker, &ledger);
            }
        });
        Self {
            name: name.to_owned(),
            process,
            said,
        }
    }

    /// The lines that it printed and that are no business of the ledger, such as `pending ...`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.said().lines.clone()
    }

    /// Stops it in good order, as its operating system would.
    pub(crate) async fn stop(mut self) {
        // Before that a signal ends the process without a word.
        eventually(
            Duration::from_secs(60),
            || self.has_said("started").then_some(()),
            || {
                format!(
                    "{} does not start, see {}",
                    self.name,
                    self.process.log().display()
                )
            },
        )
        .await;
        self.process.signal(Signal::TERM);
        let status = self.process.ended(Duration::from_secs(90)).await;
        assert!(
            self.has_said("stopped"),
            "{} ended with {status} and no graceful shutdown, see {}",
            self.name,
            self.process.log().display()
        );
    }

    fn has_said(&self, word: &str) -> bool {
        self.said().lines.iter().any(|line| line.starts_with(word))
    }

    /// Ends it without warning.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Stops its clock, so to say: it does nothing until it is thawed.
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    fn hear(&mut self, line: &str, worker: &str, ledger: &Ledger) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["initialized", shard, start] => {
                self.ownerships += 1;
                self.current.insert(shard.to_owned(), self.ownerships);
                ledger.begin(worker, shard, self.ownerships, start);
                ledger.call(worker, shard, "initialize");
            }
            ["record", shard, key, counter, sequence] => ledger.deliver(Delivery {
                key: key.to_owned(),
                counter: counter.parse().expect("what the producer put"),
                worker: worker.to_owned(),
                shard: shard.to_owned(),
                token: self.current.get(shard).copied().unwrap_or_default(),
                sequence: sequence.to_owned(),
                at: Instant::now(),
            }),
            ["checkpointed", shard, sequence] => ledger.confirm(shard, sequence),
            ["leaseLost", shard] => ledger.call(worker, shard, "lease_lost"),
            ["shardEnded", shard] => ledger.call(worker, shard, "shard_ended"),
            ["shutdownRequested", shard] => ledger.call(worker, shard, "shutdown_requested"),
            _ => self.lines.push(line.to_owned()),
        }
    }
}
