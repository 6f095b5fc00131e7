//! Aggregates of other producers' libraries, and ours for them: what one puts together, the other takes apart.
//!
//! Needs Python 3 with `venv`, Node.js and npm, Java and Maven, and what pip, npm and Maven fetch once; where one of them is missing
//! the suite says so and passes.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod java;
mod java_kcl;
mod kpl;
mod user_records;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcl_aggregation::{Aggregate, Aggregator, UserRecord};
use kcl_tests::fetch;
use kcl_tests::runner::{Scenario, Suite};
use serde_json::{Value, json};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/other_producers");
const PYTHON: &[&str] = &["aws_kinesis_agg==1.2.3", "six==1.17.0"];
const NODE: &str = "aws-kinesis-agg@4.2.8";

fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("other-producers")
        .join(name)
}

fn python() -> Result<(), String> {
    fetch::require(&[("python3", "--version")])?;
    let home = out("python");
    let packages = PYTHON.join(" ");
    let script = format!(
        "python3 -m venv '{0}' && '{0}/bin/pip' install --quiet --disable-pip-version-check {packages}",
        home.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    fetch::fill(&home, &packages, &mut shell)
        .map_err(|said| format!("pip could not fetch {packages}: {said}"))
}

fn node() -> Result<(), String> {
    fetch::require(&[("node", "--version"), ("npm", "--version")])?;
    let home = out("node");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"])
        .arg(&home)
        .arg(NODE);
    fetch::fill(&home, NODE, &mut npm).map_err(|said| format!("npm could not fetch {NODE}: {said}"))
}

/// So long a program may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that answers a line for each line. Dropping it kills it.
struct Producer {
    child: Child,
    answers: mpsc::Receiver<String>,
}

impl Producer {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (said, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.map_while(Result::ok) {
                if said.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, answers }
    }

    fn ask(&mut self, request: &Value) -> Value {
        let mut stdin = self.child.stdin.as_ref().unwrap();
        writeln!(stdin, "{request}").expect("it listens");
        let answer = self.answers.recv_timeout(PATIENCE).expect("it answers");
        serde_json::from_str(&answer).expect("JSON")
    }

    /// Lets it end, and what it started with it.
    fn finish(mut self) {
        drop(self.child.stdin.take());
        let said = self.answers.recv_timeout(PATIENCE);
        assert_eq!(said, Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(self.child.wait().expect("ours").success());
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn record(key: &str, hash_key: Option<u128>, data: &[u8]) -> UserRecord {
    let record = UserRecord::new(key.to_owned(), data.to_vec());
    match hash_key {
        Some(hash_key) => record.explicit_hash_key(hash_key.to_string()),
        None => record,
    }
}

/// User records of every kind that all producers get right: Python's package gives a user record without explicit hash key that of
/// another one, and that for Node.js confuses keys that are small numbers.
fn sets() -> Vec<Vec<UserRecord>> {
    let many = |hash_key: fn(u32) -> Option<u128>| {
        let record = move |n: u32| {
            record(
                &format!("key {}", n % 40),
                hash_key(n),
                &vec![b'x'; n as usize + 1],
            )
        };
        (0..300).map(record).collect()
    };
    vec![
        vec![record("a", None, b"1"), record("a", None, b"2")],
        vec![
            record("ключ", Some(u128::MAX), b"\x00\xff\xf3\x89\x9a\xc2"),
            record("b", Some(1 << 100), b"0"),
        ],
        vec![record("long", None, &[b'x'; 40_000]), record("short", None, b"x")],
        many(|_| None),
        many(|n| Some(u128::from(n % 7 + 1) << 100)),
    ]
}

fn told(records: &[UserRecord]) -> Value {
    let record = |it: &UserRecord| {
        let hash_key = it.explicit_hash_key.as_ref().map(ToString::to_string);
        json!([it.partition_key.to_string(), hash_key, STANDARD.encode(&it.data)])
    };
    records.iter().map(record).collect()
}

/// What one puts together the other takes apart, both ways.
fn exchange(mut producer: Producer) {
    for records in sets() {
        let theirs = producer.ask(&json!({ "together": told(&records) }));
        let data = STANDARD.decode(theirs.as_str().expect("text")).expect("base 64");
        let aggregate = Aggregate::parse(&data.into()).expect("an aggregate");
        assert_eq!(aggregate.user_records().collect::<Vec<_>>(), records);

        let mut aggregator = Aggregator::new(kcl_aggregation::Limits {
            max_bytes: 1 << 20,
            ..kcl_aggregation::Limits::default()
        });
        for record in &records {
            assert_eq!(aggregator.push(record.clone()), Ok(None), "there is room");
        }
        let ours = aggregator.finish().expect("something was pushed").data;
        let apart = producer.ask(&json!({ "apart": STANDARD.encode(&ours) }));
        assert_eq!(apart, told(&records));
    }
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_package_of_pypi_and_ours_understand_each_other",
        is_short: true,
        prepare: python,
        run: || {
            Box::pin(async {
                let mut python = Command::new(out("python").join("bin/python"));
                exchange(Producer::start(python.arg(format!("{SOURCE}/producer.py"))));
            })
        },
    },
    Scenario {
        name: "the_package_of_npm_and_ours_understand_each_other",
        is_short: true,
        prepare: node,
        run: || {
            Box::pin(async {
                let mut node = Command::new("node");
                node.arg(format!("{SOURCE}/producer.js"));
                exchange(Producer::start(
                    node.arg(out("node").join("node_modules/aws-kinesis-agg")),
                ));
            })
        },
    },
    Scenario {
        name: "what_the_kpl_puts_together_a_worker_takes_apart",
        is_short: true,
        prepare: java::prepare,
        run: || Box::pin(kpl::is_understood()),
    },
    Scenario {
        name: "what_ours_puts_together_the_java_kcl_takes_apart",
        is_short: true,
        prepare: java::prepare,
        run: || Box::pin(java_kcl::takes_ours_apart()),
    },
];

fn main() -> ExitCode {
    let suite = Suite {
        scenarios: SCENARIOS,
        all: None,
        at_once: 2,
        limit: Duration::from_secs(180),
    };
    suite.run()
}
