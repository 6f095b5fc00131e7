//! Histories in a process of their own, one seed after another, until a rule is broken.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use kcl_simulation::faults::Wanted;
use kcl_simulation::oracle::UNPLAYABLE;
use kcl_simulation::world::{self, Size};
use serde::Deserialize;

/// Whether a rule was broken that ends the search. With another seed a script may be played.
fn says_something(rule: &str) -> bool {
    !rule.is_empty() && rule != UNPLAYABLE
}

/// What is said when the same seed gives two histories.
const SAME: &str = "the same seed gives the same history";

/// Which histories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, clap::Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Histories {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    #[serde(default = "one")]
    pub(crate) from: u64,
    /// How many.
    #[arg(long)]
    pub(crate) seeds: u64,
    /// Virtual seconds of disturbance.
    #[arg(long)]
    pub(crate) seconds: u64,
    /// Workers at first.
    #[arg(long)]
    pub(crate) workers: usize,
    /// Shards at first.
    #[arg(long)]
    pub(crate) shards: i32,
    /// Runs each a second time, which must be the same.
    #[arg(long)]
    #[serde(default)]
    pub(crate) twice: bool,
    /// What is to happen in them, and what not.
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) wanted: Wanted,
    /// Leaves out this seed; may be repeated.
    #[arg(long)]
    #[serde(skip)]
    pub(crate) except: Vec<u64>,
}

fn one() -> u64 {
    1
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The seed of the history that broke it.
    pub(crate) seed: u64,
    /// Its sentence.
    pub(crate) rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.rule)
    }
}

impl fmt::Display for Histories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.arguments().join(" "))
    }
}

impl Histories {
    /// The same on a command line.
    fn arguments(&self) -> Vec<String> {
        let line = format!(
            "--from {} --seeds {} --seconds {} --workers {} --shards {}",
            self.from, self.seeds, self.seconds, self.workers, self.shards
        );
        let twice = self.twice.then(|| "--twice".to_owned());
        let except = self
            .except
            .iter()
            .flat_map(|seed| ["--except".to_owned(), seed.to_string()]);
        line.split(' ')
            .map(str::to_owned)
            .chain(twice)
            .chain(except)
            .chain(self.wanted.arguments())
            .collect()
    }

    /// The same of other seeds.
    pub(crate) fn of(&self, from: u64, seeds: u64) -> Self {
        Self {
            from,
            seeds,
            ..self.clone()
        }
    }

    /// How large each of them is.
    pub(crate) fn size(&self) -> Size {
        Size {
            workers: self.workers,
            shards: self.shards,
            disturbed: Duration::from_secs(self.seconds),
            wanted: self.wanted.clone(),
        }
    }

    /// The first rule that the history of a seed breaks.
    pub(crate) fn broken_by(&self, seed: u64) -> Option<&'static str> {
        let outcome = world::run(seed, &self.size());
        let rule = outcome.violations.first().map(|violation| violation.rule);
        rule.or_else(|| (self.twice && world::run(seed, &self.size()) != outcome).then_some(SAME))
    }

    /// Says of each seed in turn which rule its history broke, if any, and ends with the first that did.
    pub(crate) fn judge(&self) {
        for seed in self.each() {
            let rule = self.broken_by(seed).unwrap_or_default();
            println!("{rule}");
            // Whoever reads has gone.
            if io::stdout().flush().is_err() || says_something(rule) {
                return;
            }
        }
    }

    /// The first seed whose history breaks a rule in the given build of this program.
    ///
    /// # Errors
    /// The program cannot be run.
    pub(crate) fn first_broken(&self, program: &Path, patience: Duration) -> io::Result<Option<Finding>> {
        let mut child = Command::new(program)
            .arg("judge")
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let finding = self.listen(&mut child, patience);
        // It may have ended by itself.
        let _ = child.kill();
        child.wait()?;
        Ok(finding)
    }

    /// The seeds, in turn.
    pub(crate) fn each(&self) -> impl Iterator<Item = u64> {
        (self.from..self.from + self.seeds).filter(|seed| !self.except.contains(seed))
    }

    fn listen(&self, child: &mut Child, patience: Duration) -> Option<Finding> {
        let (said, answers) = mpsc::channel();
        let stdout = child.stdout.take();
        std::thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
                let Ok(line) = line else { return };
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        let mut unplayable = None;
        for seed in self.each() {
            let rule = match answers.recv_timeout(patience) {
                Ok(rule) => rule,
                Err(RecvTimeoutError::Timeout) => "(the history does not come to an end)".to_owned(),
                Err(RecvTimeoutError::Disconnected) => "(the simulator panics)".to_owned(),
            };
            if says_something(&rule) {
                return Some(Finding { seed, rule });
            }
            if !rule.is_empty() {
                unplayable.get_or_insert(Finding { seed, rule });
            }
        }
        unplayable
    }
}
